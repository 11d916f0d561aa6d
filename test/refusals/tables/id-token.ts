import type { Group, Row } from '../../support/refusals.ts'

const now = Math.floor(Date.now() / 1000)
const evil = 'https://evil.example'
const ours = 'portal-at-provider'
const claim = (name: string, value: unknown) => ({ claims: { [name]: value } })
const kid = (value: unknown) => ({ header: { kid: value } })
const typ = (value: unknown) => ({ header: { typ: value } })
const noKey = /no applicable key found/

/** Appends a member that JSON.stringify cannot produce, such as a duplicate. */
const append = (member: string) => ({ rawPayload: (json: string) => json.replace(/\}$/, `,${member}}`) })

const issuer: Row[] = [
  ['another issuer', 'Core 3.1.3.7 (2), oidcc-client-test-invalid-iss', claim('iss', evil), /iss/],
  ['no issuer', 'Core 2', claim('iss', undefined), /iss/],
  ['an issuer with an extra slash', 'Core 3.1.3.7 (2)', (s) => claim('iss', `${s.provider.issuer}/`), /iss/],
  [
    'an issuer with an extra character',
    'Core 3.1.3.7 (2)',
    (s) => claim('iss', `${s.provider.issuer}0`),
    /iss/,
  ],
  ['issuer null', 'Core 2', claim('iss', null), /iss/],
  ['an empty issuer', 'Core 2', claim('iss', ''), /iss/],
  ['the issuer as an array', 'Core 2', (s) => claim('iss', [s.provider.issuer]), /iss/],
  ['the issuer of the other provider', 'Core 3.1.3.7 (2)', (s) => claim('iss', s.other.issuer), /iss/],
  ['the issuer twice, the last one different', 'RFC 7519 4', append(`"iss":"${evil}"`), /iss/],
]

const audience: Row[] = [
  ['another audience', 'Core 3.1.3.7 (3), oidcc-client-test-invalid-aud', claim('aud', 'another'), /aud/],
  ['audiences without ours', 'Core 3.1.3.7 (3)', { claims: { aud: ['a', 'b'], azp: 'a' } }, /aud/],
  ['no audience', 'Core 2', claim('aud', undefined), /aud/],
  ['an empty array of audiences', 'Core 2', claim('aud', []), /aud/],
  ['an empty audience', 'Core 2', claim('aud', ''), /aud/],
  ['audience null', 'Core 2', claim('aud', null), /aud/],
  ['audience as an object', 'Core 2', claim('aud', { [ours]: true }), /aud/],
  ['audience in a nested array', 'RFC 7519 4.1.3', claim('aud', [[ours]]), /aud/],
  ['an audience with extra characters', 'Core 3.1.3.7 (3)', claim('aud', `${ours} x`), /aud/],
  ['an audience in upper case', 'RFC 7519 4.1.3', claim('aud', ours.toUpperCase()), /aud/],
  ['the client of the other provider', 'Core 3.1.3.7 (3)', claim('aud', 'other'), /aud/],
  ['several audiences without azp', 'Core 3.1.3.7 (4)', claim('aud', [ours, 'b']), /aud/],
  [
    'several audiences, with another azp',
    'Core 3.1.3.7 (5)',
    { claims: { aud: [ours, 'b'], azp: 'b' } },
    /azp/,
  ],
  ['another azp', 'Core 3.1.3.7 (5)', claim('azp', 'another'), /azp/],
  ['azp as an array', 'Core 3.1.3.7 (5)', claim('azp', [ours]), /azp/],
  [
    'several audiences, with azp null',
    'Core 3.1.3.7 (4)',
    { claims: { aud: [ours, 'b'], azp: null } },
    /aud/,
  ],
  [
    'several audiences, with an empty azp',
    'Core 3.1.3.7 (4)',
    { claims: { aud: [ours, 'b'], azp: '' } },
    /aud/,
  ],
]

const subject: Row[] = [
  ['no subject', 'Core 2, oidcc-client-test-missing-sub', claim('sub', undefined), /sub/],
  ['an empty subject', 'Core 2', claim('sub', ''), /sub/],
  ['subject null', 'Core 2', claim('sub', null), /sub/],
  ['a subject that is a number', 'Core 2', claim('sub', 42), /sub/],
  ['a subject that is an array', 'Core 2', claim('sub', ['ada']), /sub/],
  ['a subject of 256 characters', 'Core 2', claim('sub', 'x'.repeat(256)), /subject/],
  [
    'the constant subject of Azure AD B2C',
    'ours',
    claim('sub', 'Not supported currently. Use oid claim.'),
    /identifies nobody.*ObjectID/,
    502,
  ],
  ['a subject with a NUL', 'Core 2', claim('sub', 'ada\u0000'), /subject/],
  ['a subject with a line break', 'Core 2', claim('sub', 'ada\n'), /subject/],
  ['a subject with a look-alike letter', 'Core 2', claim('sub', '\u0430da'), /subject/],
  [
    'a subject that is not UTF-8',
    'RFC 7519 7.2',
    { rawPayload: (json) => Buffer.from(json.replace('"ada"', '"ada\u00ff"'), 'latin1') },
    /subject/,
  ],
]

const times: Row[] = [
  ['an expired token', 'Core 3.1.3.7 (9)', claim('exp', now - 60), /exp/],
  ['no exp', 'Core 2', claim('exp', undefined), /exp/],
  ['exp as a string', 'Core 2', claim('exp', '9999999999'), /exp/],
  ['exp null', 'Core 2', claim('exp', null), /exp/],
  ['an empty exp', 'Core 2', claim('exp', ''), /exp/],
  ['exp as an array', 'Core 2', claim('exp', [now + 300]), /exp/],
  ['exp 0', 'Core 3.1.3.7 (9)', claim('exp', 0), /exp/],
  ['a negative exp', 'Core 3.1.3.7 (9)', claim('exp', -now), /exp/],
  ['exp beyond any date', 'RFC 7519 2', claim('exp', 1e308), /exp/],
  ['an infinite exp', 'RFC 7519 2', append('"exp":1e999'), /exp/],
  ['exp NaN', 'RFC 7519 2', append('"exp":NaN'), /not valid JSON/],
  ['no iat', 'Core 2, oidcc-client-test-missing-iat', claim('iat', undefined), /iat/],
  ['iat in the future', 'Core 3.1.3.7 (10)', claim('iat', now + 600), /future/],
  ['iat as a string', 'Core 2', claim('iat', String(now)), /iat/],
  ['iat null', 'Core 2', claim('iat', null), /iat/],
  ['an empty iat', 'Core 2', claim('iat', ''), /iat/],
  ['a negative iat', 'RFC 7519 2', claim('iat', -1), /iat/],
  ['an infinite iat', 'RFC 7519 2', append('"iat":1e999'), /iat|future/],
  ['a negative infinite iat', 'RFC 7519 2', append('"iat":-1e999'), /iat/],
  ['nbf in the future', 'RFC 7519 4.1.5', claim('nbf', now + 600), /nbf/],
  ['nbf as a string', 'RFC 7519 4.1.5', claim('nbf', String(now)), /nbf/],
  ['an infinite nbf', 'RFC 7519 2', append('"nbf":1e999'), /nbf/],
]

const nonce: Row[] = [
  ['another nonce', 'Core 3.1.3.7 (11), oidcc-client-test-nonce-invalid', claim('nonce', 'another'), /nonce/],
  ['no nonce', 'Core 3.1.3.7 (11)', claim('nonce', undefined), /nonce/],
  ['nonce null', 'Core 3.1.3.7 (11)', claim('nonce', null), /nonce/],
  ['an empty nonce', 'Core 3.1.3.7 (11)', claim('nonce', ''), /nonce/],
  ['nonce as an object', 'Core 3.1.3.7 (11)', claim('nonce', {}), /nonce/],
  ['nonce twice, the last one different', 'RFC 7519 4', append('"nonce":"another"'), /nonce/],
]

const header: Row[] = [
  ['a foreign key (jwk)', 'RFC 7515 4.1.3', headerKey('jwk'), /signature/],
  ['a URL of foreign keys (jku)', 'RFC 7515 4.1.2', headerKey('jku'), /signature/],
  ['a URL of a foreign certificate (x5u)', 'RFC 7515 4.1.5', headerKey('x5u'), /signature/],
  ['a foreign certificate (x5c)', 'RFC 7515 4.1.6', headerKey('x5c'), /signature/],
  ['a foreign thumbprint (x5t)', 'RFC 7515 4.1.7', headerKey('x5t'), /signature/],
  ['an unknown kid', 'Core 10.1', { kid: 'unknown' }, noKey],
  // Certification allows two ways (oidcc-client-test-kid-absent-multiple-jwks): refuse, or try all keys. Trying all
  // would let a provider choose how much we compute.
  ['no kid, with several keys', 'Core 10.1', { kid: 'absent', severalKeys: true }, /multiple matching keys/],
  ['an empty kid', 'RFC 7515 4.1.4', kid(''), noKey],
  ['kid null', 'RFC 7515 4.1.4', kid(null), noKey],
  ['kid null, and keys with kid null', 'RFC 7515 4.1.4', { ...kid(null), jwks: named(null) }, noKey],
  ['kid as a number', 'RFC 7515 4.1.4', kid(0), noKey],
  ['kid as a number, and keys with that kid', 'RFC 7515 4.1.4', { ...kid(0), jwks: named(0) }, noKey],
  ['kid as an array', 'RFC 7515 4.1.4', kid(['rsa-0']), noKey],
  ['kid as an object', 'RFC 7515 4.1.4', kid({ 'rsa-0': true }), noKey],
  ['kid in upper case', 'RFC 7515 4.1.4', kid('RSA-0'), noKey],
  ['kid with a trailing NUL', 'RFC 7515 4.1.4', kid('rsa-0\u0000'), noKey],
  ['kid as a path', 'RFC 8725 3.10', kid('../../../../dev/null'), noKey],
  ['kid as a URL', 'RFC 8725 3.10', (s) => kid(`${s.attacker.url}/key`), noKey],
  ['kid as SQL', 'RFC 8725 3.10', kid("rsa-0' union select 'key' --"), noKey],
  ['kid __proto__', 'RFC 8725 3.10', kid('__proto__'), noKey],
  ['kid constructor', 'RFC 8725 3.10', kid('constructor'), noKey],
  ['a kid of 10 KB', 'RFC 8725 3.10', kid('x'.repeat(10_000)), noKey],
  ['kid twice, the last one unknown', 'RFC 7515 4', { rawHeader: twice('"kid":"nobody"') }, noKey],
  ['alg twice, the last one none', 'RFC 7515 4', { rawHeader: twice('"alg":"none"') }, /alg/],
  ['a critical extension', 'RFC 7515 4.1.11', { header: { crit: ['x'], x: 1 } }, /crit/],
  ['an empty array of critical extensions', 'RFC 7515 4.1.11', { header: { crit: [] } }, /crit/],
  ['an unencoded payload', 'RFC 7797 6', { header: { crit: ['b64'], b64: false } }, /crit/],
  ['b64 that is not marked as critical', 'RFC 7797 6', { header: { b64: false } }, /b64/],
  // An access token or a logout token that the same key signed must never pass for an ID token.
  ['the type of an access token', 'RFC 9068 4, RFC 8725 3.11', typ('at+jwt'), /typ/],
  ['the type of an access token, as a full media type', 'RFC 9068 4', typ('application/at+jwt'), /typ/],
  ['the type of a logout token', 'Back-Channel Logout 2.4', typ('logout+jwt'), /typ/],
  ['the type of a security event', 'RFC 8417 2.3', typ('secevent+jwt'), /typ/],
  ['the type of a proof of possession', 'RFC 9449 4.2', typ('dpop+jwt'), /typ/],
  ['typ as an array', 'RFC 7515 4.1.9', typ(['JWT']), /typ/],
  ['typ null', 'RFC 7515 4.1.9', typ(null), /typ/],
  ['a header that is null', 'RFC 7515 5.2', { rawHeader: 'null' }, /Header/],
  ['a header that is an array', 'RFC 7515 5.2', { rawHeader: '[{"alg":"RS256"}]' }, /Header/],
  ['a header that is a string', 'RFC 7515 5.2', { rawHeader: '"RS256"' }, /Header/],
  ['a header that is not JSON', 'RFC 7515 5.2', { rawHeader: 'alg=RS256' }, /Header/],
  ['a header nested 100,000 levels deep', 'RFC 7515 5.2', { rawHeader: '['.repeat(100_000) }, /Header/],
]

function headerKey(name: string): Row[2] {
  return async ({ attacker }) => {
    const value = { jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB' }, x5c: ['MIIB'], x5t: 'x' }[name]
    return { signature: 'foreign-key', header: { [name]: value ?? `${attacker.url}/keys` } }
  }
}

function named(id: unknown) {
  return (keys: Record<string, unknown>[]) => keys.map((key) => ({ ...key, kid: id }))
}

function twice(member: string) {
  return (json: string) => json.replace(/\}$/, `,${member}}`)
}

const payload = (rawPayload: string | Buffer) => ({ rawPayload })
const object = /Payload/
const part = (at: number, change: (part: string) => string) => ({
  tamper: (token: string) =>
    token
      .split('.')
      .map((one, n) => (n === at ? change(one) : one))
      .join('.'),
})

const encoding: Row[] = [
  ['a signature with padding', 'RFC 7515 2', part(2, (one) => `${one}==`), /base64url|encoded/],
  ['a signature in base64 instead of base64url', 'RFC 7515 2', part(2, base64), /base64url|encoded/],
  [
    'a space in the signature',
    'RFC 7515 2',
    part(2, (one) => `${one.slice(0, 9)} ${one.slice(9)}`),
    /base64url/,
  ],
  ['a line break after the signature', 'RFC 7515 2', part(2, (one) => `${one}\r\n`), /base64url|encoded/],
  ['a space before the header', 'RFC 7515 2', part(0, (one) => ` ${one}`), /signature|base64url/],
  ['a character outside base64', 'RFC 7515 2', part(2, (one) => `${one}!`), /encoded/],
  ['an empty fourth part', 'RFC 7515 7.1', { tamper: (token) => `${token}.` }, /Invalid JWT/],
  ['a leading dot', 'RFC 7515 7.1', { tamper: (token) => `.${token}` }, /Invalid JWT/],
  ['two parts', 'RFC 7515 7.1', { tamper: (token) => token.replace(/\.[^.]*$/, '') }, /Invalid JWT/],
  ['one part', 'RFC 7515 7.1', { tamper: () => 'token' }, /Invalid JWT/],
  ['only dots', 'RFC 7515 7.1', { tamper: () => '..' }, /Header/],
  ['thousands of dots', 'RFC 7515 7.1', { tamper: () => '.'.repeat(50_000) }, /Invalid JWT/],
  // Providers cannot be configured with encryption, so encrypted tokens are never decrypted.
  ['five parts, like an encrypted token', 'Core 3.1.3.7 (1)', { tamper: (token) => `${token}.e.e` }, /JWE/],
  [
    'a nested token',
    'RFC 7519 5.2',
    { header: { cty: 'JWT' }, rawPayload: 'eyJhbGciOiJub25lIn0.e30.' },
    object,
  ],
  ['a payload that is null', 'RFC 7519 7.2', payload('null'), object],
  ['a payload that is an array', 'RFC 7519 7.2', payload('[]'), object],
  ['a payload that is a string', 'RFC 7519 7.2', payload('"x"'), object],
  ['a payload that is a number', 'RFC 7519 7.2', payload('1'), object],
  ['a payload that is not JSON', 'RFC 7519 7.2', payload('not json'), object],
  ['an empty payload', 'RFC 7519 7.2', payload(''), object],
  ['an empty object', 'Core 2', payload('{}'), /missing/],
  ['two objects', 'RFC 7519 7.2', payload('{}{}'), object],
  ['a payload nested 100,000 levels deep', 'RFC 7519 7.2', payload('['.repeat(100_000)), object],
  ['a truncated payload', 'RFC 7519 7.2', { rawPayload: (json) => json.slice(0, -9) }, object],
  [
    'claims of Object.prototype only',
    'RFC 7519 7.2',
    { rawPayload: (json) => `{"__proto__":${json}}` },
    /missing/,
  ],
]

function base64(one: string): string {
  return one.replaceAll('-', '+').replaceAll('_', '/')
}

const presence: Row[] = [
  ['no ID token', 'Core 3.1.3.3', { tokenAnswer: { id_token: undefined } }, /id_token/],
  ['an empty ID token', 'Core 3.1.3.3', { tokenAnswer: { id_token: '' } }, /id_token/],
  ['an ID token that is null', 'Core 3.1.3.3', { tokenAnswer: { id_token: null } }, /id_token/],
  [
    'an ID token that is an object',
    'Core 3.1.3.3',
    { tokenAnswer: { id_token: { sub: 'ada' } } },
    /id_token/,
  ],
  ['an ID token that is an array', 'Core 3.1.3.3', { tokenAnswer: { id_token: ['e.e.e'] } }, /id_token/],
  ['an ID token of 1 MB', 'ours', { claims: { padding: 'x'.repeat(1024 * 1024) } }, /larger than/],
]

export const idToken: Group[] = [
  { name: 'issuer of the ID token', rows: issuer },
  { name: 'audience of the ID token', rows: audience },
  { name: 'subject of the ID token', rows: subject },
  { name: 'times of the ID token', rows: times },
  { name: 'nonce of the ID token', rows: nonce },
  { name: 'header of the ID token', rediscovers: true, rows: header },
  { name: 'encoding of the ID token', rows: encoding },
  { name: 'missing, empty or large ID token', rows: presence },
]
