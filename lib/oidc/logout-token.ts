import { type CompactJWSHeaderParameters, compactVerify, decodeProtectedHeader } from 'jose'
import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { identifier } from './identity.ts'
import { clockTolerance, type KeyResolver } from './provider-client.ts'

/** What a provider says has ended: a session of its own, or everything of a person, or both named at once. */
export interface LogoutToken {
  /** `jti` */
  id: string
  /** `iss`: of a provider for many tenants that of one */
  issuer: string
  ends: { sid: string; subject?: string | undefined } | { sid?: undefined; subject: string }
}

/** A logout token that is not to be believed; the message, for the operator's log, says why and quotes nothing of it. */
export class LogoutTokenError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LogoutTokenError'
  }
}

/** seconds after which a token is too old, whatever it says of itself */
const maxAgeLimitSeconds = 300

const event = 'http://schemas.openid.net/event/backchannel-logout'

type Judge = Pick<Provider, 'preset' | 'issuer' | 'tenants' | 'clientId' | 'signingAlgorithm'>
type Claims = Readonly<Record<string, unknown>>

/**
 * Judges a logout token clause by clause, in the order of OpenID Connect Back-Channel Logout 1.0, 2.6. Anybody can post
 * one: without these checks to sign people out, or to pass one of the provider's other tokens off as one.
 *
 * @param keys fetches the provider's keys; asked only for a token that may be one
 * @param now seconds since 1970
 * @throws LogoutTokenError; and whatever `keys` throws
 */
export async function readLogoutToken(
  token: string,
  provider: Judge,
  keys: () => Promise<KeyResolver>,
  now: number,
): Promise<LogoutToken> {
  checkHeader(headerOf(token), provider)
  const claims = await verified(token, await keys(), provider)
  const issuer = issuerOf(claims, provider)
  checkAudience(claims, provider)
  checkTimes(claims, now)
  const ends = endsOf(claims)
  checkEvents(claims)
  if (claims.nonce !== undefined) throw new LogoutTokenError('it has a nonce, as only an ID token may')
  return { id: tokenIdOf(claims), issuer, ends }
}

/** 2.6 (1): signed, and not encrypted, which nobody registered for. */
function headerOf(token: string): CompactJWSHeaderParameters {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw new LogoutTokenError('it is not a JWS in three parts')
  try {
    return decodeProtectedHeader(token) as CompactJWSHeaderParameters
  } catch (cause) {
    throw new LogoutTokenError('its header cannot be read', { cause })
  }
}

/** 2.6 (3) comes before (2) where it must: a token may not choose how it is verified (RFC 8725, 3.1). */
function checkHeader({ alg, typ, crit }: CompactJWSHeaderParameters, { signingAlgorithm }: Judge): void {
  if (alg !== signingAlgorithm)
    throw new LogoutTokenError(`its alg is not the registered ${signingAlgorithm}`)
  // RFC 7515, 4.1.11: no extension is understood here.
  if (crit !== undefined) throw new LogoutTokenError('it has extensions that must be understood (crit)')
  // 2.4: recommended, so it may be absent or general; the type of something else is something else (RFC 8725, 3.11).
  if (typ === undefined) return
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : ''
  if (type !== 'logout+jwt' && type !== 'jwt')
    throw new LogoutTokenError('its typ is that of another kind of token')
}

/** 2.6 (2), with the provider's own keys: what a header says of keys (`jwk`, `jku`, `x5c`, `x5u`) is never looked at. */
async function verified(token: string, keys: KeyResolver, { signingAlgorithm }: Judge): Promise<Claims> {
  let payload: Uint8Array
  try {
    ;({ payload } = await compactVerify(token, keys, { algorithms: [signingAlgorithm] }))
  } catch (cause) {
    throw new LogoutTokenError('its signature is not that of the provider', { cause })
  }
  try {
    const claims: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    if (isObject(claims)) return claims
  } catch (cause) {
    throw new LogoutTokenError('its payload cannot be read', { cause })
  }
  throw new LogoutTokenError('its payload is not a JSON object')
}

/** 2.6 (4), Core 3.1.3.7 (2) */
function issuerOf({ iss }: Claims, provider: Judge): string {
  if (typeof iss === 'string' && isIssuerOf(provider, iss)) return iss
  throw new LogoutTokenError('its issuer (iss) is not the provider')
}

/** 2.6 (4), Core 3.1.3.7 (3) to (5), as ID tokens are judged: further audiences only where `azp` says that it is for us. */
function checkAudience({ aud, azp }: Claims, { clientId }: Judge): void {
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.includes(clientId)) throw new LogoutTokenError('it is not meant for us (aud)')
  if (audiences.length > 1 && azp === undefined)
    throw new LogoutTokenError(
      'it is meant for others too (aud), and does not say for whom it was made (azp)',
    )
  if (azp !== undefined && azp !== clientId)
    throw new LogoutTokenError('it was made for another client (azp)')
}

/** 2.6 (4), Core 3.1.3.7 (9) and (10). `exp` is required since the final text. */
function checkTimes({ iat, exp, nbf }: Claims, now: number): void {
  if (!isMoment(iat)) throw new LogoutTokenError('it does not say when it was issued (iat)')
  if (iat > now + clockTolerance) throw new LogoutTokenError('it was issued in the future (iat)')
  if (iat < now - maxAgeLimitSeconds - clockTolerance)
    throw new LogoutTokenError('it was issued too long ago (iat)')
  if (!isMoment(exp)) throw new LogoutTokenError('it does not say when it expires (exp)')
  if (exp <= now - clockTolerance) throw new LogoutTokenError('it has expired (exp)')
  if (nbf === undefined) return
  if (!isMoment(nbf) || nbf > now + clockTolerance) throw new LogoutTokenError('it is not valid yet (nbf)')
}

/** 2.6 (5) */
function endsOf(claims: Claims): LogoutToken['ends'] {
  const subject = identifierOf(claims.sub, 'sub')
  const sid = identifierOf(claims.sid, 'sid')
  if (sid !== undefined) return { sid, subject }
  if (subject !== undefined) return { subject }
  throw new LogoutTokenError('it names neither a person (sub) nor a session (sid)')
}

/** 2.6 (6) */
function checkEvents({ events }: Claims): void {
  if (!isObject(events)) throw new LogoutTokenError('its events are not a JSON object')
  if (!isObject(events[event])) throw new LogoutTokenError('its events are not those of a logout')
}

/** 2.4; whether it was seen before (2.6 (8)) is for whoever remembers. */
function tokenIdOf({ jti }: Claims): string {
  if (typeof jti !== 'string' || jti === '') throw new LogoutTokenError('it has no id (jti)')
  return jti
}

function identifierOf(value: unknown, name: string): string | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'string' && identifier.test(value)) return value
  throw new LogoutTokenError(`its ${name} is not 1 to 255 ASCII characters`)
}

function isMoment(value: unknown): value is number {
  return Number.isFinite(value)
}

function isObject(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
