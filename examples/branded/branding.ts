import path from 'node:path'
import type { PortalSsoOptions } from '../../lib/index.ts'

export const publicFolder = path.join(import.meta.dirname, 'public')

/** The look of a portal: everything that a host writes to make the pages its own. */
export const branded = {
  branding: {
    name: 'Wide World Importers',
    logo: '/brand/logo.svg',
    logoDark: '/brand/logo-dark.svg',
    // Too light for links on a white page: these use a darker shade, and a warning at the start names it.
    accent: '#f2a900',
    stylesheet: '/brand/brand.css',
    support: '+1 425 555 0100',
    links: [
      { label: { en: 'Imprint', de: 'Impressum' }, href: '/imprint' },
      { label: { en: 'Privacy', de: 'Datenschutz' }, href: '/privacy' },
    ],
  },
  // Contains one partial. All other templates are the plugin's own.
  viewsDir: path.join(import.meta.dirname, 'views'),
} satisfies Partial<PortalSsoOptions>
