import type { Request, RequestHandler, Response } from 'express'
import { readLoginHint } from '../oidc/authorization-response.ts'
import { servesDomain } from '../oidc/vouches.ts'
import { presetOf } from '../providers/presets/presets.ts'
import { type Provider, providerName, providerNote } from '../providers/provider.ts'
import { type PickerProvider, type ProvidersTable, providersPerPage } from '../providers/providers-table.ts'
import { domainOf, normaliseEmail } from '../users/email-address.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { dateFormat, type Locale } from '../web/locale.ts'
import { type Pages, sendRedirectPage } from '../web/pages.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { type PortalUrls, queryString } from '../web/urls.ts'
import type { ReauthenticationRequirement } from './attempts.ts'
import { readReauthentication, reauthenticationQuery } from './reauthentication.ts'
import type { SignIn } from './sign-in.ts'

/** How users choose a provider on the login page. */
export interface PickerOptions {
  /**
   * `list`: buttons. `email`: one field for the e-mail address, whose domain leads to the provider. Default: buttons, or the field
   * if more than eight providers are enabled. Each page links to the other one.
   */
  mode?: 'list' | 'email' | undefined
  /** Whether the login page opens the only provider by itself. Never after a sign-out, an error or a cancellation. Default false. */
  skipSingle: boolean
}

interface PickerModules {
  /** the operator's exceptions */
  allowsClassic: (req: Request) => Promise<boolean>
  pages: Pages
  picker: PickerOptions
  signIn: SignIn
  providersTable: ProvidersTable
}

interface PickerContent {
  notice: string | undefined
  providers: ListedProvider[]
  /** whether the page links to the other one */
  hasOther: boolean
}

type ListedProvider = Omit<PickerProvider, 'health' | 'reauthentication' | 'showOnPicker'> & {
  lastUsed: boolean
  hasProblems: boolean
}

/** The enabled providers of a portal, as far as the login page needs them. */
interface Offers {
  /** in order, at most one page */
  listed: readonly PickerProvider[]
  /** also the hidden ones, up to one page and one more */
  count: number
  hasHidden: boolean
  hasMore: boolean
}

/** of a display name */
const maxSearchLength = 100
/** A longer list has a search, and its page asks for the e-mail address first. */
const maxListed = 8

/**
 * `GET /login`: the enabled providers as a list, or a field for the e-mail address. The host's classic login page shows if there is
 * none, or if the operator opened it.
 */
export function pickerRoute(core: Core, modules: PickerModules): RequestHandler {
  const { breakers, homePath, portalOf, urls } = core
  const { allowsClassic, picker, signIn } = modules
  const { browserHints, pendingRegistrations } = signIn
  const pages = new PickerPages(core, modules)

  return asyncHandler(async (req, res, next) => {
    const offers = await breakers.database.run(() => readOffers(req, portalOf(req), modules))
    if (offers.count === 0 || (await allowsClassic(req))) return next()
    const reauthentication = readReauthentication(req.query)
    if (req.user && !reauthentication) return res.redirect(303, safeReturnTo(req.query.returnTo) ?? homePath)
    const isCancelled = req.query.cancelled === 'registration'
    if (isCancelled) pendingRegistrations.clear(res)

    const notice = noticeFor(req, reauthentication, browserHints.isSignedOut(req) ? offers : undefined)
    const only = offers.count === 1 ? offers.listed[0] : undefined
    const isPlain = notice === undefined && !isCancelled && req.query.by === undefined
    if (picker.skipSingle && only && isPlain && browserHints.skipOnce(req, res)) {
      modules.pages.locales.remember(req, res)
      return res.redirect(302, urls.path(`/login/${only.slug}`, ownQuery(req)))
    }
    if (viewFor(req, picker.mode, offers) === 'email') await pages.showEmail(req, res, { notice, offers })
    else await pages.showList(req, res, { notice, offers })
    signIn.connectedProviders.prepare()
  })
}

/**
 * `POST /login?by=email`: finds the provider by the domain of an e-mail address. Attacker: tries addresses to learn who has an account,
 * or whether several providers serve a domain. So no user is looked up, and several matches look like none.
 */
export function emailRoute(core: Core, modules: PickerModules): RequestHandler {
  const { breakers, portalOf, urls } = core
  const pages = new PickerPages(core, modules)

  return asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const typed: unknown = req.body?.email
    const email = normaliseEmail(typed)
    if (email === undefined) {
      const offers = await breakers.database.run(() => readOffers(req, portal, modules))
      res.status(422)
      const page = { notice: undefined, offers, error: 'picker.emailInvalid' }
      return await pages.showEmail(req, res, { ...page, typed: typeof typed === 'string' ? typed : '' })
    }
    const own = { ...ownQuery(req), login_hint: email }
    const provider = await breakers.database.run(() => findByDomain(portal, domainOf(email), modules))
    if (!provider) return res.redirect(303, urls.path('/login', { by: 'list', unmatched: '1', ...own }))
    const href = urls.path(`/login/${provider.slug}`, own)
    const { lang } = modules.pages.locale(req)
    const locals = { anotherHref: urls.path('/login', { by: 'list', ...own }) }
    await sendRedirectPage(modules.pages, req, res, { href, name: buttonNameOf(provider, lang), locals })
  })
}

interface PageContext {
  notice: string | undefined
  offers: Offers
}

/** The two forms of the login page. A page that shows nothing of its visitor except the query of its links is shared. */
class PickerPages {
  readonly #core: Core
  readonly #modules: PickerModules

  constructor(core: Core, modules: PickerModules) {
    this.#core = core
    this.#modules = modules
  }

  async showList(req: Request, res: Response, { notice, offers }: PageContext): Promise<void> {
    const { pages, picker, providersTable, signIn } = this.#modules
    const { breakers, portalOf, urls } = this.#core
    const { count, hasHidden, hasMore, listed } = offers
    const text = readSearch(req.query.q)
    const lastSlug = signIn.browserHints.lastProvider(req)
    const hasOther = hasHidden || picker.mode === 'email' || count > maxListed
    const content = { notice, hasOther, providers: toListed(listed, lastSlug) }
    const [own, locals] = [ownQuery(req), listLocals(urls)]
    const isSearchable = text !== undefined || listed.length > maxListed
    if (!isSearchable)
      return await pages.showShared(req, res, 'picker', { content, locals, query: queryString(own) })
    const shown = { lang: pages.locale(req).lang, query: queryString(own) }
    const fields = { by: 'list', ...own }
    const search = { action: urls.path('/login'), fields, text, hasMore }
    if (hasMore && text !== undefined) {
      const selection = { search: text, shown: true, limit: providersPerPage + 1 }
      const found = await breakers.database.run(() => providersTable.listEnabled(portalOf(req), selection))
      const providers = toListed(found.slice(0, providersPerPage), lastSlug)
      const none = found.length === 0
      return await pages.show(req, res, 'picker', {
        ...locals({ ...content, providers }, shown),
        search: { ...search, hasMore: found.length > providersPerPage, none },
      })
    }
    const { providers, ...page } = locals(content, shown)
    const rows = providers.map((provider) => ({ ...provider, hidden: !matches(provider.displayName, text) }))
    const matching = rows.filter(({ hidden }) => !hidden).length
    await pages.show(req, res, 'picker', {
      ...page,
      providers: rows,
      search: { ...search, count: hasMore ? undefined : { shown: matching, total: rows.length } },
    })
  }

  async showEmail(
    req: Request,
    res: Response,
    { notice, offers, error, typed }: PageContext & { error?: string; typed?: string },
  ): Promise<void> {
    const { pages, signIn } = this.#modules
    const lastSlug = signIn.browserHints.lastProvider(req)
    const providers = toListed(offers.listed, lastSlug).filter(({ lastUsed }) => lastUsed)
    const content = { notice, hasOther: offers.listed.length > 0, providers }
    const own = ownQuery(req)
    const query = queryString(own)
    const locals = emailLocals(this.#core.urls)
    const isUnmatched = notice === 'picker.unmatched'
    if (own.login_hint === undefined && error === undefined && !isUnmatched)
      return await pages.showShared(req, res, 'email', { content, locals, query })
    const page = isUnmatched ? { notice: undefined, error: 'picker.unmatchedAlone' } : { error }
    await pages.show(req, res, 'email', {
      ...locals(content, { lang: pages.locale(req).lang, query }),
      typed: typed?.slice(0, 254) ?? own.login_hint ?? '',
      ...page,
    })
  }
}

function viewFor(
  { query }: Request,
  mode: PickerOptions['mode'],
  { count, listed }: Offers,
): 'list' | 'email' {
  if (listed.length === 0 || query.by === 'email') return 'email'
  if (query.by === 'list' || readSearch(query.q) !== undefined) return 'list'
  return mode ?? (count > maxListed && normaliseEmail(query.email) === undefined ? 'email' : 'list')
}

/** The visitor's own part of every link. The provider preselects the account of the `login_hint`. */
function ownQuery({ query }: Request): Record<string, string | undefined> {
  return {
    returnTo: safeReturnTo(query.returnTo),
    ...reauthenticationQuery(readReauthentication(query)),
    login_hint: normaliseEmail(query.email) ?? readLoginHint(query.login_hint),
  }
}

function listLocals(urls: PortalUrls) {
  return ({ notice, hasOther, providers }: PickerContent, visitor: { lang: string; query: string }) => ({
    notice,
    providers: providers.map((provider) => button(urls, provider, visitor)),
    emailHref: hasOther ? otherHref(urls, 'email', visitor.query) : undefined,
  })
}

function emailLocals(urls: PortalUrls) {
  const locals = listLocals(urls)
  return (content: PickerContent, visitor: { lang: string; query: string }) => ({
    ...locals(content, visitor),
    action: otherHref(urls, 'email', visitor.query),
    listHref: content.hasOther ? otherHref(urls, 'list', visitor.query) : undefined,
    typed: '',
    error: undefined,
  })
}

function otherHref(urls: PortalUrls, by: 'email' | 'list', query: string): string {
  return urls.path('/login', { by }) + query.replace('?', '&')
}

function button(
  urls: PortalUrls,
  provider: ListedProvider,
  { lang, query }: { lang: string; query: string },
) {
  const href = urls.path(`/login/${provider.slug}`) + query
  const displayName = buttonNameOf(provider, lang)
  return {
    displayName,
    note: providerNote(provider, { lang }),
    href,
    logoUrl: provider.logoHash && urls.providerLogo(provider.logoHash),
    logo: presetOf(provider.preset)?.logo,
    monogram: monogramOf(displayName),
    hue: hueOf(provider),
    // Nobody should be led to a provider that fails. It keeps its place, because everyone may try it.
    recommended: provider.recommended && !provider.hasProblems,
    hasProblems: provider.hasProblems,
    lastUsed: provider.lastUsed,
    until: lastDayOf(provider, lang),
  }
}

/** A name that the administrator chose tells two providers of one vendor apart. */
function buttonNameOf(provider: Pick<Provider, 'displayName' | 'labels' | 'preset'>, lang: string): string {
  const [name, preset] = [providerName(provider, { lang }), presetOf(provider.preset)]
  return (name === preset?.displayName && preset.buttonName) || name
}

/**
 * Picks the members, because everything that this returns is part of the cached page's key. Of the health only whether there are
 * problems: visitors must not learn since when a customer's employees cannot sign in.
 */
function toListed(providers: readonly PickerProvider[], lastSlug: string | undefined): ListedProvider[] {
  return providers.map((provider) => ({
    displayName: provider.displayName,
    labels: provider.labels,
    logoHash: provider.logoHash,
    note: provider.note,
    notes: provider.notes,
    position: provider.position,
    preset: provider.preset,
    recommended: provider.recommended,
    retireAt: provider.retireAt,
    slug: provider.slug,
    lastUsed: provider.slug === lastSlug,
    hasProblems: provider.health !== undefined,
  }))
}

/** Providers for the domain of `?email=` come first, also hidden ones. The user may still choose any. */
async function readOffers(
  req: Request,
  portal: string,
  { providersTable, signIn }: PickerModules,
): Promise<Offers> {
  const email = normaliseEmail(req.query.email)
  const lastSlug = signIn.browserHints.lastProvider(req)
  const limit = providersPerPage + 1
  // No cache: a provider that was connected on any instance appears at the next request.
  const found: readonly (PickerProvider | Provider)[] =
    email === undefined
      ? await providersTable.listForPicker(portal)
      : await providersTable.listEnabled(portal, { emailDomain: inDomainsColumn(domainOf(email)), limit })
  const hasMore = found.length === limit
  // In a portal with more providers, the one that this browser used last may be far behind.
  const isBehind = hasMore && !found.some(({ slug }) => slug === lastSlug)
  const behind = isBehind ? await providersTable.find(portal, lastSlug) : undefined
  const last = behind?.enabled ? [behind] : []
  const isServing = (each: PickerProvider | Provider) =>
    email !== undefined && 'version' in each && servesDomain(each, domainOf(email))
  const others = found.filter((each) => !isServing(each) && (each.showOnPicker || each.slug === lastSlug))
  const first = others[0]?.recommended ? 1 : 0
  const listed = [...found.filter(isServing), ...others.slice(0, first), ...last, ...others.slice(first)]
  const hasHidden = found.some(({ showOnPicker }) => !showOnPicker)
  return { listed: listed.slice(0, providersPerPage), count: found.length, hasHidden, hasMore }
}

/** A hidden provider is found in no other way, so it precedes the listed ones. */
async function findByDomain(
  portal: string,
  domain: string,
  { providersTable }: PickerModules,
): Promise<Provider | undefined> {
  const emailDomain = inDomainsColumn(domain)
  const first = await providersTable.listEnabled(portal, { emailDomain, limit: providersPerPage })
  const serving = first.filter((provider) => servesDomain(provider, domain))
  const hidden = serving.find(({ showOnPicker }) => !showOnPicker)
  return hidden ?? (serving.length === 1 ? serving[0] : undefined)
}

/** As in the JSON of the column. */
function inDomainsColumn(domain: string): string {
  return `"${domain}`
}

/**
 * Explains why the page shows.
 *
 * @param signedOutOffers the offers, if a user has signed out in this browser
 */
function noticeFor(
  req: Request,
  reauthentication: ReauthenticationRequirement | undefined,
  signedOutOffers: Offers | undefined,
): string | undefined {
  if (req.query.unmatched !== undefined) return 'picker.unmatched'
  if (reauthentication?.acr) return 'picker.stronger'
  if (reauthentication && req.user) return 'picker.again'
  if (!signedOutOffers) return undefined
  const { hasHidden, hasMore, listed } = signedOutOffers
  const asks = !hasHidden && !hasMore && listed.every((provider) => provider.reauthentication === 'proven')
  return asks ? 'picker.signedOutAsks' : 'picker.signedOut'
}

/** @returns `undefined` for all. PostgreSQL fails on a NUL, and no name has a control character. */
export function readSearch(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined
  return (
    text
      .replace(/\p{Cc}/gu, ' ')
      .trim()
      .slice(0, maxSearchLength) || undefined
  )
}

/** As `picker.js` does it: without case and accents. */
function matches(name: string, search = ''): boolean {
  const [text, part] = [name, search].map((each) =>
    each.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase(),
  )
  return text?.includes(part ?? '') ?? false
}

/** The last day on which the provider can be used. A retirement at midnight ends the day before. */
function lastDayOf({ retireAt }: Pick<Provider, 'retireAt'>, lang: string): string | undefined {
  if (retireAt === undefined) return undefined
  const format = dateFormat(lang, { day: 'numeric', month: 'long', year: 'numeric' })
  return format.format(Date.parse(retireAt) - 1)
}

export function monogramOf(displayName: string): string {
  const segmenter = new Intl.Segmenter()
  const [first] = segmenter.segment(displayName.trim())
  return (first?.segment ?? '?').toUpperCase()
}

// Five twelfths of the colour circle from one to the next, so that neighbours differ clearly.
export function hueOf({ position }: Pick<Provider, 'position'>): number {
  return (position * 5) % 12
}

/** A longer list has a search field. */
const maxUnsearched = 8

/** The providers for a page other than the picker, or the first ones and a search field. Hidden ones are not listed. */
export async function listProviders(
  { query }: Request,
  providersTable: ProvidersTable,
  urls: PortalUrls,
  { action, locale, portal }: { action: string; locale: Locale; portal: string },
) {
  const search = readSearch(query.q)
  const limit = providersPerPage + 1
  const found = await providersTable.listEnabled(portal, { search, shown: true, limit })
  const hasMore = found.length === limit
  const named = found
    .slice(0, providersPerPage)
    .map((each) => ({ ...each, name: providerName(each, locale) }))
  return {
    search: (found.length > maxUnsearched || search !== undefined) && {
      ...{ action, fields: {}, text: search, hasMore },
      none: found.length === 0,
    },
    providers: named.map(({ name, ...provider }) => ({
      id: provider.id,
      slug: provider.slug,
      displayName: name,
      logoUrl: provider.logoHash && urls.providerLogo(provider.logoHash),
      logo: presetOf(provider.preset)?.logo,
      monogram: monogramOf(name),
      hue: hueOf(provider),
    })),
  }
}
