import { type CompactJWSHeaderParameters, compactVerify, decodeProtectedHeader } from 'jose'
import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { CheckError } from '../shared/errors.ts'
import { identifierPattern } from './identity.ts'
import { clockToleranceSeconds, type KeyResolver } from './provider-client.ts'

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
type Claims = Readonly<Record<string, unknown>>

/**
 * Validates a logout token by OpenID Connect Back-Channel Logout 1.0, 2.6. Anyone can post one: without these checks an
 * attacker could sign users out with a forged token, or with another token of the provider.
 *
 * @param keys fetches the provider's keys; not called for a token with an invalid header
 * @param now seconds since 1970
 * @throws LogoutTokenError, and the errors of `keys`
 */
export async function readLogoutToken(
  token: string,
  provider: TokenIssuer,
  keys: () => Promise<KeyResolver>,
  now: number,
): Promise<LogoutToken> {
  checkHeader(readHeader(token), provider)
  const claims = await verify(token, await keys(), provider)
  const issuer = readIssuer(claims, provider)
  checkAudience(claims, provider)
  checkTimes(claims, now)
  const ends = readEnds(claims)
  checkEvents(claims)
  if (claims.nonce !== undefined)
    throw new LogoutTokenError('nonce', 'it has a nonce, which only an ID token may have')
  return { id: readTokenId(claims), issuer, ends }
}

/** 2.6 (1): signed, and not encrypted, because the client is not registered for encryption. */
function readHeader(token: string): CompactJWSHeaderParameters {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token))
    throw new LogoutTokenError('jws', 'it is not a JWS in three parts')
  try {
    return decodeProtectedHeader(token) as CompactJWSHeaderParameters
  } catch (cause) {
    throw new LogoutTokenError('header', 'its header cannot be read', { cause })
  }
}

/** 2.6 (3), before (2): a token must not choose how it is verified (RFC 8725, 3.1). */
function checkHeader(
  { alg, typ, crit }: CompactJWSHeaderParameters,
  { signingAlgorithm }: TokenIssuer,
): void {
  if (alg !== signingAlgorithm)
    throw new LogoutTokenError('alg', `its alg is not the registered ${signingAlgorithm}`)
  // RFC 7515, 4.1.11: the portal supports no extension.
  if (crit !== undefined) throw new LogoutTokenError('crit', 'it has unsupported critical extensions (crit)')
  // 2.4: recommended, so it may be absent or general. RFC 8725, 3.11: refuse the type of another token.
  if (typ === undefined) return
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : ''
  if (type !== 'logout+jwt' && type !== 'jwt')
    throw new LogoutTokenError('typ', 'its typ is for another kind of token')
}

/** 2.6 (2), with the provider's keys only: keys in the header (`jwk`, `jku`, `x5c`, `x5u`) are ignored. */
async function verify(token: string, keys: KeyResolver, { signingAlgorithm }: TokenIssuer): Promise<Claims> {
  let payload: Uint8Array
  try {
    ;({ payload } = await compactVerify(token, keys, { algorithms: [signingAlgorithm] }))
  } catch (cause) {
    throw new LogoutTokenError('signature', 'it is not signed with a key of the provider', { cause })
  }
  try {
    const claims: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    if (isObject(claims)) return claims
  } catch (cause) {
    throw new LogoutTokenError('payload', 'its payload cannot be read', { cause })
  }
  throw new LogoutTokenError('payload', 'its payload is not a JSON object')
}

/** 2.6 (4), Core 3.1.3.7 (2) */
function readIssuer({ iss }: Claims, provider: TokenIssuer): string {
  if (typeof iss === 'string' && isIssuerOf(provider, iss)) return iss
  throw new LogoutTokenError('iss', 'its issuer (iss) is not the provider')
}

/** 2.6 (4), Core 3.1.3.7 (3) to (5), as for ID tokens: several audiences only if `azp` names the portal. */
function checkAudience({ aud, azp }: Claims, { clientId }: TokenIssuer): void {
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.includes(clientId))
    throw new LogoutTokenError('aud', 'its audience is not this client (aud)')
  if (audiences.length > 1 && azp === undefined)
    throw new LogoutTokenError('azp', 'it has other audiences too (aud), but no authorized party (azp)')
  if (azp !== undefined && azp !== clientId)
    throw new LogoutTokenError('azp', 'it was issued to another client (azp)')
}

/** 2.6 (4), Core 3.1.3.7 (9) and (10). `exp` is required since the final text. */
function checkTimes({ iat, exp, nbf }: Claims, now: number): void {
  if (!isFiniteNumber(iat)) throw new LogoutTokenError('iat', 'it has no valid time of issue (iat)')
  if (iat > now + clockToleranceSeconds)
    throw new LogoutTokenError('iat', 'it was issued in the future (iat)')
  if (iat < now - maxTokenAgeSeconds - clockToleranceSeconds)
    throw new LogoutTokenError('iat', 'it was issued too long ago (iat)')
  if (!isFiniteNumber(exp)) throw new LogoutTokenError('exp', 'it has no valid expiry time (exp)')
  if (exp <= now - clockToleranceSeconds) throw new LogoutTokenError('exp', 'it has expired (exp)')
  if (nbf === undefined) return
  if (!isFiniteNumber(nbf) || nbf > now + clockToleranceSeconds)
    throw new LogoutTokenError('nbf', 'it is not valid yet (nbf)')
}

/** 2.6 (5) */
function readEnds(claims: Claims): LogoutToken['ends'] {
  const subject = readIdentifier(claims.sub, 'sub')
  const sid = readIdentifier(claims.sid, 'sid')
  if (sid !== undefined) return { sid, subject }
  if (subject !== undefined) return { subject }
  throw new LogoutTokenError('sub', 'it names neither a subject (sub) nor a session (sid)')
}

/** 2.6 (6) */
function checkEvents({ events }: Claims): void {
  if (!isObject(events)) throw new LogoutTokenError('events', 'its events are not a JSON object')
  if (!isObject(events[logoutEvent]))
    throw new LogoutTokenError('events', 'its events contain no valid logout event')
}

/** 2.4. The caller detects a replay (2.6 (8)). */
function readTokenId({ jti }: Claims): string {
  if (typeof jti !== 'string' || jti === '') throw new LogoutTokenError('jti', 'it has no id (jti)')
  return jti
}

function readIdentifier(value: unknown, name: string): string | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'string' && identifierPattern.test(value)) return value
  throw new LogoutTokenError(name, `its ${name} is not 1 to 255 ASCII characters`)
}

function isFiniteNumber(value: unknown): value is number {
  return Number.isFinite(value)
}

function isObject(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
