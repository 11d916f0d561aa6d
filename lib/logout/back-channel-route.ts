import { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { type LogoutToken, LogoutTokenError, readLogoutToken } from '../oidc/logout-token.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ProviderClients } from '../sign-in/connected-providers.ts'
import { asyncHandler } from '../web/handler.ts'
import { newReference, toProblem } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import type { ApplyProviderLogout } from './provider-logout.ts'

export interface BackChannelRouteParts {
  clients: ProviderClients
  events: EventLog
  /** reads a form of limited size */
  form: RequestHandler
  logger: Logger
  applyProviderLogout: ApplyProviderLogout
  portalOf: PortalResolver
  table: ProvidersTable
}

const path = '/logout/:provider/backchannel'

/**
 * `POST /logout/:provider/backchannel` (OpenID Connect Back-Channel Logout 1.0): the provider says that a session of its own
 * has ended. No browser is involved, so there is no cookie to read, and nothing that a post from another site could ride
 * on: what counts is the provider's signature alone.
 */
export function createBackChannelRoute(parts: BackChannelRouteParts): Router {
  const { clients, events, form, logger, applyProviderLogout, portalOf, table } = parts

  const receive = asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const slug = slugSchema.safeParse(req.params.provider).data
    // A disabled provider lets nobody in, but may still say that somebody has left.
    const provider = slug && (await table.find(portal, slug))
    if (!provider) throw new LogoutTokenError('it comes from no provider of this portal')
    try {
      const token = await tokenOf(req, provider)
      if (!(await applyProviderLogout(provider, token)))
        throw new LogoutTokenError('it has come before (jti)')
      res.status(200).end()
    } catch (error) {
      await refuse(req, res, error, provider.slug)
    }
  })

  async function tokenOf(req: Request, provider: Provider): Promise<LogoutToken> {
    const { logout_token: token } = (req.body ?? {}) as { logout_token?: unknown }
    if (typeof token !== 'string') throw new LogoutTokenError('there is not one logout_token in the form')
    const keys = async () => await (await clients.of(provider)).keys()
    return await readLogoutToken(token, provider, keys, Date.now() / 1000)
  }

  /**
   * Why exactly is for the operator; who posts a token learns only whether to come again (2.8).
   *
   * @param provider slug, of one that is there: what else stands in the address may be anything
   */
  async function refuse(req: Request, res: Response, error: unknown, provider?: string): Promise<void> {
    const invalid = error instanceof LogoutTokenError || toProblem(error).code === 'request_invalid'
    const about = { provider, reference: newReference() }
    const reason = describeError(error)
    const log = invalid ? logger.warn : logger.error
    log.call(logger, { ...about, cause: reason }, 'a logout token was refused')
    if (error instanceof LogoutTokenError) {
      const from = { portal: portalOf(req), clientAddress: req.ip }
      const detail = { code: 'logout_token_invalid', reason } as const
      await events.record({ kind: 'sign-in-failed', ...from, ...about, detail })
    }
    if (invalid) {
      const error_description = 'The logout token was refused.'
      res.status(400).json({ error: 'invalid_request', error_description })
    } else {
      // The fault is not the token's: the provider is to send it again, lest a session go on that it has ended.
      const error_description = 'Please send it again in a moment.'
      res.status(503).set('retry-after', '5').json({ error: 'temporarily_unavailable', error_description })
    }
  }

  // Four parameters: that is how Express knows a handler of errors.
  const onError: ErrorRequestHandler = (error, req, res, next) => {
    refuse(req, res, error).catch(next)
  }

  const router = Router()
  router.post(path, form, receive, onError)
  return router
}
