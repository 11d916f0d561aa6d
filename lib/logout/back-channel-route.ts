import { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from 'express'
import type { RefusalLog } from '../events/refusal-log.ts'
import { type LogoutToken, LogoutTokenError, readLogoutToken } from '../oidc/logout-token.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { describeError, toProblem } from '../shared/errors.ts'
import type { ConnectedProviders } from '../sign-in/connected-providers.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Logout } from './logout.ts'

export interface BackChannelModules {
  readonly connectedProviders: ConnectedProviders
  /** parses a form of limited size */
  readonly form: RequestHandler
  readonly logout: Logout
  readonly providersTable: ProvidersTable
  readonly refusalLog: RefusalLog
}

/**
 * `POST /logout/:provider/backchannel` (OpenID Connect Back-Channel Logout 1.0). The provider calls it without a browser, so
 * there is no cookie that a cross-site post could use: only the token's signature counts.
 */
export function backChannelRoute(core: Core, modules: BackChannelModules): Router {
  const { form, logout, providersTable, refusalLog } = modules

  const receive = asyncHandler(async (req, res) => {
    // A disabled provider admits nobody, but may still end sessions.
    const provider = await providersTable.find(core.portalOf(req), req.params.provider)
    if (!provider) throw new LogoutTokenError('iss', 'no provider of this portal sent it')
    try {
      const token = await readToken(req, provider, modules.connectedProviders)
      if (!(await logout.applyProviderLogout(provider, token)))
        throw new LogoutTokenError('jti', 'it was received before (jti)')
      res.status(200).end()
    } catch (error) {
      await refuse(req, res, error, { core, refusalLog, provider: provider.slug })
    }
  })

  // Express recognises an error handler by its four parameters.
  const onError: ErrorRequestHandler = (error, req, res, next) => {
    refuse(req, res, error, { core, refusalLog }).catch(next)
  }

  const router = Router()
  router.post('/logout/:provider/backchannel', form, receive, onError)
  return router
}

async function readToken(
  req: Request,
  provider: Provider,
  connectedProviders: ConnectedProviders,
): Promise<LogoutToken> {
  const { logout_token: token } = (req.body ?? {}) as { logout_token?: unknown }
  if (typeof token !== 'string')
    throw new LogoutTokenError('logout_token', 'the form does not have exactly one logout_token')
  const verify = async () => {
    const client = await connectedProviders.connect(provider).client()
    return await client.verifyLogoutToken(token)
  }
  return await readLogoutToken(token, provider, verify, Date.now() / 1000)
}

/**
 * The log has the cause. The sender only learns whether to try again (2.8).
 *
 * @param context.provider slug of an existing provider: other text in the URL is not fit for the log
 */
async function refuse(
  req: Request,
  res: Response,
  error: unknown,
  { core, refusalLog, provider }: { core: Core; refusalLog: RefusalLog; provider?: string },
): Promise<void> {
  const { code } = toProblem(error)
  const isInvalid = error instanceof LogoutTokenError || code === 'request_invalid'
  const reason = describeError(error)
  const detail = { code: 'logout_token_invalid', reason } as const
  await refusalLog.write(req, {
    ...(!isInvalid && { code, cause: error }),
    level: isInvalid ? 'warn' : 'error',
    message: 'a logout token was refused',
    fields: { provider, cause: reason },
    event:
      error instanceof LogoutTokenError
        ? { kind: 'sign-in-failed', portal: core.portalOf(req), provider, detail }
        : undefined,
  })
  if (isInvalid) {
    const error_description = 'The logout token was refused.'
    res.status(400).json({ error: 'invalid_request', error_description })
  } else {
    // The provider should send the token again, so that the session does not survive.
    const error_description = 'Please send it again in a moment.'
    res.status(503).set('retry-after', '5').json({ error: 'temporarily_unavailable', error_description })
  }
}
