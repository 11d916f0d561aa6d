import { type Request, type Response, Router } from 'express'
import { storedSid } from '../oidc/identity.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { CheckError, describeError } from '../shared/errors.ts'
import { withTimeout } from '../shared/time.ts'
import type { ConnectedProviders } from '../sign-in/connected-providers.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { BackChannelModules } from './back-channel-route.ts'

/** The request is invalid. The message explains why and quotes nothing of it. */
class FrontChannelError extends CheckError {}

type FrontChannelModules = Omit<BackChannelModules, 'form'> & { readonly sessions: Sessions }

/** The provider's page waits for its frames before it redirects. */
const discoveryTimeoutMs = 2000

/**
 * `GET /logout/:provider/frontchannel?iss=…&sid=…` (OpenID Connect Front-Channel Logout 1.0), in a frame on the provider's page.
 * Nothing is signed and no cookie counts: an attacker who learns a `sid` can end that one session and gains nothing else.
 */
export function frontChannelRoute(core: Core, modules: FrontChannelModules): Router {
  const { logger, portalOf } = core
  const { connectedProviders, logout, providersTable, refusalLog, sessions } = modules

  const receive = asyncHandler(async (req, res) => {
    sessions.activate(req)
    ignoreSession(req)
    // A disabled provider admits nobody, but may still end sessions.
    const provider = await providersTable.find(portalOf(req), req.params.provider)
    if (!provider?.frontChannelLogout) return sendFrame(res, 404, "'none'")
    const status = await end(req, provider)
    sendFrame(res, status, await originsOf(provider, connectedProviders))
  })

  /** @returns a status that does not reveal whether there was such a session */
  async function end(req: Request, provider: Provider): Promise<number> {
    const { portal, slug } = provider
    // Nothing is signed, so every request can cause a row or a log line.
    const isRecorded = refusalLog.admits(req, portal)
    try {
      const { issuer, sid } = readParameters(req, provider)
      const notice = { issuer: issuer ?? provider.issuer, ends: { sid } }
      const match = issuer === undefined ? { portal, provider: slug, sid } : undefined
      await logout.applyProviderLogout(provider, notice, { match, isRecorded })
      return 200
    } catch (error) {
      const isInvalid = error instanceof FrontChannelError
      const entry = { provider: slug, cause: describeError(error) }
      if (isRecorded) logger[isInvalid ? 'warn' : 'error'](entry, 'a front-channel logout was refused')
      return isInvalid ? 400 : 503
    }
  }

  const router = Router()
  router.get('/logout/:provider/frontchannel', receive)
  return router
}

/** The origins that may frame the response: the pages on which the provider signs users in and out. */
async function originsOf(provider: Provider, connectedProviders: ConnectedProviders): Promise<string> {
  const readEndpoints = async () => {
    const { metadata } = await connectedProviders.connect(provider).client()
    return [metadata.authorization_endpoint, metadata.end_session_endpoint]
  }
  // The session has ended even if the provider is down and its frame stays empty.
  const endpoints = await withTimeout(discoveryTimeoutMs, readEndpoints()).catch(() => [])
  const origins = new Set<string>()
  for (const url of [provider.issuer, ...endpoints]) {
    const origin = url === undefined ? '' : new URL(url).origin
    // A host name may contain characters that end a directive.
    if (/^https?:\/\/[\w.[\]:-]+$/.test(origin)) origins.add(origin)
  }
  return [...origins].join(' ')
}

/**
 * Without the id, express-session neither writes, prolongs nor ends a session and sets no cookie, even if the provider is on the
 * same site and our cookie came along.
 */
function ignoreSession(req: Request): void {
  Object.assign(req, { sessionID: undefined })
}

/** Section 2: `iss` and `sid` together identify the session. Presets name the providers that leave out `iss`. */
function readParameters(req: Request, provider: Provider): { issuer: string | undefined; sid: string } {
  const { iss, sid } = req.query
  if (typeof sid !== 'string' || sid === '')
    throw new FrontChannelError('sid', 'the request does not have exactly one sid')
  if (iss === undefined && presetOf(provider.preset)?.frontChannelWithoutIssuer)
    return { issuer: undefined, sid: storedSid(sid) }
  if (typeof iss !== 'string' || !isIssuerOf(provider, iss))
    throw new FrontChannelError('iss', 'its issuer (iss) is not the provider')
  return { issuer: iss, sid: storedSid(sid) }
}

/** The only response that may be framed. It has nothing to click on. */
function sendFrame(res: Response, status: number, ancestors: string): void {
  // A host may set it for all pages. Some browsers would not let `frame-ancestors` override it.
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
