import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { Account } from '../account/account.ts'
import { showConsentReturn } from '../consent/admin-consent-routes.ts'
import type { Logout } from '../logout/logout.ts'
import {
  type AuthorizationResponse,
  readAuthorizationResponse,
  readLoginHint,
} from '../oidc/authorization-response.ts'
import type { Identity } from '../oidc/identity.ts'
import { canChooseAccount, presetOf } from '../providers/presets/presets.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { clockToleranceSeconds } from '../shared/time.ts'
import type { CompletedAttempt, Purpose } from '../sign-in/attempts.ts'
import type { ProviderConnection } from '../sign-in/connected-providers.ts'
import type { ValidatedSignIn } from '../sign-in/provider-strategy.ts'
import {
  assertReauthenticated,
  canRetry,
  isReauthenticationProblem,
  readReauthentication,
} from '../sign-in/reauthentication.ts'
import { accountProblems, type RefusalContext } from '../sign-in/refuse.ts'
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
  readonly logout: Logout
  readonly pages: Pages
  readonly providersTable: ProvidersTable
  readonly sessions: Pick<Sessions, 'hasStarted'>
  readonly signIn: SignIn
  readonly testSignIns: TestSignIns
}

interface Received {
  response: AuthorizationResponse
  attempt: CompletedAttempt
  /** once the tokens are validated */
  identity?: Identity
  modules: CallbackModules
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
  const { core, pages, signIn } = modules
  const finishOwn = connection && callbackHandler(connection, modules)
  const finish = asyncHandler(async (req, res, next) => {
    const slug = slugSchema.safeParse(req.params.provider).data
    const response = readResponseIfValid(req)
    if (slug === undefined) return next()
    // An organisation may consent before the provider is enabled.
    if (response === undefined)
      return (await showConsentReturn(req, res, undefined, { pages, urls: core.urls })) ? undefined : next()
    const providerId = signIn.attempts.find(req, response.state)?.attempt.providerId
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

function startHandler(connection: ProviderConnection, { logout, signIn }: CallbackModules): RequestHandler {
  const { provider } = connection
  const { portal } = provider
  return asyncHandler(async (req, res) => {
    const returnTo = safeReturnTo(req.query.returnTo)
    const reauthentication = readReauthentication(req.query)
    if (connection.health && req.query.anyway === undefined)
      return await signIn.refusals.warnOfOutage(req, res, { portal, provider, returnTo, reauthentication })
    try {
      // The query only says that an account is to be proved. The sealed cookie says for which registration.
      const isProof = req.query.proving !== undefined
      const pending = isProof ? signIn.pendingRegistrations.find(req, portal) : undefined
      const purpose: Purpose = pending
        ? { kind: 'prove-account', registrationId: pending.id }
        : { kind: 'sign-in' }
      const { account, login_hint, restarted } = req.query
      const request = { purpose, returnTo, reauthentication }
      const asksOther = account === 'other'
      // A restart happens without a click, so it ends no session. Another site could cancel a sign-out, whose state would be replaced.
      const site = req.get('sec-fetch-site')
      const logoutHint =
        site === 'same-origin' && pending?.providerId === provider.id
          ? pending.identity.logoutHint
          : undefined
      const logoutUrl =
        asksOther &&
        restarted === undefined &&
        site !== 'cross-site' &&
        // Some providers return nobody without a hint (Hydra), which would be a dead end.
        (logoutHint !== undefined || presetOf(provider.preset)?.signsOutWithoutHint === true) &&
        !canChooseAccount(provider, (await connection.client()).metadata) &&
        (await logout.signOutFirst(req, res, provider, { ...request, logoutHint }))
      const url =
        logoutUrl ||
        (await connection.begin(req, res, {
          ...request,
          otherAccount: asksOther || signIn.browserHints.isSignedOut(req),
          loginHint: readLoginHint(login_hint),
          restarted: restarted !== undefined,
        }))
      // Express's own redirect would encode the URL again.
      res.status(302).set('location', url).end()
    } catch (error) {
      await signIn.refusals.refuse(req, res, error, { portal, provider, reauthentication, returnTo })
    }
  })
}

/**
 * With `prompt=login`, Keycloak keeps the last user's name locked in: only a sign-out there leads to another account. The same
 * helps a user whom the provider did not ask again.
 */
async function offerSignOut(
  req: Request,
  res: Response,
  connection: ProviderConnection,
  { error, attempt, identity, modules }: Received & { error: unknown },
): Promise<string | undefined> {
  const { provider } = connection
  if (isReauthenticationProblem(error)) {
    // Then it will not report it next time either.
    if (provider.reauthentication === 'unreported') return undefined
  } else if (!(error instanceof PortalSsoError && accountProblems.has(error.code))) return undefined
  else if (canChooseAccount(provider, (await connection.client()).metadata)) return undefined
  const { purpose, returnTo, reauthentication } = attempt
  const logoutHint = identity?.logoutHint
  const next = { purpose, returnTo, reauthentication, logoutHint }
  return await modules.logout.signOutFirst(req, res, provider, next)
}

/**
 * Turns an authorization response into a session, or into a page that explains the refusal. It validates the tokens before it
 * decides anything, and decides everything before it writes anything.
 */
function callbackHandler(connection: ProviderConnection, modules: CallbackModules): RequestHandler {
  const { provider } = connection
  const { core, pages, signIn } = modules
  const record = (req: Request, outcome: string) => signIn.refusals.recordContinuation(req, provider, outcome)
  return asyncHandler(async (req, res) => {
    // A disabled provider cannot be tried again.
    const refusal: RefusalContext = { portal: provider.portal, ...(provider.enabled && { provider }) }
    let received: Received | undefined
    try {
      const response = readAuthorizationResponse(req)
      const isReposted = response.parameters.has(repostedField)
      response.parameters.delete(repostedField)
      const found = signIn.attempts.find(req, response.state)
      // A post from the provider's site comes without our Lax cookies. The form of our own page comes with them.
      if (!found && req.method === 'POST' && !isReposted) {
        await repostFromOwnOrigin(req, res, provider.slug, { response, modules })
        return await record(req, 'our own page posts the response again')
      }
      if (!found) {
        handleUnknownAttempt(req, res, core)
        return await record(req, 'the attempt is unknown, but a user is signed in')
      }
      const { purpose, reauthentication, returnTo } = found.attempt
      refusal.returnTo = returnTo
      refusal.reauthentication = reauthentication
      if (purpose.kind === 'link-account') refusal.backHref = core.urls.path('/account/security')
      const taken = await signIn.attempts.take(res, found, response)
      if ('used' in taken)
        return await record(req, handleUsedAttempt(req, res, provider, { ...taken, response, modules }))
      received = { response, attempt: taken.attempt, modules }
      await dispatch(req, res, connection, received)
      const { kind } = taken.attempt.purpose
      // A test sign-in has its own event.
      if (kind !== 'test' && !modules.sessions.hasStarted(req))
        await record(req, `its purpose was ${kind}; the user continues`)
    } catch (error) {
      if (await showConsentReturn(req, res, provider, { pages, urls: core.urls })) return
      if (received && refusal.provider && refusal.backHref === undefined)
        refusal.signOutHref = await offerSignOut(req, res, connection, { ...received, error }).catch(
          () => undefined,
        )
      await signIn.refusals.refuse(req, res, error, refusal)
    }
  })
}

/** Validates the response and hands it to the handler of the attempt's purpose. */
async function dispatch(
  req: Request,
  res: Response,
  connection: ProviderConnection,
  received: Received,
): Promise<void> {
  const { response, attempt, modules } = received
  const { account, pages, providersTable, signIn, testSignIns } = modules
  const { provider } = connection
  const { purpose, reauthentication } = attempt
  if (purpose.kind === 'test')
    return await testSignIns.finish(req, res, connection, { response, attempt, purpose })
  if (!provider.enabled) throw disabledError(provider)
  let validated: ValidatedSignIn
  try {
    validated = await connection.authenticate(req, res, { response, attempt })
    received.identity = validated.identity
    if (reauthentication) assertReauthenticated(validated.identity, reauthentication)
  } catch (error) {
    if (!canRetry(error, attempt)) throw error
    return await connection.retry(req, res, attempt, pages)
  }
  const { authenticatedAt = Infinity } = validated.identity
  // The login page then no longer says that this provider will ask. A browser that removes `prompt` from the request gains only that.
  const isIgnored = authenticatedAt < attempt.startedAt / 1000 - clockToleranceSeconds
  if (attempt.askedLogin && isIgnored && provider.reauthentication === 'proven')
    await providersTable.recordReauthentication(provider, 'ignored')
  switch (purpose.kind) {
    case 'sign-in':
    case 'prove-account':
      return await signIn.completion.applyDecision(req, res, { provider, validated, attempt })
    case 'link-account':
      return await account.addSignInMethod(req, res, { provider, validated, userId: purpose.userId })
    default:
      // During a deployment, a newer version may have started it.
      throw new PortalSsoError('attempt_expired', 'this version does not know the purpose of the attempt')
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
