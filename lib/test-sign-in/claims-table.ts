import type { Claims } from '../oidc/identity.ts'
import { describeVouching } from '../oidc/vouches.ts'
import type { Provider } from '../providers/provider.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'

/** In Entra a tenant's administrator can enter any address. Only `xms_edov` says that the tenant owns its domain. */
export function emailVerifiedClaim({ preset }: Provider): string {
  return preset === 'entra' ? 'xms_edov' : 'email_verified'
}

export interface ShownClaim {
  name: string
  /** omitted: it may be a secret */
  value: string | undefined
  /** whether the portal reads it; other claims are discarded */
  read: boolean
  /** empty: the ID token */
  from: string
}

/** A hostile provider may send a megabyte of claims. */
const maxClaims = 60
const maxValueLength = 300

// Useless after the exchange, but not fit for a screenshot either.
const exchangeClaims = new Set(['nonce', 'at_hash', 'c_hash', 's_hash'])
const nameClaims = ['name', 'given_name', 'family_name']
const readClaims = [...'iss sub aud azp exp iat nbf sid auth_time acr login_hint'.split(' '), ...nameClaims]

// A provider may pass on tokens of another provider.
const secretPattern = /token|secret|password|assertion|api_?key/i
const notShown = '(not shown)'

/** The provider's claims as harmless text of limited length, without values that look like secrets. */
export function claimsTable(
  provider: Provider,
  idClaims: Claims | undefined,
  userInfo: Claims | undefined,
): { claims: ShownClaim[]; left: number } {
  const { organizationClaims } = describeVouching(provider)
  const emailClaims = [provider.emailClaim, emailVerifiedClaim(provider), ...organizationClaims]
  const own = provider.preset === 'entra' ? ['tid', 'oid'] : []
  const shown = (claims: Claims, from: string, reads: readonly string[]): ShownClaim[] =>
    Object.entries(claims)
      .filter(([name]) => !exchangeClaims.has(name))
      .map(([name, value]) => ({
        name: sanitizeText(name, 60),
        value: textOf(name, value),
        read: reads.includes(name),
        from,
      }))
  const all = [
    ...(idClaims ? shown(idClaims, '', [...readClaims, ...emailClaims, ...own]) : []),
    ...(userInfo ? shown(userInfo, 'UserInfo', [...emailClaims, ...nameClaims]) : []),
  ]
  return { claims: all.slice(0, maxClaims), left: Math.max(0, all.length - maxClaims) }
}

function textOf(name: string, value: unknown): string | undefined {
  if (secretPattern.test(name)) return undefined
  // A number may be out of range for a date.
  const isMoment = typeof value === 'number' && Math.abs(value) < 8.64e12
  if (isMoment && /^(exp|iat|nbf|auth_time|updated_at)$/.test(name))
    return `${value} (${new Date(value * 1000).toISOString().replace('.000Z', 'Z')})`
  return sanitizeText(typeof value === 'string' ? value : asJson(value), maxValueLength)
}

/** Hides nested secrets. Parsed JSON may be nested too deeply to be serialised again. */
export function asJson(value: unknown): string {
  try {
    return JSON.stringify(value, (name, each: unknown) => (secretPattern.test(name) ? notShown : each))
  } catch {
    return '(nested too deeply to be shown)'
  }
}
