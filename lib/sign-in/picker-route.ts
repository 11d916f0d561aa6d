import type { Request, RequestHandler } from 'express'
import { listedDomains } from '../oidc/vouches.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { PickerProvider, ProvidersTable } from '../providers/providers-table.ts'
import { domainOf, normaliseEmail } from '../users/email-address.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages, SharedPage } from '../web/pages.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { type PortalUrls, queryString } from '../web/urls.ts'
import type { ReauthenticationRequirement } from './attempts.ts'
import { readReauthentication, reauthenticationQuery } from './reauthentication.ts'
import type { SignIn } from './sign-in.ts'

interface PickerContent {
  notice: string | undefined
  providers: (Omit<PickerProvider, 'reauthentication'> & { lastUsed: boolean })[]
}

/** `GET /login`: all enabled providers. The host's classic login page shows if there is none, or if the operator opened it. */
export function pickerRoute(
  { homePath, portalOf, urls }: Core,
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
    const { email } = req.query
    // One query and no cache: a provider that was connected on any instance appears at the next request.
    const providers =
      email === undefined
        ? await providersTable.listForPicker(portalOf(req))
        : sortByEmail(await providersTable.listEnabled(portalOf(req)), email)
    if (providers.length === 0 || (await allowsClassic(req))) return next()
    const returnTo = safeReturnTo(req.query.returnTo)
    const reauthentication = readReauthentication(req.query)
    if (req.user && !reauthentication) return res.redirect(303, returnTo ?? homePath)
    if (req.query.cancelled === 'registration') pendingRegistrations.clear(res)

    const notice = noticeFor(req, reauthentication, browserHints.isSignedOut(req) ? providers : undefined)
    await pages.showShared(req, res, 'picker', {
      content: { notice, providers: markLastUsed(providers, browserHints.lastProvider(req)) },
      query: queryString({ returnTo, ...reauthenticationQuery(reauthentication) }),
      locals,
    })
    signIn.connectedProviders.prepare()
  })
}

function pickerLocals(urls: PortalUrls): SharedPage<PickerContent>['locals'] {
  return ({ notice, providers }, { lang, query }) => ({
    notice,
    providers: providers.map((provider) => ({
      displayName: provider.displayName,
      href: urls.path(`/login/${provider.slug}`) + query,
      logo: presetOf(provider.preset)?.logo,
      monogram: monogramOf(provider.displayName),
      hue: hueOf(provider),
      recommended: provider.recommended,
      lastUsed: provider.lastUsed,
      until: lastDayOf(provider, lang),
    })),
  })
}

/** Picks the members, because all that this returns is part of the key under which the page is kept. */
function markLastUsed(
  providers: readonly PickerProvider[],
  lastSlug: string | undefined,
): PickerContent['providers'] {
  return providers.map(({ displayName, position, preset, recommended, retireAt, slug }) => {
    const lastUsed = slug === lastSlug
    return { displayName, lastUsed, position, preset, recommended, retireAt, slug }
  })
}

/**
 * Explains why the page shows.
 *
 * @param signedOutFrom the providers, if a user has signed out in this browser
 */
function noticeFor(
  req: Request,
  reauthentication: ReauthenticationRequirement | undefined,
  signedOutFrom: readonly PickerProvider[] | undefined,
): string | undefined {
  if (reauthentication?.acr) return 'picker.stronger'
  if (reauthentication && req.user) return 'picker.again'
  if (!signedOutFrom) return undefined
  const asks = signedOutFrom.every((provider) => provider.reauthentication === 'proven')
  return asks ? 'picker.signedOutAsks' : 'picker.signedOut'
}

/** Providers for the domain of `?email=` come first. The user may still choose any. */
function sortByEmail(providers: readonly Provider[], hint: unknown): readonly Provider[] {
  const email = normaliseEmail(hint)
  if (email === undefined) return providers
  const serves = (provider: Provider) =>
    listedDomains(provider).some(({ domain }) => domain === domainOf(email))
  return [...providers.filter(serves), ...providers.filter((provider) => !serves(provider))]
}

/** The last day on which the provider can be used. A retirement at midnight ends the day before. */
function lastDayOf({ retireAt }: Pick<Provider, 'retireAt'>, lang: string): string | undefined {
  if (retireAt === undefined) return undefined
  return new Intl.DateTimeFormat(lang, { day: 'numeric', month: 'long' }).format(Date.parse(retireAt) - 1)
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
