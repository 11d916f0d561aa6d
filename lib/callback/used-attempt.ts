import type { Request, Response } from 'express'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { Provider } from '../providers/provider.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { UsedAttempt } from '../sign-in/attempts.ts'
import { restartQuery } from '../sign-in/reauthentication.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { Core } from '../web/core.ts'

interface UsedResponse {
  used: UsedAttempt
  reason: keyof typeof reasons
  response: AuthorizationResponse
  modules: { core: Core; signIn: SignIn }
}

const reasons = {
  expired: 'the attempt has expired',
  spent: 'the response of this attempt was received before',
  redeemed: 'another request has redeemed the code of this attempt',
}

/**
 * A reload, the back button, a second tab, a slow user or a copied cookie. The sign-in starts again, once, without a click: the
 * provider decides from its own session who the user is. Nobody receives the session of another request.
 *
 * @returns what happened, for the log
 */
export function handleUsedAttempt(
  req: Request,
  res: Response,
  provider: Provider,
  received: UsedResponse,
): string {
  const { used, reason, modules } = received
  const { homePath, urls } = modules.core
  const { otherAccount, returnTo } = used
  // Without the cookie of that other request's session, `req.user` is an earlier sign-in.
  if (req.user && reason !== 'redeemed') {
    res.redirect(303, returnTo ?? homePath)
    return `${reasons[reason]}; a user is signed in`
  }
  const obstacle = restartObstacle(req, provider, received)
  if (obstacle) throw new PortalSsoError('attempt_expired', `${reasons[reason]}; no restart: ${obstacle}`)
  const query = { ...restartQuery(used), account: otherAccount && 'other', restarted: '1' }
  res.redirect(303, urls.path(`/login/${provider.slug}`, query))
  return `${reasons[reason]}; it starts again`
}

/** @returns why a used attempt must not be restarted, or `undefined` */
function restartObstacle(
  req: Request,
  { enabled, id }: Provider,
  { used, response, modules }: UsedResponse,
): string | undefined {
  const { kind } = used.purpose
  // Frames, images and scripts were refused before (`refuseSubresources`).
  if (req.method !== 'GET') return 'the request is no GET'
  if (response.parameters.has('error')) return 'the response is an error'
  if (used.restarted) return 'it was restarted before'
  if (used.providerId !== id) return 'it belongs to another provider'
  if (!enabled) return 'the provider is disabled'
  if (kind !== 'sign-in' && kind !== 'prove-account') return `its purpose is ${kind}`
  // On a shared computer, the back button would sign the last user in again.
  if (modules.signIn.browserHints.isSignedOut(req)) return 'a user signed out in this browser'
  return undefined
}

/** Another browser's, forged or deleted: it never restarts, or any page could start a sign-in here. */
export function handleUnknownAttempt(req: Request, res: Response, { homePath }: Core): void {
  if (!req.user) throw new PortalSsoError('attempt_expired', 'this browser has no such attempt (any more)')
  res.redirect(303, homePath)
}
