import type { Request, Response } from 'express'
import type { Account } from '../account/account.ts'
import { type AuthorizationResponse, readAuthorizationResponse } from '../oidc/authorization-response.ts'
import type { Provider } from '../providers/provider.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { CompletedAttempt } from '../sign-in/attempts.ts'
import type { ProviderConnection } from '../sign-in/provider-connection.ts'
import { assertReauthenticated } from '../sign-in/reauthentication.ts'
import type { RefusalContext } from '../sign-in/refuse.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { TestSignIns } from '../test-sign-in/test-sign-in.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'

export interface CallbackModules {
  readonly core: Core
  readonly account: Account
  readonly pages: Pages
  readonly signIn: SignIn
  readonly testSignIns: TestSignIns
}

/** Marks a form that was posted again from our own page. */
const repostedField = 'portal_sso_reposted'

/**
 * Turns an authorization response into a session, or into a page that explains the refusal. It validates the tokens before it
 * decides anything, and decides everything before it writes anything.
 */
export async function handleCallback(
  req: Request,
  res: Response,
  connection: ProviderConnection,
  modules: CallbackModules,
): Promise<void> {
  const { provider } = connection
  const { attempts, refusals } = modules.signIn
  // A disabled provider cannot be tried again.
  const refusal: RefusalContext = { portal: provider.portal, ...(provider.enabled && { provider }) }
  try {
    const response = readAuthorizationResponse(req)
    const isReposted = response.parameters.has(repostedField)
    response.parameters.delete(repostedField)
    const taken = await attempts.take(req, res, response.state)
    // A post from the provider's site comes without our Lax cookies. The form of our own page comes with them.
    if ('unknown' in taken && req.method === 'POST' && !isReposted)
      return await repostFromOwnOrigin(req, res, provider, { response, modules })
    if ('unknown' in taken) assertEnabled(provider)
    if (!('attempt' in taken)) {
      refusal.returnTo = 'used' in taken ? taken.returnTo : undefined
      return handleUsedAttempt(req, res, refusal.returnTo ?? modules.core.homePath)
    }
    const { attempt } = taken
    Object.assign(refusal, retryContext(attempt, modules))
    await dispatch(req, res, connection, { response, attempt, modules })
  } catch (error) {
    await refusals.refuse(req, res, error, refusal)
  }
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
  const { purpose } = attempt
  if (purpose.kind === 'test')
    return await testSignIns.finish(req, res, connection, { response, attempt, purpose })
  assertEnabled(provider)
  const identity = await connection.authenticate(req, res, { response, attempt })
  assertReauthenticated(identity, attempt.reauthentication)
  switch (purpose.kind) {
    case 'sign-in':
    case 'prove-account':
      return await signIn.completion.applyDecision(req, res, { provider, identity, attempt })
    case 'link-account':
      return await account.addSignInMethod(req, res, { provider, identity, userId: purpose.userId })
  }
}

/** Data with which the page of a refused response offers another attempt. */
function retryContext(
  { purpose, reauthentication, returnTo }: CompletedAttempt,
  { core: { urls } }: CallbackModules,
): Partial<RefusalContext> {
  const backHref = purpose.kind === 'link-account' ? urls.path('/account/security') : undefined
  return { returnTo, reauthentication, backHref }
}

export function assertEnabled({ enabled, slug }: Provider): void {
  if (!enabled)
    throw new PortalSsoError('provider_not_found', `the provider ${JSON.stringify(slug)} is disabled`)
}

async function repostFromOwnOrigin(
  req: Request,
  res: Response,
  { slug }: Provider,
  { response, modules }: { response: AuthorizationResponse; modules: CallbackModules },
): Promise<void> {
  const { core, pages } = modules
  await pages.show(req, res, 'continue', {
    action: core.urls.path(`/login/${slug}/callback`),
    fields: [...response.parameters, [repostedField, '1']],
  })
}

/** The attempt expired or was finished in another tab, or the back button repeated its response. */
function handleUsedAttempt(req: Request, res: Response, href: string): void {
  if (!req.user) throw new PortalSsoError('attempt_expired', 'this browser has no such attempt (any more)')
  res.redirect(303, href)
}
