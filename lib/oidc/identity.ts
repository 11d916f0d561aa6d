import { assertTenant, guid, pinsTenants } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { domainOf, normaliseEmail } from '../users/email-address.ts'

/** What a provider vouches for: the only value that crosses from protocol to policy. */
export interface Identity {
  readonly issuer: string
  readonly subject: string
  /** normal form; `undefined` when the provider gave none that is one */
  readonly email?: string | undefined
  /** the provider says, and is allowed to say, that the address belongs to this person */
  readonly emailTrusted: boolean
  readonly name?: string | undefined
  /** Entra only: the `tid` and `oid` claims. They are the same in every app registration; `sub` is not. */
  readonly entra?: { readonly tenantId: string; readonly objectId: string } | undefined
  /** the `sid` claim */
  readonly sid?: string | undefined
  /** the ID token, as a hint for the provider's logout only; empty when it is too long to keep */
  readonly logoutHint: string
  /** when we asked for it, which is before the provider said anything: milliseconds since 1970 by our own clock */
  readonly askedAt: number
  /** the `auth_time` claim: when the person last showed the provider who they are; seconds since 1970 */
  readonly authenticatedAt?: number | undefined
  /** the `acr` claim: how they did */
  readonly acr?: string | undefined
}

// It is kept in the session: a provider must not be able to fill the store. Without it, a logout asks once more.
const longestHint = 8192

/** Core 2: a subject has at most 255 ASCII characters. A NUL would be cut off by a database and name somebody else. */
export const identifier = /^[\u0020-\u007e]{1,255}$/

export type Claims = Readonly<Record<string, unknown>>

/**
 * Reads validated claims. The signature and the times, issuer, audience and nonce have been judged before; roles, groups and
 * whatever else a provider says is not read.
 *
 * @param idClaims of the ID token
 * @param userInfo UserInfo claims of the same subject, when they were fetched
 * @throws Error when the claims break OpenID Connect Core in a way that openid-client leaves to its caller
 */
export function identityFrom(
  provider: Provider,
  idToken: string,
  idClaims: Claims,
  userInfo: Claims | undefined,
  clock: { now: number; tolerance: number; askedAt: number },
): Identity {
  const { sub: subject, sid, acr } = idClaims
  if (typeof subject !== 'string' || !identifier.test(subject))
    throw new Error('the subject is not 1 to 255 ASCII characters')
  // Core 3.1.3.7, 5: openid-client looks at it only where there are several audiences.
  const authorizedParty = idClaims.azp
  if (authorizedParty !== undefined && authorizedParty !== provider.clientId)
    throw new Error('the ID token was issued to another client (azp)')
  assertTenant(provider, idClaims)
  for (const name of ['exp', 'iat', 'nbf']) assertMoment(idClaims, name)
  // Core 3.1.3.7, 10: a token of the future comes from a broken clock, or from somebody who stores tokens up.
  const issuedAt = idClaims.iat
  if (typeof issuedAt !== 'number' || issuedAt > clock.now + clock.tolerance)
    throw new Error('the ID token was issued in the future')

  const source = userInfo && idClaims[provider.emailClaim] === undefined ? userInfo : idClaims
  const email = normaliseEmail(source[provider.emailClaim])
  return {
    issuer: String(idClaims.iss),
    subject,
    email,
    emailTrusted: email !== undefined && vouches(provider, email, source),
    name: nameOf(idClaims) ?? (userInfo && nameOf(userInfo)),
    entra: readEntraAccount(provider, idClaims),
    // To the letter: a logout token must find it again.
    sid: typeof sid === 'string' && identifier.test(sid) ? sid : undefined,
    logoutHint: idToken.length > longestHint ? '' : idToken,
    askedAt: clock.askedAt,
    authenticatedAt: authenticationOf(idClaims, clock),
    acr: typeof acr === 'string' && identifier.test(acr) ? acr : undefined,
  }
}

/**
 * The one address of a person that may be looked up: the provider's where it vouches for it, else the one that the person
 * proved by a code.
 */
export function trustedEmail(
  { email, emailTrusted }: Pick<Identity, 'email' | 'emailTrusted'>,
  proven: string | undefined,
): string | undefined {
  return emailTrusted ? email : proven
}

/** RFC 7519, 2: JSON also holds numbers that are no moment (`1e999` is read as infinity), and a token would never end. */
function assertMoment(idClaims: Claims, name: string): void {
  const value = idClaims[name]
  if (value !== undefined && !isMoment(value)) throw new Error(`the ID token's ${name} is no moment in time`)
}

/** Seconds since 1970; the last moment is the last one that a Date can hold. */
function isMoment(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 8.64e12
}

/**
 * When the person last showed who they are. Only a demand for that needs it, so what says nothing that can be believed keeps
 * nobody out: one of the future would count as just now for as long as that lies ahead.
 */
function authenticationOf(
  { auth_time: at }: Claims,
  { now, tolerance }: { now: number; tolerance: number },
): number | undefined {
  return isMoment(at) && at <= now + tolerance ? at : undefined
}

/** Whether the address is missing, so that UserInfo is to be asked. */
export function lacksEmail(provider: Provider, idClaims: Claims): boolean {
  return idClaims[provider.emailClaim] === undefined
}

function vouches(provider: Provider, email: string, claims: Claims): boolean {
  const domains = provider.emailDomains
  // A provider of one company must not vouch for the addresses of another.
  if (domains.length > 0 && !domains.includes(domainOf(email))) return false
  if (provider.preset === 'entra') return vouchesInEntra(provider, claims)
  if (provider.trustsEmail) return true
  // Core 5.1: `email_verified` speaks of the claim `email` only. Some providers send it as text.
  const verified = claims.email_verified
  return provider.emailClaim === 'email' && (verified === true || verified === 'true')
}

/**
 * In Entra whoever administers a tenant may set `email` to anybody's address, and anybody can have a tenant (nOAuth). So trust
 * needs tenants that somebody answers for, whatever got into the row, and `email_verified` is nothing that Microsoft documents.
 * `xms_edov` says that the owner of the address's domain was verified; no tenant can set it.
 */
function vouchesInEntra(provider: Provider, claims: Claims): boolean {
  if (provider.trustsEmail && pinsTenants(provider)) return true
  return provider.emailClaim === 'email' && [true, 1, 'true', '1'].includes(claims.xms_edov as boolean)
}

/** A link can be found by these two, so other presets and values that are not GUIDs give none. */
function readEntraAccount({ preset }: Provider, { tid: tenantId, oid: objectId }: Claims): Identity['entra'] {
  if (preset !== 'entra' || typeof tenantId !== 'string' || typeof objectId !== 'string') return undefined
  return guid.test(tenantId) && guid.test(objectId) ? { tenantId, objectId } : undefined
}

function nameOf(claims: Claims): string | undefined {
  const whole = textOf(claims.name, 200)
  if (whole) return whole
  const parts = [textOf(claims.given_name, 100), textOf(claims.family_name, 99)]
  return parts.filter((part) => part !== undefined).join(' ') || undefined
}

function textOf(value: unknown, longest: number): string | undefined {
  if (typeof value !== 'string') return undefined
  // Control and direction characters could disguise one name as another on the page that asks to confirm it; halves of
  // characters take six bytes each in the cookie of a registration.
  const text = value.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, '').trim()
  return text === '' || text.length > longest ? undefined : text
}
