import { randomUUID } from 'node:crypto'
import type { Claims, FaultyProvider } from './faulty-provider.ts'
import type { SigningFaults } from './faulty-signing.ts'

export const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'

/**
 * Signs a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4). It is valid if the claims include `sid` or `sub`;
 * `undefined` removes a claim.
 */
export async function signLogoutToken(
  { clientId, issuer, sign }: Pick<FaultyProvider, 'clientId' | 'issuer' | 'sign'>,
  claims: Claims,
  faults: SigningFaults = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const right = { iss: issuer, aud: clientId, iat: now, exp: now + 120, jti: randomUUID() }
  return await sign(
    { ...right, events: { [logoutEvent]: {} }, ...claims },
    { header: { typ: 'logout+jwt' }, ...faults },
  )
}
