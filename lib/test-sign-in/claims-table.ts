import type { Claims } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'

/** In Entra whoever runs a tenant may write anybody's address: only this claim tells that its domain is theirs. */
export function emailVerifiedClaim({ preset }: Provider): string {
  return preset === 'entra' ? 'xms_edov' : 'email_verified'
}

export interface ShownClaim {
  name: string
  value: string
  /** whether the portal reads it; the others are thrown away */
  read: boolean
  /** what is to be said of it: where it comes from, and that it is not read; empty where neither is remarkable */
  note: string
}

/** A hostile provider may send a megabyte of them. */
const most = 60
const longest = 300

// Good for nothing once the token was judged, but parts of an exchange: not for a screenshot in a ticket.
const ofTheExchange = new Set(['nonce', 'at_hash', 'c_hash', 's_hash'])
const readOnes = ['iss', 'sub', 'aud', 'azp', 'exp', 'iat', 'nbf', 'sid', 'name', 'given_name', 'family_name']

const ofEntra = ['tid', 'oid']

// A provider that passes on what another one gave it, say.
const secretive = /token|secret|password|assertion|api_?key/i
const notShown = '(not shown)'

/** What the provider said of the person, as text that cannot do anything, bounded, and without what looks like a secret. */
export function claimsTable(
  provider: Provider,
  idClaims: Claims | undefined,
  userInfo: Claims | undefined,
): { claims: ShownClaim[]; left: number } {
  const own = provider.preset === 'entra' ? ofEntra : []
  const read = new Set([...readOnes, provider.emailClaim, emailVerifiedClaim(provider), ...own])
  const fromUserInfo = new Set([
    provider.emailClaim,
    emailVerifiedClaim(provider),
    'name',
    'given_name',
    'family_name',
  ])
  const shown = (claims: Claims, from: string, reads: ReadonlySet<string>): ShownClaim[] =>
    Object.entries(claims)
      .filter(([name]) => !ofTheExchange.has(name))
      .map(([name, value]) => ({
        name: sanitizeText(name, 60),
        value: textOf(name, value),
        read: reads.has(name),
        note: [from, ...(reads.has(name) ? [] : ['not read'])].filter(Boolean).join(', '),
      }))
  const all = [
    ...(idClaims ? shown(idClaims, '', read) : []),
    ...(userInfo ? shown(userInfo, 'UserInfo', fromUserInfo) : []),
  ]
  return { claims: all.slice(0, most), left: Math.max(0, all.length - most) }
}

function textOf(name: string, value: unknown): string {
  if (secretive.test(name)) return notShown
  // Moments can be read by people, too; a number may be none.
  const isMoment = typeof value === 'number' && Math.abs(value) < 8.64e12
  if (isMoment && /^(exp|iat|nbf|auth_time|updated_at)$/.test(name))
    return `${value} (${new Date(value * 1000).toISOString().replace('.000Z', 'Z')})`
  return sanitizeText(typeof value === 'string' ? value : asJson(value), longest)
}

/** Without what is called a secret inside of it. What JSON can hold may be nested deeper than it can be written out again. */
export function asJson(value: unknown): string {
  try {
    return JSON.stringify(value, (name, each: unknown) => (secretive.test(name) ? notShown : each))
  } catch {
    return '(nested too deeply to be shown)'
  }
}
