import { loggable } from '../loggable.ts'
import type { Provider } from '../providers/provider.ts'
import type { Claims } from '../sign-in/identity.ts'

export interface ShownClaim {
  name: string
  value: string
  from: 'ID token' | 'UserInfo'
  /** whether the portal reads it; the others are thrown away */
  read: boolean
}

/** A hostile provider may send a megabyte of them. */
const most = 60
const longest = 300

// Good for nothing once the token was judged, but parts of an exchange: not for a screenshot in a ticket.
const ofTheExchange = new Set(['nonce', 'at_hash', 'c_hash', 's_hash'])
const readOnes = ['iss', 'sub', 'aud', 'azp', 'exp', 'iat', 'nbf', 'sid', 'name', 'given_name', 'family_name']

/** What the provider said of the person, as text that cannot do anything, bounded, and without what looks like a secret. */
export function claimsShown(
  provider: Provider,
  idClaims: Claims | undefined,
  userInfo: Claims | undefined,
): { claims: ShownClaim[]; left: number } {
  const read = new Set([...readOnes, provider.emailClaim, 'email_verified'])
  const fromUserInfo = new Set([provider.emailClaim, 'email_verified', 'name', 'given_name', 'family_name'])
  const shown = (claims: Claims, from: ShownClaim['from'], reads: ReadonlySet<string>): ShownClaim[] =>
    Object.entries(claims)
      .filter(([name]) => !ofTheExchange.has(name))
      .map(([name, value]) => ({
        name: loggable(name, 60),
        value: textOf(name, value),
        from,
        read: reads.has(name),
      }))
  const all = [
    ...(idClaims ? shown(idClaims, 'ID token', read) : []),
    ...(userInfo ? shown(userInfo, 'UserInfo', fromUserInfo) : []),
  ]
  return { claims: all.slice(0, most), left: Math.max(0, all.length - most) }
}

function textOf(name: string, value: unknown): string {
  if (/token|secret|password|assertion|api_?key/i.test(name)) return '(not shown)'
  // Moments can be read by people, too.
  if (/^(exp|iat|nbf|auth_time|updated_at)$/.test(name) && typeof value === 'number' && value < 8.64e12)
    return `${value} (${new Date(value * 1000).toISOString()})`
  return loggable(typeof value === 'string' ? value : JSON.stringify(value), longest)
}
