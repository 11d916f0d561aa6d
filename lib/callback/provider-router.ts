import { type Request, type Response, Router } from 'express'
import { readLoginHint } from '../oidc/authorization-response.ts'
import type { Purpose } from '../sign-in/attempts.ts'
import type { ProviderConnection } from '../sign-in/provider-connection.ts'
import { readReauthentication } from '../sign-in/reauthentication.ts'
import { asyncHandler } from '../web/handler.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { assertEnabled, type CallbackModules, handleCallback } from './handle-callback.ts'

/**
 * One provider's routes: `/` starts an attempt, `/callback` finishes it. The route decides which half runs, never the
 * parameters. A disabled provider's router only finishes test sign-ins.
 */
export function providerRouter(connection: ProviderConnection, modules: CallbackModules): Router {
  const start = asyncHandler(async (req, res) => await startSignIn(req, res, connection, modules))
  const finish = asyncHandler(async (req, res) => await handleCallback(req, res, connection, modules))

  const router = Router()
  if (connection.provider.enabled) router.get('/', start)
  router.get('/callback', finish)
  router.post('/callback', finish)
  // For the page that a disabled provider has in place of any other.
  if (!connection.provider.enabled) router.use(start)
  return router
}

async function startSignIn(
  req: Request,
  res: Response,
  connection: ProviderConnection,
  { signIn }: CallbackModules,
): Promise<void> {
  const { provider } = connection
  const { portal, enabled } = provider
  const returnTo = safeReturnTo(req.query.returnTo)
  const reauthentication = readReauthentication(req.query)
  try {
    assertEnabled(provider)
    const url = await connection.begin(req, res, {
      purpose: await purposeOf(req, portal, signIn),
      returnTo,
      otherAccount: req.query.account === 'other' || signIn.signedOutMarker.isSet(req),
      loginHint: readLoginHint(req.query.login_hint),
      reauthentication,
    })
    // Express's own redirect would encode the URL again.
    res.status(302).set('location', url).end()
  } catch (error) {
    const retry = enabled ? { provider, reauthentication } : {}
    await signIn.refusals.refuse(req, res, error, { portal, ...retry, returnTo })
  }
}

/** The query only says that an account is to be proved. The sealed cookie says for which registration. */
async function purposeOf(
  req: Request,
  portal: string,
  { pendingRegistrations }: CallbackModules['signIn'],
): Promise<Purpose> {
  const pending = req.query.proving === undefined ? undefined : await pendingRegistrations.find(req, portal)
  return pending ? { kind: 'prove-account', registrationId: pending.id } : { kind: 'sign-in' }
}
