import { z } from 'zod'

/** How the pages and mails present the portal. */
export interface Branding {
  /** The portal's name, 1 to 60 characters. Default `Portal`. */
  name: string
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
  /** The support contact that users see, at most 200 characters: an e-mail address, a telephone number, an https URL or a text. Default none. */
  support?: string | undefined
  /** Links at the bottom of each page, such as the imprint and the privacy policy, at most 10. Default none. */
  links?: BrandingLink[] | undefined
}

/** A link at the bottom of each page. */
export interface BrandingLink {
  /** The text, or one for each language: `{ en: 'Imprint', de: 'Impressum' }`. */
  label: string | Record<string, string>
  /** An address of this site such as `/imprint`, or an http, https or mailto URL. */
  href: string
}

const label = z.string().min(1).max(60)
const writeLabel = "write a text of at most 60 characters, or one for each language: `{ en: '…', de: '…' }`"
const hasEntries = (texts: Record<string, string>) => Object.keys(texts).length > 0
const writeHref = 'write a path such as `/imprint`, or an http, https or mailto URL'

export const brandingSchema = z
  .strictObject({
    name: z.string().min(1).max(60).default('Portal'),
    logo: z.string().optional(),
    logoDark: z.string().optional(),
    accent: z
      .string()
      .regex(/^#(?:[0-9a-f]{3}|[0-9a-f]{6})$/i, 'write a colour such as `#7a1f5c`')
      .optional(),
    stylesheet: z.string().optional(),
    support: z.string().max(200).optional(),
    links: z
      .array(
        z.strictObject({
          label: z.union([label, z.record(z.string(), label).refine(hasEntries, writeLabel)], writeLabel),
          href: z.string().refine(isSafeHref, writeHref),
        }),
      )
      .max(10)
      .optional(),
  })
  .prefault({})

/** Refuses `javascript:` and `data:`, and paths that browsers read as another site's. */
function isSafeHref(href: string): boolean {
  if (/^\/(?![/\\])/.test(href)) return true
  return URL.canParse(href) && ['http:', 'https:', 'mailto:'].includes(new URL(href).protocol)
}

/** The branding as the templates see it, in one language. */
export interface PageBranding extends Omit<Branding, 'links'> {
  /** makes a link of `support`, where it is an address, a number or a URL */
  supportHref: string | undefined
  links: { label: string; href: string }[]
}

/** @returns the branding with its texts in the language `lang`, else in English, else in the first that there is */
export function brandingIn(lang: string, branding: Branding): PageBranding {
  const inLanguage = (text: BrandingLink['label']) =>
    typeof text === 'string' ? text : (text[lang] ?? text.en ?? Object.values(text)[0] ?? '')
  const { support, links = [] } = branding
  return {
    ...branding,
    support: support?.replace(/^(?:mailto:|tel:|https:\/\/)/, ''),
    supportHref: support === undefined ? undefined : supportHref(support),
    links: links.map(({ label, href }) => ({ label: inLanguage(label), href })),
  }
}

function supportHref(support: string): string | undefined {
  if (URL.canParse(support) && ['https:', 'mailto:', 'tel:'].includes(new URL(support).protocol))
    return support
  if (/^[^\s@]+@[^\s@]+$/.test(support)) return `mailto:${encodeURIComponent(support).replace('%40', '@')}`
  if (/^\+?[\d\s()/.-]{5,}$/.test(support)) return `tel:${support.replace(/[^\d+]/g, '')}`
  return undefined
}
