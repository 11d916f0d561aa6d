import { randomUUID } from 'node:crypto'
import type { Claims, FaultyProvider } from './faulty-provider.ts'
import type { SigningFaults } from './faulty-signing.ts'

export const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'

/**
 * A right logout token (OpenID Connect Back-Channel Logout 1.0, 2.4) once it names a session or a person by `sid` or `sub`, but
 * for these claims (`undefined` leaves one out) and these faults in how it is signed.
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
