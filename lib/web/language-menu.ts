import type { Request } from 'express'
import { isSafeMethod } from './request.ts'
import { safeReturnTo } from './return-to.ts'
import type { PortalUrls } from './urls.ts'

/** One language of the menu in the footer. */
export interface LanguageLink {
  lang: string
  /** in the language itself */
  name: string
  href: string
  current: boolean
}

/** `Intl.DisplayNames` would take 8 MB and 20 ms for these. */
const names: Readonly<Record<string, string>> = {
  ar: 'العربية',
  de: 'Deutsch',
  en: 'English',
  es: 'Español',
  fr: 'Français',
  it: 'Italiano',
  nl: 'Nederlands',
  pl: 'Polski',
  pt: 'Português',
}

/** @returns the language's own name */
export function languageName(lang: string): string {
  const known = names[lang]
  if (known !== undefined) return known
  const name = new Intl.DisplayNames([lang], { type: 'language' }).of(lang) ?? lang
  return name.charAt(0).toLocaleUpperCase(lang) + name.slice(1)
}

/**
 * The pages with a menu, and the parameters that they need to show again. A callback, a page after a POST and a page with a token
 * have none: opening those again would lose what the user typed, or use up something.
 */
const pages: Readonly<Record<string, readonly string[]>> = {
  '/login': ['by', 'returnTo', 'max_age', 'acr_values', 'email', 'login_hint', 'unmatched', 'q', 'cancelled'],
  '/register': ['address'],
  '/register/link': [],
  '/register/sign-in': [],
  '/logout': [],
  '/logout/done': [],
  '/account/security': ['q'],
  '/account/security/add': ['q'],
  '/account/security/confirm': [],
}

const maxValueLength = 1000

export interface MenuPage {
  path: string
  /** parameters that the links keep, such as `&returnTo=%2Fportal` */
  query: string
}

/** Finds the page that the links of the menu open again. Attacker: a link with parameters of their own, which no link repeats. */
export class MenuPages {
  /** path in lower case, as Express matches it → page */
  readonly #pages: ReadonlyMap<string, { path: string; parameters: readonly string[] }>

  constructor(urls: PortalUrls) {
    this.#pages = new Map(
      Object.entries(pages).map(([page, parameters]) => {
        const path = urls.path(page)
        return [path.toLowerCase(), { path, parameters }]
      }),
    )
  }

  find(req: Request): MenuPage | undefined {
    if (!isSafeMethod(req)) return undefined
    const path = (req.baseUrl + req.path).toLowerCase().replace(/\/$/, '')
    const page = this.#pages.get(path)
    return page && { path: page.path, query: keptQuery(req, page.parameters) }
  }
}

function keptQuery({ url, query }: Request, parameters: readonly string[]): string {
  // Most pages: nothing to parse.
  if (!url.includes('?')) return ''
  const kept = parameters.flatMap((name): [string, string][] => {
    const value = name === 'returnTo' ? safeReturnTo(query[name]) : query[name]
    return typeof value === 'string' && value.length <= maxValueLength ? [[name, value]] : []
  })
  return kept.length === 0 ? '' : `&${new URLSearchParams(kept).toString()}`
}
