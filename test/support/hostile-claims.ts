import fc from 'fast-check'
import { textOf } from './properties.ts'

export type Claims = Record<string, unknown>

/** Changes that a hostile provider makes to a token: claims with any value, or `undefined` to remove one. */
export type Edits = [name: string, value: unknown][]

const readClaims = [
  'iss',
  'sub',
  'aud',
  'azp',
  'iat',
  'exp',
  'nbf',
  'nonce',
  'email',
  'email_verified',
  'name',
  'sid',
]
const ignoredClaims = [
  'roles',
  'groups',
  'admin',
  'id',
  'userId',
  'active',
  'portal',
  'tid',
  'upn',
  'auth_time',
  'acr',
]
const oddNames = [
  '',
  '__proto__',
  'constructor',
  'toString',
  'toJSON',
  'hasOwnProperty',
  'Sub',
  'sub ',
  'ｓｕｂ',
]
const names = [
  'preferred_username',
  'given_name',
  'family_name',
  ...readClaims,
  ...ignoredClaims,
  ...oddNames,
]

const pieces = textOf([
  ...['ada', 'Ada', 'grace', 'Grace', 'ada@example.com', 'grace@example.com', 'example.com', '@', '.', ' '],
  ...[
    '\u0000',
    '\n',
    '\u202e',
    '\u200b',
    '\u00a0',
    '\ufeff',
    '\u212a',
    '\u0430',
    'é',
    '<b>',
    '"',
    "'",
    '%00',
  ],
  ...['x'.repeat(80), 'https://', '/', 'true', '1'],
])

/** Values that look like this one. */
function similarTo(value: unknown): fc.Arbitrary<unknown> {
  const text = String(value)
  return fc.constantFrom<unknown>(
    value,
    [value],
    [value, value],
    [value, 'somebody-else'],
    ['somebody-else', value],
    [[value]],
    { value },
    { 0: value, length: 1 },
    { toString: text },
    `${text} `,
    ` ${text}`,
    `${text}\u0000`,
    `${text}/`,
    `${text}\u200b`,
    text.toUpperCase(),
    text.replace('a', '\u0430'),
    text.slice(1),
    text.slice(0, -1),
    `${text}${text}`,
    Number(value),
    text,
    '',
    null,
    true,
    false,
    0,
    -1,
    1e308,
  )
}

/** Times in seconds, far from every limit, so that a slow machine does not change the result. */
const time = (now: number) =>
  fc.constantFrom(
    0,
    now - 86_400,
    now - 600,
    now,
    now + 600,
    now + 86_400,
    now * 1000,
    String(now + 600),
    -now,
  )

/** @param valid the attacker's own valid claims; `victim`: the claims of the user whom the attacker impersonates */
export function hostileEdits(valid: Claims, victim: Claims): fc.Arbitrary<Edits> {
  const now = Math.floor(Date.now() / 1000)
  const value = (name: string): fc.Arbitrary<unknown> =>
    fc.oneof(
      { weight: 3, arbitrary: fc.constant(undefined) },
      { weight: 6, arbitrary: similarTo(valid[name]) },
      { weight: 4, arbitrary: similarTo(victim[name] ?? 'true') },
      { weight: 3, arbitrary: pieces },
      { weight: 3, arbitrary: time(now) },
      { weight: 4, arbitrary: fc.jsonValue({ stringUnit: 'binary' }) },
    )
  const name = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...readClaims) },
    { weight: 3, arbitrary: fc.constantFrom(...names) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  )
  const edit = name.chain((each) => value(each).map((to): [string, unknown] => [each, to]))
  return fc.array(edit, { minLength: 1, maxLength: 4 })
}

/** Also supports a claim with the name `__proto__`. */
export function applyEdits(claims: Claims, edits: Edits): Claims {
  const all = new Map([...Object.entries(claims), ...edits])
  return Object.fromEntries([...all].filter(([, value]) => value !== undefined))
}

/**
 * The oracle: whether claims identify a user to this client, according to OpenID Connect Core 2 and 3.1.3.7 and RFC 7519.
 *
 * @param expected `tolerance`: seconds by which two clocks may differ
 */
export function areValid(
  claims: Claims,
  expected: { iss: string; clientId: string; nonce: unknown; now: number; tolerance: number },
): boolean {
  const { iss, clientId, nonce, now, tolerance } = expected
  const audiences = Array.isArray(claims.aud) ? claims.aud : [claims.aud]
  return (
    claims.iss === iss &&
    audiences.includes(clientId) &&
    (audiences.length === 1 || claims.azp === clientId) &&
    (claims.azp === undefined || claims.azp === clientId) &&
    isTime(claims.exp) &&
    claims.exp > now - tolerance &&
    isTime(claims.iat) &&
    claims.iat <= now + tolerance &&
    (claims.nbf === undefined || (isTime(claims.nbf) && claims.nbf <= now + tolerance)) &&
    claims.nonce === nonce &&
    isSubject(claims.sub)
  )
}

/** The claims that arrive: JSON, in which null and empty ones count as absent. */
export function arriving(claims: object): Claims {
  return JSON.parse(JSON.stringify(claims), (_name, value: unknown) =>
    value === null || value === '' || (Array.isArray(value) && value.length === 0) ? undefined : value,
  ) as Claims
}

/** RFC 7519, 2: seconds since 1970, at most the largest valid date. */
const isTime = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= 8.64e12

/** Core 2: case-sensitive ASCII of at most 255 characters. Control characters are not allowed. */
export function isSubject(value: unknown): value is string {
  if (typeof value !== 'string' || value.length === 0 || value.length > 255) return false
  return [...value].every((letter) => letter >= ' ' && letter <= '~')
}
