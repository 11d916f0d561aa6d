import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { Account } from '../account/account.ts'
import { showConsentReturn } from '../consent/admin-consent-routes.ts'
import {
  type AuthorizationResponse,
  readAuthorizationResponse,
  readLoginHint,
} from '../oidc/authorization-response.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { CompletedAttempt, Purpose } from '../sign-in/attempts.ts'
import type { ProviderConnection } from '../sign-in/connected-providers.ts'
import { assertReauthenticated, readReauthentication } from '../sign-in/reauthentication.ts'
import type { RefusalContext } from '../sign-in/refuse.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { TestSignIns } from '../test-sign-in/test-sign-in.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { handleUnknownAttempt, handleUsedAttempt } from './used-attempt.ts'

interface CallbackModules {
  readonly core: Core
  readonly account: Account
  readonly pages: Pages
  readonly signIn: SignIn
  readonly testSignIns: TestSignIns
}

/** Marks a form that was posted again from our own page. */
const repostedField = 'portal_sso_reposted'

/**
 * One provider's routes: `/` starts an attempt, `/callback` finishes it. The route decides which half runs, never the
 * parameters.
 */
export function providerRouter(connection: ProviderConnection | undefined, modules: CallbackModules): Router {
  if (!connection?.provider.enabled) return unavailableRouter(connection, modules)
  const finish = callbackHandler(connection, modules)
  const router = Router()
  router.get('/', startHandler(connection, modules))
  router.get('/callback', finish)
  router.post('/callback', finish)
  return router
}

/**
 * The routes of a disabled provider, and of names that no provider has. Both respond alike, so that nobody learns of a draft. A
 * browser with an attempt of the disabled provider, such as a test sign-in, can finish it.
 */
function unavailableRouter(connection: ProviderConnection | undefined, modules: CallbackModules): Router {
  const { core, signIn } = modules
  const finishOwn = connection && callbackHandler(connection, modules)
  const finish = asyncHandler(async (req, res, next) => {
    const slug = slugSchema.safeParse(req.params.provider).data
    const response = readResponseIfValid(req)
    if (slug === undefined || response === undefined) return next()
    const providerId = (await signIn.attempts.find(req, response.state))?.attempt.providerId
    if (finishOwn && providerId === connection?.provider.id) finishOwn(req, res, next)
    else if (providerId === undefined && req.method === 'POST' && !response.parameters.has(repostedField))
      await repostFromOwnOrigin(req, res, slug, { response, modules })
    else next()
  })
  const refuse = asyncHandler(async (req, res) => {
    // Only a slug is fit for the log: a user may have pasted anything else, a code for example.
    const slug = slugSchema.safeParse(req.params.provider).data
    const name = slug === undefined ? 'of this name' : JSON.stringify(slug)
    const error = connection
      ? disabledError(connection.provider)
      : new PortalSsoError('provider_not_found', `no provider ${name}`)
    const returnTo = safeReturnTo(req.query.returnTo)
    await signIn.refusals.refuse(req, res, error, { portal: core.portalOf(req), returnTo })
  })
  const router = Router({ mergeParams: true })
  router.get('/callback', finish)
  router.post('/callback', finish)
  router.use(refuse)
  return router
}

function readResponseIfValid(req: Request): AuthorizationResponse | undefined {
  try {
    return readAuthorizationResponse(req)
  } catch {
    return undefined
  }
}

function startHandler(connection: ProviderConnection, { signIn }: CallbackModules): RequestHandler {
  const { provider } = connection
  const { portal } = provider
  return asyncHandler(async (req, res) => {
    const returnTo = safeReturnTo(req.query.returnTo)
    const reauthentication = readReauthentication(req.query)
    try {
      // The query only says that an account is to be proved. The sealed cookie says for which registration.
      const isProof = req.query.proving !== undefined
      const pending = isProof ? await signIn.pendingRegistrations.find(req, portal) : undefined
      const purpose: Purpose = pending
        ? { kind: 'prove-account', registrationId: pending.id }
        : { kind: 'sign-in' }
      const url = await connection.begin(req, res, {
        purpose,
        returnTo,
        otherAccount: req.query.account === 'other' || signIn.browserHints.isSignedOut(req),
        loginHint: readLoginHint(req.query.login_hint),
        reauthentication,
        restarted: req.query.restarted !== undefined,
      })
      // Express's own redirect would encode the URL again.
      res.status(302).set('location', url).end()
    } catch (error) {
      await signIn.refusals.refuse(req, res, error, { portal, provider, reauthentication, returnTo })
    }
  })
}

/**
 * Turns an authorization response into a session, or into a page that explains the refusal. It validates the tokens before it
 * decides anything, and decides everything before it writes anything.
 */
function callbackHandler(connection: ProviderConnection, modules: CallbackModules): RequestHandler {
  const { provider } = connection
  const { core, pages, signIn } = modules
  return asyncHandler(async (req, res) => {
    // A disabled provider cannot be tried again.
    const refusal: RefusalContext = { portal: provider.portal, ...(provider.enabled && { provider }) }
    try {
      const response = readAuthorizationResponse(req)
      const isReposted = response.parameters.has(repostedField)
      response.parameters.delete(repostedField)
      const found = await signIn.attempts.find(req, response.state)
      // A post from the provider's site comes without our Lax cookies. The form of our own page comes with them.
      if (!found && req.method === 'POST' && !isReposted)
        return await repostFromOwnOrigin(req, res, provider.slug, { response, modules })
      if (!found) return handleUnknownAttempt(req, res, core)
      const { purpose, reauthentication, returnTo } = found.attempt
      refusal.returnTo = returnTo
      refusal.reauthentication = reauthentication
      if (purpose.kind === 'link-account') refusal.backHref = core.urls.path('/account/security')
      const taken = await signIn.attempts.take(res, found, response)
      if ('used' in taken) return handleUsedAttempt(req, res, provider, { ...taken, response, modules })
      await dispatch(req, res, connection, { response, attempt: taken.attempt, modules })
    } catch (error) {
      if (await showConsentReturn(req, res, provider, { pages, urls: core.urls })) return
      await signIn.refusals.refuse(req, res, error, refusal)
    }
  })
}

/** Validates the response and hands it to the handler of the attempt's purpose. */
async function dispatch(
  req: Request,
  res: Response,
  connection: ProviderConnection,
  received: { response: AuthorizationResponse; attempt: CompletedAttempt; modules: CallbackModules },
): Promise<void> {
  const { response, attempt, modules } = received
  const { account, signIn, testSignIns } = modules
  const { provider } = connection
  const { purpose, reauthentication } = attempt
  if (purpose.kind === 'test')
    return await testSignIns.finish(req, res, connection, { response, attempt, purpose })
  if (!provider.enabled) throw disabledError(provider)
  const validated = await connection.authenticate(req, res, { response, attempt })
  if (reauthentication) assertReauthenticated(validated.identity, reauthentication)
  switch (purpose.kind) {
    case 'sign-in':
    case 'prove-account':
      return await signIn.completion.applyDecision(req, res, { provider, validated, attempt })
    case 'link-account':
      return await account.addSignInMethod(req, res, { provider, validated, userId: purpose.userId })
  }
}

function disabledError({ slug }: Provider): PortalSsoError {
  return new PortalSsoError('provider_not_found', `the provider ${JSON.stringify(slug)} is disabled`)
}

async function repostFromOwnOrigin(
  req: Request,
  res: Response,
  slug: string,
  { response, modules }: { response: AuthorizationResponse; modules: CallbackModules },
): Promise<void> {
  const { core, pages } = modules
  await pages.show(req, res, 'continue', {
    action: core.urls.path(`/login/${slug}/callback`),
    fields: [...response.parameters, [repostedField, '1']],
  })
}
