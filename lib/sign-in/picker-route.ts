import type { Request, RequestHandler } from 'express'
import { listedDomains } from '../oidc/vouches.ts'
import { presetOf } from '../providers/presets/presets.ts'
import { type Provider, providerName, providerNote } from '../providers/provider.ts'
import { type PickerProvider, type ProvidersTable, providersPerPage } from '../providers/providers-table.ts'
import { domainOf, normaliseEmail } from '../users/email-address.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { dateFormat } from '../web/locale.ts'
import type { Pages, SharedPage } from '../web/pages.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { type PortalUrls, queryString } from '../web/urls.ts'
import type { ReauthenticationRequirement } from './attempts.ts'
import { readReauthentication, reauthenticationQuery } from './reauthentication.ts'
import type { SignIn } from './sign-in.ts'

interface PickerContent {
  notice: string | undefined
  providers: (Omit<PickerProvider, 'reauthentication' | 'health'> & {
    lastUsed: boolean
    hasProblems: boolean
  })[]
}

/** of a display name */
const maxSearchLength = 100

/**
 * `GET /login`: the enabled providers, or the first ones and a search field. The host's classic login page shows if there is none,
 * or if the operator opened it.
 */
export function pickerRoute(
  { breakers, homePath, portalOf, urls }: Core,
  modules: {
    /** the operator's exceptions */
    allowsClassic: (req: Request) => Promise<boolean>
    pages: Pages
    signIn: SignIn
    providersTable: ProvidersTable
  },
): RequestHandler {
  const { allowsClassic, pages, signIn, providersTable } = modules
  const { browserHints, pendingRegistrations } = signIn
  const locals = pickerLocals(urls)

  return asyncHandler(async (req, res, next) => {
    const lastSlug = browserHints.lastProvider(req)
    const where = { portal: portalOf(req), lastSlug }
    const page = await breakers.database.run(() => readPage(req.query, providersTable, where))
    if (!page || (await allowsClassic(req))) return next()
    const returnTo = safeReturnTo(req.query.returnTo)
    const reauthentication = readReauthentication(req.query)
    if (req.user && !reauthentication) return res.redirect(303, returnTo ?? homePath)
    if (req.query.cancelled === 'registration') pendingRegistrations.clear(res)

    const { email, hasMore, providers, search } = page
    const query = { returnTo, ...reauthenticationQuery(reauthentication) }
    const content = {
      notice: noticeFor(req, reauthentication, browserHints.isSignedOut(req) ? page : undefined),
      providers: markLastUsed(providers, lastSlug),
    }
    const own = queryString(query)
    if (hasMore || search !== undefined) {
      const fields = { ...query, ...(email && { email }) }
      const none = providers.length === 0
      // The visitor's own text and query are in its form, so this page is not shared.
      await pages.show(req, res, 'picker', {
        ...locals(content, { lang: pages.locale(req).lang, query: own }),
        search: { action: urls.path('/login'), fields, text: search, hasMore, none },
      })
    } else await pages.showShared(req, res, 'picker', { content, locals, query: own })
    signIn.connectedProviders.prepare()
  })
}

function pickerLocals(urls: PortalUrls): SharedPage<PickerContent>['locals'] {
  return ({ notice, providers }, { lang, query }) => ({
    notice,
    providers: providers.map((provider) => ({
      displayName: providerName(provider, lang),
      note: providerNote(provider, lang),
      href: urls.path(`/login/${provider.slug}`) + query,
      logoUrl: provider.logoHash && urls.providerLogo(provider.logoHash),
      logo: presetOf(provider.preset)?.logo,
      monogram: monogramOf(providerName(provider, lang)),
      hue: hueOf(provider),
      // Nobody should be led to a provider that fails. It keeps its place, because everyone may try it.
      recommended: provider.recommended && !provider.hasProblems,
      hasProblems: provider.hasProblems,
      lastUsed: provider.lastUsed,
      until: lastDayOf(provider, lang),
    })),
  })
}

/**
 * Picks the members, because everything that this returns is part of the cached page's key. Of the health only whether there are
 * problems: visitors must not learn since when a customer's employees cannot sign in.
 */
function markLastUsed(
  providers: readonly PickerProvider[],
  lastSlug: string | undefined,
): PickerContent['providers'] {
  return providers.map((provider) => {
    const { displayName, labels, logoHash, note, notes, position, preset, recommended, retireAt, slug } =
      provider
    const marks = { lastUsed: slug === lastSlug, hasProblems: provider.health !== undefined }
    return {
      displayName,
      labels,
      logoHash,
      note,
      notes,
      position,
      preset,
      recommended,
      retireAt,
      slug,
      ...marks,
    }
  })
}

/** @returns `undefined` if no provider is enabled */
async function readPage(
  { q, email: hint }: Request['query'],
  providersTable: ProvidersTable,
  { portal, lastSlug }: { portal: string; lastSlug: string | undefined },
) {
  const search = readSearch(q)
  const email = normaliseEmail(hint)
  // As in the JSON of the column.
  const emailDomain = email && `"${domainOf(email)}`
  const limit = providersPerPage + 1
  // No cache: a provider that was connected on any instance appears at the next request.
  const found: readonly (PickerProvider | Provider)[] =
    search === undefined && email === undefined
      ? await providersTable.listForPicker(portal)
      : await providersTable.listEnabled(portal, { search, emailDomain, limit })
  if (found.length === 0 && (search === undefined || !(await providersTable.anyEnabled(portal))))
    return undefined
  const hasMore = found.length === limit
  // In a portal with more providers, the one that this browser used last may be far behind.
  const isBehind = hasMore && search === undefined && !found.some(({ slug }) => slug === lastSlug)
  const last = isBehind ? await providersTable.find(portal, lastSlug) : undefined
  const first = found[0]?.recommended ? 1 : 0
  const providers = last?.enabled ? [...found.slice(0, first), last, ...found.slice(first)] : found
  return { email, hasMore, providers: sortByEmail(providers.slice(0, providersPerPage), email), search }
}

/**
 * Explains why the page shows.
 *
 * @param signedOutPage the page, if a user has signed out in this browser
 */
function noticeFor(
  req: Request,
  reauthentication: ReauthenticationRequirement | undefined,
  signedOutPage: { hasMore: boolean; providers: readonly PickerProvider[] } | undefined,
): string | undefined {
  if (reauthentication?.acr) return 'picker.stronger'
  if (reauthentication && req.user) return 'picker.again'
  if (!signedOutPage) return undefined
  const { hasMore, providers } = signedOutPage
  const asks = !hasMore && providers.every((provider) => provider.reauthentication === 'proven')
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

/** Providers for the domain of `?email=` come first. The user may still choose any. */
function sortByEmail(
  providers: readonly (PickerProvider | Provider)[],
  email: string | undefined,
): readonly PickerProvider[] {
  if (email === undefined) return providers
  const serves = (provider: PickerProvider | Provider) =>
    'version' in provider && listedDomains(provider).some(({ domain }) => domain === domainOf(email))
  return [...providers.filter(serves), ...providers.filter((provider) => !serves(provider))]
}

/** The last day on which the provider can be used. A retirement at midnight ends the day before. */
function lastDayOf({ retireAt }: Pick<Provider, 'retireAt'>, lang: string): string | undefined {
  if (retireAt === undefined) return undefined
  return dateFormat(lang, { day: 'numeric', month: 'long' }).format(Date.parse(retireAt) - 1)
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

/** The enabled providers for a page other than the picker, or the first ones and a search field. */
export async function listProviders(
  { query }: Request,
  providersTable: ProvidersTable,
  { action, portal }: { action: string; portal: string },
) {
  const search = readSearch(query.q)
  const limit = providersPerPage + 1
  const found = await providersTable.listEnabled(portal, { search, limit })
  const hasMore = found.length === limit
  return {
    search: (found.length > maxUnsearched || search !== undefined) && {
      ...{ action, fields: {}, text: search, hasMore },
      none: found.length === 0,
    },
    providers: found.slice(0, providersPerPage).map((provider) => ({
      id: provider.id,
      slug: provider.slug,
      displayName: provider.displayName,
      logo: presetOf(provider.preset)?.logo,
      monogram: monogramOf(provider.displayName),
      hue: hueOf(provider),
    })),
  }
}
