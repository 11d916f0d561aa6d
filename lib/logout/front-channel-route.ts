import { type Request, type Response, Router } from 'express'
import { identifierPattern } from '../oidc/identity.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import { presetOf } from '../providers/presets/presets.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import type { ProviderClients } from '../sign-in/connected-providers.ts'
import { asyncHandler } from '../web/handler.ts'
import type { PortalResolver } from '../web/request.ts'
import type { ApplyProviderLogout } from './provider-logout.ts'

export interface FrontChannelRouteParts {
  clients: ProviderClients
  logger: Logger
  applyProviderLogout: ApplyProviderLogout
  portalOf: PortalResolver
  table: ProvidersTable
}

/** A request that is not to be believed; the message says why and quotes nothing of it. */
class FrontChannelError extends Error {}

/** milliseconds: a provider's page waits for its frames before it leads people on */
const patience = 2000

/**
 * `GET /logout/:provider/frontchannel?iss=…&sid=…` (OpenID Connect Front-Channel Logout 1.0): a page of the provider loads it in
 * a frame, when somebody signs out there. Only of a provider that has the option.
 *
 * No cookie of ours comes along to a frame on another site, and none would count: `iss` and `sid` name the session, which is
 * ended by the index, in whatever browser it runs. Nothing is signed here. What there is to know is `sid`, which stands in ID
 * tokens and nowhere else: whoever has learnt one, or guesses what a provider made to be unguessable, can sign out that one
 * session of that provider, and gains nothing by it.
 */
export function createFrontChannelRoute(parts: FrontChannelRouteParts): Router {
  const { clients, logger, applyProviderLogout, portalOf, table } = parts

  const receive = asyncHandler(async (req, res) => {
    forgetSession(req)
    const slug = slugSchema.safeParse(req.params.provider).data
    const provider = slug && (await find(portalOf(req), slug))
    if (!provider) return answer(res, 404, "'none'")
    const status = await end(req, provider)
    answer(res, status, [...(await originsOf(provider))].join(' '))
  })

  /** A disabled provider lets nobody in, but may still say that somebody has left. */
  async function find(portal: string, slug: string): Promise<Provider | undefined> {
    const provider = await table.find(portal, slug)
    return provider?.frontChannelLogout ? provider : undefined
  }

  /** The same status whether there was such a session. */
  async function end(req: Request, provider: Provider): Promise<number> {
    const { portal, slug } = provider
    try {
      const { issuer, sid } = read(req, provider)
      const told = { issuer: issuer ?? provider.issuer, ends: { sid } }
      await applyProviderLogout(
        provider,
        told,
        issuer === undefined ? { portal, provider: slug, sid } : undefined,
      )
      return 200
    } catch (error) {
      const invalid = error instanceof FrontChannelError
      const log = invalid ? logger.warn : logger.error
      log.call(logger, { provider: slug, cause: describeError(error) }, 'a front-channel logout was refused')
      return invalid ? 400 : 503
    }
  }

  /** Whose pages may show it: those on which people sign in and out there. */
  async function originsOf(provider: Provider): Promise<Set<string>> {
    const known = async () => {
      const { metadata } = await clients.of(provider)
      return [metadata.authorization_endpoint, metadata.end_session_endpoint]
    }
    // While the provider is away its frame stays empty, or not; the session has ended.
    const endpoints = await withTimeout(patience, known()).catch(() => [])
    return new Set(
      [provider.issuer, ...endpoints]
        .flatMap((address) => (address === undefined ? [] : new URL(address).origin))
        // A host may hold characters that end a directive.
        .filter((origin) => /^https?:\/\/[\w.[\]:-]+$/.test(origin)),
    )
  }

  const router = Router()
  router.get('/logout/:provider/frontchannel', receive)
  return router
}

/**
 * A frame on the provider's page is no visit of the person. Without an id of its session express-session writes none, prolongs
 * none, ends none and sets no cookie, also where the provider is on the same site and its cookie came along.
 */
function forgetSession(req: Request): void {
  Object.assign(req, { sessionID: undefined })
}

/** Section 2: both or none, and only both say which session. `iss` is left out by those only of which that is known. */
function read(req: Request, provider: Provider): { issuer: string | undefined; sid: string } {
  const { iss, sid } = req.query
  if (typeof sid !== 'string' || !identifierPattern.test(sid))
    throw new FrontChannelError('there is not one sid of 1 to 255 ASCII characters')
  if (iss === undefined && presetOf(provider.preset)?.frontChannelWithoutIssuer)
    return { issuer: undefined, sid: sid }
  if (typeof iss !== 'string' || !isIssuerOf(provider, iss))
    throw new FrontChannelError('its issuer (iss) is not the provider')
  return { issuer: iss, sid: sid }
}

/** Tiny, and nothing that anybody could be made to click on: that is why it may be framed, here and nowhere else. */
function answer(res: Response, status: number, ancestors: string): void {
  // Whatever a host says of all its pages: browsers that know `frame-ancestors` pass over this one, others do not.
  res.removeHeader('x-frame-options')
  res
    .status(status)
    .set({
      'content-security-policy': `default-src 'none'; frame-ancestors ${ancestors}`,
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
    })
    .type('html')
    .send('<!doctype html><title>.</title>')
}
