import * as z from 'zod'
import type { Locale } from './locale.ts'
import { type LocalizedText, localizedText } from './locale-texts.ts'

/** How the pages and mails present the portal. */
export interface Branding {
  /** The portal's name, 1 to 60 characters, or one for each language. Default `Portal`. */
  name: LocalizedText
  /** URL of an image, on this site or https. Shown 32 pixels high. Default none. */
  logo?: string | undefined
  /** URL of the image for dark mode. Default: `logo`. */
  logoDark?: string | undefined
  /**
   * Colour of buttons and links, such as `#7a1f5c`. Where its contrast is too low, a darker or lighter shade replaces it. Default
   * blue.
   */
  accent?: string | undefined
  /** URL of a stylesheet that is loaded after the plugin's own, on this site or https. Default none. */
  stylesheet?: string | undefined
  /**
   * The support contact that users see, at most 200 characters, or one for each language: an e-mail address, a telephone number, an
   * https URL or a text. Default none.
   */
  support?: LocalizedText | undefined
  /** Links at the bottom of each page, such as the imprint and the privacy policy, at most 10. Default none. */
  links?: BrandingLink[] | undefined
}

/** A link at the bottom of each page. */
export interface BrandingLink {
  /** The text, or one for each language: `{ en: 'Imprint', de: 'Impressum' }`. */
  label: LocalizedText
  /** An address of this site such as `/imprint`, or an http, https or mailto URL. */
  href: string
}

const writeHref = 'write a path such as `/imprint`, or an http, https or mailto URL'

export const brandingSchema = z
  .strictObject({
    name: localizedText(z.string().min(1).max(60), "{ en: 'Staff', de: 'Personal' }").default('Portal'),
    logo: z.string().optional(),
    logoDark: z.string().optional(),
    accent: z
      .string()
      .regex(/^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i, 'write a colour such as `#7a1f5c`')
      .optional(),
    stylesheet: z.string().optional(),
    support: localizedText(z.string().max(200), "{ en: 'help@…', de: 'hilfe@…' }").optional(),
    links: z
      .array(
        z.strictObject({
          label: localizedText(z.string().min(1).max(60), "{ en: 'Imprint', de: 'Impressum' }"),
          href: z.string().refine(isSafeHref, writeHref),
        }),
      )
      .max(10)
      .optional(),
  })
  .prefault({})

/** Refuses `javascript:` and `data:`, and paths that browsers read as another site's. */
function isSafeHref(href: string): boolean {
  if (/^\/(?![/\\\s])/.test(href)) return true
  return URL.canParse(href) && ['http:', 'https:', 'mailto:'].includes(new URL(href).protocol)
}

/** The branding as the templates see it, in one language. */
export interface PageBranding extends Omit<Branding, 'links' | 'name' | 'support'> {
  name: string
  support: string | undefined
  /** makes a link of `support`, where it is an address, a number or a URL */
  supportHref: string | undefined
  links: { label: string; href: string }[]
}

/** @returns the branding with its texts in the language of the page */
export function brandingIn({ localize }: Locale, branding: Branding): PageBranding {
  const { links = [] } = branding
  const support = branding.support && localize(branding.support)
  return {
    ...branding,
    name: localize(branding.name),
    support: support?.replace(/^(?:mailto:|tel:|https:\/\/)/, ''),
    supportHref: support === undefined ? undefined : supportHref(support),
    links: links.map(({ label, href }) => ({ label: localize(label), href })),
  }
}

function supportHref(support: string): string | undefined {
  if (URL.canParse(support) && ['https:', 'mailto:', 'tel:'].includes(new URL(support).protocol))
    return support
  if (/^[^\s@]+@[^\s@]+$/.test(support)) return `mailto:${encodeURIComponent(support).replace('%40', '@')}`
  if (/^\+?[\d\s()/.-]{5,}$/.test(support)) return `tel:${support.replace(/[^\d+]/g, '')}`
  return undefined
}
