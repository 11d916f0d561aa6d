import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import ejs from 'ejs'
import express, { type Request, type RequestHandler, type Response } from 'express'
import helmet from 'helmet'
import { LRUCache } from 'lru-cache'
import { ConfigurationError, type PortalSsoError, type ProblemCode } from '../shared/errors.ts'
import { accentStyles } from './accent.ts'
import { type Branding, brandingIn, type PageBranding } from './branding.ts'
import type { Core } from './core.ts'
import { setAssetHeaders, setPrivateHeaders } from './handler.ts'
import { type LanguageLink, languageName, type MenuPage, MenuPages } from './language-menu.ts'
import { dateFormat, type Locale, Locales } from './locale.ts'
import { type LocaleOptions, viewsDirectory } from './locale-texts.ts'
import { acceptsHtml } from './request.ts'
import type { PortalUrls } from './urls.ts'
import type { LocalsOf } from './view-locals.ts'

interface Template {
  filename: string
  template: string
}

/** The templates: ours, and a host's in place of those of the same name. */
export class Views {
  /** whether a template can be the host's, which may depend on anything */
  readonly areOurs: boolean
  readonly #directories: readonly string[]
  readonly #templates = new Map<string, Template>()

  /** @param viewsDir the host's folder */
  constructor(viewsDir: string | undefined) {
    this.areOurs = viewsDir === undefined
    this.#directories = viewsDir === undefined ? [viewsDirectory()] : [viewsDir, viewsDirectory()]
  }

  /**
   * @param name without its extension, such as `picker`
   * @param encode encodes a value for the format of the view; default for HTML
   */
  async render(name: string, locals: object, encode?: (value: unknown) => string): Promise<string> {
    const { template, ...file } = this.#load(name)
    return await ejs.render(template, locals, {
      ...file,
      // EJS looks beside the including file first, so that without this a host could not replace a single partial.
      includer: (partial: string): { filename: string } => this.#load(partial),
      cache: process.env.NODE_ENV === 'production',
      ...(encode && { escape: encode }),
    })
  }

  #load(name: string): Template {
    // Elsewhere, a host's developer sees a new template without a restart.
    const cached = process.env.NODE_ENV === 'production' ? this.#templates.get(name) : undefined
    if (cached) return cached
    const file = this.#directories.map((directory) => path.join(directory, `${name}.ejs`)).find(existsSync)
    if (file === undefined) throw new ConfigurationError(`there is no view "${name}"`)
    // EJS's cache is global, and a template keeps the partials of its first use: separate the portals' folders.
    const template = {
      filename: `${this.#directories[0]}:${file}`,
      template: readFileSync(file, 'utf8'),
    }
    this.#templates.set(name, template)
    return template
  }
}

/** A link on the page of a problem. */
export interface NextStep {
  label:
    | 'tryAgain'
    | 'continueAnyway'
    | 'anotherWay'
    | 'otherAccount'
    | 'signOutFirst'
    | 'adminConsent'
    | 'chooseProvider'
    | 'goBack'
    | 'home'
  href: string
}

// Problems that users cannot solve themselves: their page names the support contact.
const showsSupportContact = new Set<ProblemCode>([
  'account_not_assigned',
  'email_unverified',
  'user_inactive',
  'registration_closed',
  'insecure_connection',
  'provider_error',
  'authentication_unproven',
  'authentication_too_weak',
  'misconfigured',
  'internal',
])

const retryAfterSeconds = 5

/** A page that differs between visitors only in the query of its links. */
export interface SharedPage<Content, Locals extends object = object> {
  /** everything that the page depends on, without anything that only one visitor may see */
  content: Content
  /** Depends on its arguments only. @param visitor.query is appended to links: as it is, or with `&` in place of its `?` */
  locals(content: Content, visitor: { lang: string; query: string }): Locals
  /** the visitor's own, such as `?returnTo=%2Fportal` */
  query: string
}

const maxSharedBytes = 4_000_000

export interface PagesOptions extends LocaleOptions {
  branding: Branding
  /** The host's folder with templates. */
  viewsDir: string | undefined
}

/** Renders all pages, with their headers, language and branding. It records and logs nothing. */
export class Pages {
  readonly views: Views
  readonly locales: Locales
  /** the colour that replaces the portal's accent in texts, because its contrast is too low */
  readonly adjustedAccent: string | undefined
  /** colours of the primary button */
  readonly button: { ground: string; text: string }
  /** `GET /login/assets/…` */
  readonly assets: RequestHandler
  readonly #urls: PortalUrls
  readonly #branding: Branding
  readonly #menuPages: MenuPages
  readonly #secureHeaders: ReadonlyMap<string, string>
  /** Encoded pages; every second part is a mark. Bounded, because visitors choose the language and the marks. */
  readonly #sharedPages = new LRUCache<string, (Buffer | string)[]>({
    maxSize: maxSharedBytes,
    sizeCalculation: (parts, key) => key.length + parts.reduce((sum, { length }) => sum + length, 1),
  })
  /** Stands for the visitor's query. Random, so that no provider's name can contain it. */
  readonly #queryMark = randomBytes(16).toString('hex')
  /** stands for the query that the links of the language menu keep */
  readonly #menuMark = randomBytes(16).toString('hex')
  /** changes with the content of the assets, which browsers cache for a year */
  readonly #assetsVersion: string

  constructor(core: Pick<Core, 'cookieName' | 'secure' | 'urls'>, options: PagesOptions) {
    const assetsDirectory = path.join(viewsDirectory(), 'assets')
    const { branding, viewsDir } = options
    this.#urls = core.urls
    this.#branding = branding
    this.#menuPages = new MenuPages(core.urls)
    this.locales = new Locales(core, options)
    this.views = new Views(viewsDir)
    this.#secureHeaders = secureHeaders(branding)
    const accent = branding.accent === undefined ? undefined : accentStyles(branding.accent)
    this.adjustedAccent = accent?.adjusted
    this.button = accent?.button ?? { ground: '#2450c8', text: '#ffffff' }
    this.#assetsVersion = fingerprintOf(assetsDirectory, accent?.css)
    const files = express.static(assetsDirectory, {
      cacheControl: false,
      setHeaders: setAssetHeaders,
      index: false,
      redirect: false,
    })
    // A part of the one stylesheet: a second one would delay each first visit, and the policy forbids inline styles.
    const stylesheet =
      accent && readFileSync(path.join(assetsDirectory, 'portal-sso.css'), 'utf8') + accent.css
    this.assets = (req, res, next) => {
      const isRead = req.method === 'GET' || req.method === 'HEAD'
      if (stylesheet === undefined || req.path !== '/portal-sso.css' || !isRead) return files(req, res, next)
      setAssetHeaders(res)
      res.type('css').send(stylesheet)
    }
  }

  /** @returns the user's language; English without a request */
  locale(req?: Request): Locale {
    return this.locales.resolve(req)
  }

  branding(locale: Locale): PageBranding {
    return brandingIn(locale, this.#branding)
  }

  /** Sends a view with the status that `res` has. */
  async show<View extends string>(
    req: Request,
    res: Response,
    view: View,
    locals: LocalsOf<View>,
  ): Promise<void> {
    const locale = this.locale(req)
    const languages = this.languageLinks(locale, this.#menuPages.find(req))
    if (req.url.includes('lang=')) this.locales.remember(req, res)
    this.#send(res, await this.#render(locale, view, { languages, ...locals }))
  }

  /**
   * Sends a page that many visitors get, and renders it once for each content and language. A visitor's query reaches nobody else:
   * the cached page has a mark in its place. With templates of the host, each page is rendered.
   */
  async showShared<Content, View extends string>(
    req: Request,
    res: Response,
    view: View,
    { content, locals, query }: SharedPage<Content, LocalsOf<View>>,
  ): Promise<void> {
    const locale = this.locale(req)
    const { lang } = locale
    const menu = this.#menuPages.find(req)
    if (req.url.includes('lang=')) this.locales.remember(req, res)
    const render = (query: string, menuQuery = menu?.query) => {
      const languages = this.languageLinks(locale, menu && { ...menu, query: menuQuery ?? '' })
      return this.#render(locale, view, { languages, ...locals(content, { lang, query }) })
    }
    if (!this.views.areOurs) return this.#send(res, await render(query))
    const key = JSON.stringify([view, lang, menu?.path, content])
    let parts = this.#sharedPages.get(key)
    if (!parts) {
      const rendered = await render(`?${this.#queryMark}`, this.#menuMark)
      const marks = new RegExp(`((?:\\?|&amp;)${this.#queryMark}|${this.#menuMark})`)
      parts = rendered.split(marks).map((part, at) => (at % 2 === 0 ? Buffer.from(part) : part))
      this.#sharedPages.set(key, parts)
    }
    const own = ejs.escapeXML(query.slice(1))
    const menuQuery = Buffer.from(ejs.escapeXML(menu?.query ?? ''))
    const fill = (mark: string) =>
      mark === this.#menuMark ? menuQuery : Buffer.from(own && mark.replace(this.#queryMark, () => own))
    this.#send(res, Buffer.concat(parts.map((part) => (typeof part === 'string' ? fill(part) : part))))
  }

  /** @returns the menu of a page, by the languages' own names; none if there is only one language */
  languageLinks(
    { lang: current }: Pick<Locale, 'lang'>,
    page: MenuPage | undefined,
    languages = this.locales.languages,
  ): LanguageLink[] | undefined {
    if (!page || languages.length === 1) return undefined
    const links = languages.map((lang) => ({
      lang,
      name: languageName(lang),
      href: `${page.path}?lang=${lang}${page.query}`,
      current: lang === current,
    }))
    return links.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async #render(locale: Locale, view: string, locals: object): Promise<string> {
    const asset = (name: string) => this.#urls.path(`/login/assets/${name}`, { v: this.#assetsVersion })
    return await this.views.render(view, { ...locale, branding: this.branding(locale), asset, ...locals })
  }

  #send(res: Response, html: Buffer | string): void {
    for (const [name, value] of this.#secureHeaders) res.setHeader(name, value)
    res.removeHeader('x-powered-by')
    setPrivateHeaders(res)
    // Unlike `send`, this computes no ETag, which is of no use without a cache.
    res.setHeader('content-type', 'text/html; charset=utf-8')
    res.setHeader('content-length', Buffer.byteLength(html))
    res.end(html)
  }

  /** Sends the page of a problem, or `application/problem+json` (RFC 9457) to clients that do not accept HTML. */
  async problem(
    req: Request,
    res: Response,
    { code, status }: PortalSsoError,
    { reference, nextSteps, placeholders, consent, login = this.#urls.path('/login') }: ProblemDetails,
  ): Promise<void> {
    const locale = this.locale(req)
    const { lang, t } = locale
    const isNamed = code === 'provider_unavailable' && placeholders?.provider
    const title = isNamed ? t('problem.unreachable', placeholders) : t(`problems.${code}.title`)
    const signsOut =
      code === 'authentication_stale' || nextSteps.some(({ label }) => label === 'signOutFirst')
    const sentence =
      t(`problems.${code}.sentence`, placeholders) +
      (signsOut ? ` ${t('problem.signOutFirst', placeholders)}` : '')
    res.status(status)
    if (status === 503) res.set('retry-after', String(retryAfterSeconds))
    setPrivateHeaders(res)
    res.vary('accept')
    if (!acceptsHtml(req)) {
      const problem = { type: 'about:blank', title, status, detail: sentence, code, reference, login }
      res.type('application/problem+json').send(JSON.stringify(problem))
      return
    }
    const { name: portal, support } = this.branding(locale)
    const supportSentence = support ? t('problem.ask', { support }) : t('problem.askNobody')
    await this.show(req, res, 'problem', {
      title,
      sentence,
      severity: severityOf(code, status),
      reference,
      time: pageTime(lang, new Date()),
      consentRequest: consent && consentRequest(t, consent, { portal, ...placeholders }),
      nextSteps: nextSteps.map(({ label, href }, at) => ({
        href,
        label: t(`problem.nextSteps.${label}`, { ...placeholders, portal }),
        primary: at === 0,
      })),
      supportSentence: showsSupportContact.has(code) ? supportSentence : undefined,
    })
  }
}

export interface ProblemDetails {
  reference: string | undefined
  nextSteps: NextStep[]
  /** values of the placeholders in the sentence */
  placeholders?: Record<string, string> | undefined
  /** for a request to the user's administrator; every value is public */
  consent?: ConsentRequest | undefined
  /** where a JSON client sends the user; default the login page */
  login?: string | undefined
}

export interface ConsentRequest {
  /** of the portal */
  address: string
  clientId: string
  /** the portal's own page that leads to the provider's question; omitted where the provider has none */
  link?: string | undefined
}

function consentRequest(
  t: Locale['t'],
  { link = '', ...values }: ConsentRequest,
  names: Record<string, string>,
): string {
  return t(`problem.consent.${link ? 'linked' : 'plain'}`, { ...names, ...values, link })
}

/** Selects the icon: something is broken, access is refused, or the user only has to start again. */
function severityOf(code: ProblemCode, status: number): 'failure' | 'refusal' | 'pause' {
  if (status >= 500) return 'failure'
  return [401, 409, 410, 429].includes(status) || code.endsWith('_expired') ? 'pause' : 'refusal'
}

/** In the reader's language and in UTC, because the server does not know their time zone: `page.js` does. ISO 8601 for machines. */
export function pageTime(lang: Locale['lang'], at: Date): { at: string; text: string } {
  const format = { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' } as const
  return { at: at.toISOString(), text: `${dateFormat(lang, format).format(at)} UTC` }
}

/** helmet's headers, which are the same for every page. */
function secureHeaders({ logo, logoDark, stylesheet }: Branding): ReadonlyMap<string, string> {
  const middleware = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        // Forms that lead to another site use `sendRedirectPage`.
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        imgSrc: ["'self'", 'data:', ...new Set([...originOf(logo), ...originOf(logoDark)])],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'", ...originOf(stylesheet)],
      },
    },
    // With no-referrer, browsers would send `Origin: null` with our own forms.
    referrerPolicy: { policy: 'same-origin' },
    // It applies to the whole domain, so the host has to decide.
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
    xPoweredBy: false,
  })
  const headers = new Map<string, string>()
  const response = { setHeader: (name: string, value: string) => headers.set(name, value) }
  middleware({} as Request, response as unknown as Response, (error?: unknown) => {
    if (error) throw error
  })
  return headers
}

function originOf(address: string | undefined): string[] {
  return address && URL.canParse(address) ? [new URL(address).origin] : []
}

function fingerprintOf(directory: string, generated = ''): string {
  const hash = createHash('sha256').update(generated)
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.join(parentPath, name))
  for (const file of files.sort()) hash.update(readFileSync(file))
  return hash.digest('base64url').slice(0, 10)
}

/**
 * Sends the browser from a posted form to another site. Chrome applies the form's `form-action` to redirects after a POST, so
 * this page navigates instead. The URL is in the body, because proxies limit headers (nginx: 4 KB) and it may hold an ID token.
 *
 * @param name of the destination, as the user knows it
 */
export async function sendRedirectPage(
  pages: Pages,
  req: Request,
  res: Response,
  { href, name, locals = {} }: { href: string; name: string; locals?: object },
): Promise<void> {
  await pages.show(req, res, 'onward', { ...locals, href, name })
}
