import type { Request, RequestHandler, Response } from 'express'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { domainOf, normaliseEmail } from '../users/email-address.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import { safeReturnTo } from '../web/return-to.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { ReauthenticationRequirement } from './attempts.ts'
import type { LastProvider, SignedOutMarker } from './browser-hints.ts'
import { readReauthentication, reauthenticationQuery } from './reauthentication.ts'

export interface PickerParts {
  urls: PortalUrls
  /** the operator's own ways around: let the host's classic login page through */
  allowsClassic: (req: Request) => Promise<boolean>
  homePath: string
  /** takes away a registration that waits in this browser */
  clearPendingRegistration: (res: Response) => void
  lastUsed: LastProvider
  pages: Pages
  portalOf: PortalResolver
  signedOutMarker: SignedOutMarker
  table: ProvidersTable
}

/** `GET /login`: all enabled providers. Without one, or for the operator, the host's classic login page shows. */
export function createPickerRoute(parts: PickerParts): RequestHandler {
  const { urls, allowsClassic, clearPendingRegistration, homePath, lastUsed, pages, portalOf } = parts
  const { signedOutMarker, table } = parts

  /** Why the page shows, to somebody who may wonder. */
  function noticeFor(req: Request, fresh: ReauthenticationRequirement | undefined): string | undefined {
    if (fresh?.acr) return 'picker.stronger'
    if (fresh && req.user) return 'picker.again'
    return signedOutMarker.is(req) ? 'picker.signedOut' : undefined
  }

  return asyncHandler(async (req, res, next) => {
    // One query, no cache to go stale: a provider connected anywhere is here at the next request.
    const providers = await table.listEnabled(portalOf(req))
    if (providers.length === 0 || (await allowsClassic(req))) return next()
    const returnTo = safeReturnTo(req.query.returnTo)
    // Who is to show anew who they are chooses by what.
    const fresh = readReauthentication(req.query)
    if (req.user && !fresh) return res.redirect(303, returnTo ?? homePath)
    if (req.query.cancelled === 'registration') clearPendingRegistration(res)

    const last = lastUsed.get(req)
    const { lang } = pages.locale(req)
    await pages.show(req, res, 'picker', {
      notice: noticeFor(req, fresh),
      providers: offered(providers, req.query.email).map((provider) => ({
        displayName: provider.displayName,
        href: urls.path(`/login/${provider.slug}`, { returnTo, ...reauthenticationQuery(fresh) }),
        logo: presetOf(provider.preset)?.logo,
        monogram: monogramOf(provider.displayName),
        hue: hueOf(provider),
        recommended: provider.recommended,
        lastUsed: provider.slug === last,
        until: lastDayOf(provider, lang),
      })),
    })
  })
}

/** Those that vouch for the domain of `?email=` first; everybody may still take any. */
function offered(providers: readonly Provider[], hint: unknown): readonly Provider[] {
  const email = normaliseEmail(hint)
  if (email === undefined) return providers
  const knows = ({ emailDomains }: Provider) => emailDomains.includes(domainOf(email))
  return [...providers.filter(knows), ...providers.filter((provider) => !knows(provider))]
}

/** The last day on which it can be used, as the reader writes it. A retirement at midnight ends the day before. */
function lastDayOf({ retireAt }: Provider, lang: string): string | undefined {
  if (retireAt === undefined) return undefined
  return new Intl.DateTimeFormat(lang, { day: 'numeric', month: 'long' }).format(Date.parse(retireAt) - 1)
}

export function monogramOf(displayName: string): string {
  const [first] = new Intl.Segmenter().segment(displayName.trim())
  return (first?.segment ?? '?').toUpperCase()
}

// Five twelfths of the colour circle on from one to the next: neighbours never look alike.
export function hueOf({ position }: Provider): number {
  return (position * 5) % 12
}
