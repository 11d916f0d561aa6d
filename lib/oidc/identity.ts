import { assertTenant, guid } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { CheckError } from '../shared/errors.ts'
import { digest } from '../shared/seal.ts'
import { normaliseEmail } from '../users/email-address.ts'
import { type ClaimedAddress, unmetConditions, wantsUserInfo } from './vouches.ts'

/** The validated result of a sign-in at a provider. */
export interface Identity {
  /** The `iss` claim. */
  readonly issuer: string
  /** The `sub` claim: with the issuer, it identifies the user at the provider. At most 255 characters. */
  readonly subject: string
  /** Normalized. `undefined` if the provider sent no valid address, or the identity is linked: its address then decides nothing. */
  readonly email?: string | undefined
  /** Whether the provider confirms the address and is trusted to do so. */
  readonly emailTrusted: boolean
  /** The `name` claim, else given and family name. */
  readonly name?: string | undefined
  /** Entra only: the `tid` and `oid` claims. They are the same in every app registration; `sub` is not. */
  readonly entra?: { readonly tenantId: string; readonly objectId: string } | undefined
  /** The `sid` claim: identifies the session at the provider. A digest if it is not 1 to 255 ASCII characters. */
  readonly sid?: string | undefined
  /** The ID token, for `id_token_hint` only. Empty when it is too long to store. */
  readonly logoutHint: string
  /** When the attempt started, by the portal's clock. Milliseconds since 1970. */
  readonly askedAt: number
  /** The `auth_time` claim: when the user last authenticated at the provider. Seconds since 1970. */
  readonly authenticatedAt?: number | undefined
  /** The `acr` claim: how the user authenticated. */
  readonly acr?: string | undefined
}

// Stored in the session: a provider must not be able to fill the store. Without the hint the provider asks before it logs out.
const maxLogoutHintLength = 8192

/** Core 2: a subject has at most 255 ASCII characters. A database could truncate at a NUL and match another user. */
export const identifierPattern = /^[\u0020-\u007e]{1,255}$/

/** Returns `sid` as it is stored and compared. No specification limits it, but our columns do: a long one becomes a digest. */
export function storedSid(sid: string): string {
  return identifierPattern.test(sid) ? sid : `sha256 ${digest(sid)}`
}

/**
 * Azure AD B2C sends "Not supported currently. Use oid claim." for everybody, and other software sends the text of a missing value.
 * Attacker: the second user with this subject would be signed in as the first.
 */
const constantSubject =
  /^(?:not supported\b.*|null|undefined|none|\[object object\]|0{8}(?:-0{4}){3}-0{12})$/i
const constantSubjectMessage =
  'the subject is a constant and identifies nobody; at Azure AD B2C, set "Subject (sub) claim" of the user flow to ObjectID (Properties, Token compatibility settings)'

export type Claims = Readonly<Record<string, unknown>>

export function isObject(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Leaves out null and empty members: they count as absent. */
export function withoutEmpty(members: object): Record<string, unknown> {
  const present: Record<string, unknown> = { ...members }
  for (const [name, value] of Object.entries(present))
    if (value === null || value === '' || (Array.isArray(value) && value.length === 0)) delete present[name]
  return present
}

export interface ReceivedClaims {
  idClaims: Claims
  /** of the same subject, if fetched */
  userInfo?: Claims | undefined
}

/**
 * Reads who signed in from an ID token whose signature, times, issuer, audience and nonce are validated. The address and the name
 * are left to `withAddress`, because a linked identity needs neither. Roles, groups and all other claims are ignored.
 *
 * @throws CheckError if a claim violates OpenID Connect Core in a way that openid-client does not check
 */
export function identityFrom(
  provider: Provider,
  { idToken, idClaims }: { idToken: string; idClaims: Claims },
  clock: { now: number; tolerance: number; askedAt: number },
): Identity {
  const { iss, sub: subject, azp, iat, auth_time: authTime, sid, acr } = idClaims
  if (typeof subject !== 'string' || !identifierPattern.test(subject))
    throw new CheckError('sub', 'the subject is not 1 to 255 ASCII characters')
  if (constantSubject.test(subject)) throw new CheckError('sub_constant', constantSubjectMessage)
  // Core 3.1.3.7, 5: openid-client checks it only for several audiences.
  if (azp !== undefined && azp !== provider.clientId)
    throw new CheckError('azp', 'the ID token was issued to another client (azp)')
  if (provider.preset === 'entra') assertTenant(provider, idClaims)
  // RFC 7519, 2: JSON parses `1e999` as infinity, and such a token would never expire.
  for (const name of ['exp', 'iat', 'nbf'])
    if (idClaims[name] !== undefined && !isNumericDate(idClaims[name]))
      throw new CheckError(name, `the ID token's ${name} is not a valid time`)
  // Core 3.1.3.7, 10: it comes from a wrong clock, or from an attacker who collects tokens for later use.
  const latest = clock.now + clock.tolerance
  if (typeof iat !== 'number' || iat > latest)
    throw new CheckError('iat', 'the ID token was issued in the future')

  return {
    issuer: String(iss),
    subject,
    emailTrusted: false,
    entra: readEntraAccount(provider, idClaims),
    sid: typeof sid === 'string' ? storedSid(sid) : undefined,
    logoutHint: idToken.length > maxLogoutHintLength ? '' : idToken,
    askedAt: clock.askedAt,
    // An invalid one counts as absent, because only re-authentication needs it: some providers send 0 for "unknown", and one in
    // the future would count as recent until then.
    authenticatedAt: isNumericDate(authTime) && authTime > 0 && authTime <= latest ? authTime : undefined,
    acr: typeof acr === 'string' && identifierPattern.test(acr) ? acr : undefined,
  }
}

/** Adds the address, whether it is trusted, and the name. */
export function withAddress(identity: Identity, provider: Provider, received: ReceivedClaims): Identity {
  const { idClaims, userInfo } = received
  const address = readClaimedAddress(provider, received)
  return {
    ...identity,
    email: address?.email,
    emailTrusted: address !== undefined && unmetConditions(provider, address).length === 0,
    name: readName(idClaims) ?? (userInfo && readName(userInfo)),
  }
}

/** Returns the provider's address with the claims that decide whether it is trusted, or `undefined` if it sent none. */
export function readClaimedAddress(
  { emailClaim }: Pick<Provider, 'emailClaim'>,
  { idClaims, userInfo = {} }: ReceivedClaims,
): ClaimedAddress | undefined {
  const [own, other] = [idClaims, userInfo].map((claims) => {
    const claimed = claims[emailClaim]
    // `emails` at Azure AD B2C and `verified_primary_email` at Entra are lists. `email` is not (Core 5.1): of two addresses,
    // `email_verified` would not say which one it is about.
    const isList = emailClaim !== 'email' && Array.isArray(claimed)
    return normaliseEmail(isList ? claimed[0] : claimed)
  })
  const isInIdToken = idClaims[emailClaim] !== undefined
  const email = isInIdToken ? own : other
  // The user name of an Entra guest: their address at home with `#EXT#` and the domain of the inviting tenant.
  if (email === undefined || /#ext#@/.test(email)) return undefined
  // Attacker: an account whose UserInfo confirms another address than the ID token contains. Only equal addresses share claims.
  const sources = [...(isInIdToken ? [idClaims] : []), ...(email === other ? [userInfo] : [])]
  return { email, idClaims, userInfo, sources }
}

/** True if UserInfo may contain the address, or a claim that decides whether the address is trusted, and the ID token does not. */
export function needsUserInfo(provider: Provider, idClaims: Claims): boolean {
  if (idClaims[provider.emailClaim] === undefined) return true
  const address = readClaimedAddress(provider, { idClaims })
  return address !== undefined && wantsUserInfo(provider, address)
}

/** The only address that may be looked up: the provider's if trusted, else the one that the user verified with a code. */
export function trustedEmail(
  { email, emailTrusted }: Pick<Identity, 'email' | 'emailTrusted'>,
  verifiedEmail: string | undefined,
): string | undefined {
  return emailTrusted ? email : verifiedEmail
}

/** True for seconds since 1970, up to the last time that a `Date` can hold. */
function isNumericDate(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 8.64e12
}

/** Links are found by these ids, so accept only GUIDs, and only from Entra. */
function readEntraAccount({ preset }: Provider, { tid: tenantId, oid: objectId }: Claims): Identity['entra'] {
  if (preset !== 'entra' || typeof tenantId !== 'string' || typeof objectId !== 'string') return undefined
  return guid.test(tenantId) && guid.test(objectId) ? { tenantId, objectId } : undefined
}

function readName(claims: Claims): string | undefined {
  const fullName = readText(claims.name, 200)
  if (fullName) return fullName
  const parts = [readText(claims.given_name, 100), readText(claims.family_name, 99)]
  return parts.filter((part) => part !== undefined).join(' ') || undefined
}

function readText(value: unknown, maxLength: number): string | undefined {
  if (typeof value !== 'string') return undefined
  // Control and direction characters could disguise one name as another on the confirmation page. A lone surrogate takes
  // six bytes in the registration cookie.
  const text = value.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, '').trim()
  return text === '' || text.length > maxLength ? undefined : text
}

/**
 * Checks the form of an ID token, which openid-client leaves to its caller. Signature and claims are already validated.
 *
 * @returns the algorithm of the signature
 * @throws CheckError when two readers could understand it differently, or as another kind of token
 */
export function assertIdTokenForm(idToken: string): string {
  // RFC 7515, 2: no padding, no white space, no other alphabet. The encoding of the signature is not itself signed, so one
  // token could otherwise have several forms.
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(idToken))
    throw new CheckError('jws', 'the ID token is not in base64url')
  const [encodedHeader = ''] = idToken.split('.')
  const header = JSON.parse(Buffer.from(encodedHeader, 'base64url').toString()) as Record<string, unknown>
  // RFC 8725, 3.11: the same key also signs access tokens and logout tokens.
  const { alg, typ = 'JWT', kid = '', b64 } = header
  if (typeof typ !== 'string' || !/^(application\/)?jwt$/i.test(typ))
    throw new CheckError('typ', 'the ID token is of another type (typ)')
  // RFC 7515, 4.1.4: a string. A number could match a key, too.
  if (typeof kid !== 'string') throw new CheckError('kid', 'the key ID of the ID token is not a string (kid)')
  // RFC 7797, 6 and 7: a reader that supports `b64` would not decode the payload, and read other claims.
  if (b64 !== undefined) throw new CheckError('b64', 'the ID token has an unsupported payload encoding (b64)')
  return String(alg)
}
