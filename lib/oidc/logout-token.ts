import type { CompactJWSHeaderParameters } from 'jose'
import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { signingAlgorithms } from '../providers/setting-values.ts'
import { CheckError } from '../shared/errors.ts'
import { clockToleranceSeconds } from '../shared/time.ts'
import { type Claims, identifierPattern, isObject, storedSid, withoutEmpty } from './identity.ts'

/** The session, the subject, or both that a provider has logged out. */
export interface LogoutToken {
  /** `jti` */
  id: string
  /** `iss`; for a row that accepts several tenants the tenant's issuer */
  issuer: string
  ends: { sid: string; subject?: string | undefined } | { sid?: undefined; subject: string }
}

/** Refuses a logout token. The message is for the operator's log and quotes nothing of the token. */
export class LogoutTokenError extends CheckError {
  override readonly name = 'LogoutTokenError'
}

/** an older token is refused, even before its `exp` */
const maxTokenAgeSeconds = 300

const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'

type TokenIssuer = Pick<Provider, 'preset' | 'issuer' | 'tenants' | 'clientId' | 'signingAlgorithm'>

/**
 * Validates a logout token by OpenID Connect Back-Channel Logout 1.0, 2.6. Anyone can post one: without these checks an
 * attacker could sign users out with a forged token, or with another token of the provider.
 *
 * @param verify verifies the signature and returns the payload; not called for a token with an invalid header
 * @param now seconds since 1970
 * @throws LogoutTokenError, and the errors of `verify` if the keys cannot be fetched
 */
export async function readLogoutToken(
  token: string,
  provider: TokenIssuer,
  verify: (token: string) => Promise<Uint8Array>,
  now: number,
): Promise<LogoutToken> {
  await checkHeader(token, provider)
  const signed = await readSignedClaims(token, verify)
  // 2.4: prohibited, so not even null.
  check(!Object.hasOwn(signed, 'nonce'), 'nonce', 'it has a nonce, which only an ID token may have')
  const claims = withoutEmpty(signed)
  const { iss, jti, events } = claims
  // 2.6 (4), Core 3.1.3.7 (2)
  check(typeof iss === 'string' && isIssuerOf(provider, iss), 'iss', 'its issuer (iss) is not the provider')
  checkAudience(claims, provider)
  checkTimes(claims, now)
  const ends = readEnds(claims)
  // 2.6 (6)
  check(isObject(events), 'events', 'its events are not a JSON object')
  check(isObject(events[logoutEvent]), 'events', 'its events contain no valid logout event')
  // 2.4. The caller detects a replay (2.6 (8)).
  check(typeof jti === 'string', 'jti', 'it has no id (jti)')
  return { id: jti, issuer: iss, ends }
}

function check(passed: boolean, code: string, message: string): asserts passed {
  if (!passed) throw new LogoutTokenError(code, message)
}

/** 2.6 (1): signed, and not encrypted. 2.6 (3) before (2): a token must not choose how it is verified (RFC 8725, 3.1). */
async function checkHeader(token: string, { signingAlgorithm }: TokenIssuer): Promise<void> {
  check(/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token), 'jws', 'it is not a JWS in three parts')
  const { alg, typ, crit } = await readHeader(token)
  const algorithms: readonly string[] = signingAlgorithm ? [signingAlgorithm] : signingAlgorithms
  const expected = signingAlgorithm ? `the registered ${signingAlgorithm}` : 'an asymmetric one'
  check(algorithms.includes(alg), 'alg', `its alg is not ${expected}`)
  // RFC 7515, 4.1.11: the portal supports no extension.
  check(crit === undefined, 'crit', 'it has unsupported critical extensions (crit)')
  // 2.4: recommended, so it may be absent or general. RFC 8725, 3.11: refuse the type of another token.
  const isLogoutType =
    typ === undefined || (typeof typ === 'string' && /^(application\/)?(logout\+)?jwt$/i.test(typ))
  check(isLogoutType, 'typ', 'its typ is for another kind of token')
}

async function readHeader(token: string): Promise<CompactJWSHeaderParameters> {
  const { decodeProtectedHeader } = await import('jose')
  try {
    return decodeProtectedHeader(token) as CompactJWSHeaderParameters
  } catch (cause) {
    throw new LogoutTokenError('header', 'its header cannot be read', { cause })
  }
}

/** 2.6 (2), with the provider's keys only: keys in the header (`jwk`, `jku`, `x5c`, `x5u`) are ignored. */
async function readSignedClaims(
  token: string,
  verify: (token: string) => Promise<Uint8Array>,
): Promise<Claims> {
  const payload = await verify(token).catch((cause) => {
    const isForged = cause instanceof CheckError && cause.code === 'signature'
    if (!isForged) throw cause
    throw new LogoutTokenError('signature', 'it is not signed with a key of the provider', {
      cause: cause.cause,
    })
  })
  let claims: unknown
  try {
    claims = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch (cause) {
    throw new LogoutTokenError('payload', 'its payload cannot be read', { cause })
  }
  check(isObject(claims), 'payload', 'its payload is not a JSON object')
  return claims
}

/** 2.6 (4), Core 3.1.3.7 (3) to (5), as for ID tokens: several audiences only if `azp` names the portal. */
function checkAudience({ aud, azp }: Claims, { clientId }: TokenIssuer): void {
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud]
  check(audiences.includes(clientId), 'aud', 'its audience is not this client (aud)')
  check(
    audiences.length === 1 || azp !== undefined,
    'azp',
    'it has other audiences too (aud), but no authorized party (azp)',
  )
  check(azp === undefined || azp === clientId, 'azp', 'it was issued to another client (azp)')
}

/**
 * 2.6 (4), Core 3.1.3.7 (9) and (10). The final text requires `exp`, but Hydra, LemonLDAP and older authentik send none.
 * Attacker: replays a recorded token. Its `iat` limits its age, with and without `exp`, and the caller refuses a processed `jti`.
 */
function checkTimes({ iat, exp, nbf }: Claims, now: number): void {
  const [earliest, latest] = [now - clockToleranceSeconds, now + clockToleranceSeconds]
  check(isFiniteNumber(iat), 'iat', 'it has no valid time of issue (iat)')
  check(iat <= latest, 'iat', 'it was issued in the future (iat)')
  check(iat >= earliest - maxTokenAgeSeconds, 'iat', 'it was issued too long ago (iat)')
  const hasExpiry = exp !== undefined && exp !== null
  check(!hasExpiry || isFiniteNumber(exp), 'exp', 'it has no valid expiry time (exp)')
  check(!hasExpiry || exp > earliest, 'exp', 'it has expired (exp)')
  check(nbf === undefined || (isFiniteNumber(nbf) && nbf <= latest), 'nbf', 'it is not valid yet (nbf)')
}

/** 2.6 (5) */
function readEnds({ sub, sid }: Claims): LogoutToken['ends'] {
  const isSubject = sub === undefined || (typeof sub === 'string' && identifierPattern.test(sub))
  check(isSubject, 'sub', 'its sub is not 1 to 255 ASCII characters')
  check(sid === undefined || typeof sid === 'string', 'sid', 'its sid is not a string')
  const subject = sub as string | undefined
  if (sid !== undefined) return { sid: storedSid(sid), subject }
  check(subject !== undefined, 'sub', 'it names neither a subject (sub) nor a session (sid)')
  return { subject }
}

function isFiniteNumber(value: unknown): value is number {
  return Number.isFinite(value)
}
