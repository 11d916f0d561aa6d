import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { CompactEncrypt } from 'jose'
import type { Claims } from '../support/faulty-provider.ts'
import type { SigningFaults } from '../support/faulty-signing.ts'
import { logoutEvent } from '../support/logout-token.ts'
import type { TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const other = await useProvider()
let portal: TestPortal
/** ID of the provider's session, new for each test because an ended one stays ended */
let sid: string

beforeAll(async () => {
  portal = await startPortalWithAda(provider)
  await portal.sso.providers.update('acme', { signingAlgorithm: 'RS256' })
})
afterAll(async () => {
  await portal.close()
})
beforeEach(() => {
  portal.logs.length = 0
  sid = randomUUID()
})

const now = () => Math.floor(Date.now() / 1000)

function rightClaims(): Claims {
  return {
    iss: provider.issuer,
    aud: provider.clientId,
    iat: now(),
    exp: now() + 120,
    jti: randomUUID(),
    sub: 'ada',
    sid,
    events: { [logoutEvent]: {} },
  }
}

/** Signs a valid token with these claims changed (`undefined` removes one) and these faults. */
const signed = (claims: Claims = {}, faults: SigningFaults = {}) =>
  provider.sign({ ...rightClaims(), ...claims }, faults)

const withClaims = (claims: () => Claims) => () => signed(claims())
const withFaults = (faults: SigningFaults) => () => signed({}, faults)
const withPayload = (rawPayload: string) => () => signed({}, { rawPayload })

async function signIn(): Promise<Visitor> {
  provider.person.sid = sid
  const visitor = new Visitor()
  await visitor.open(`${portal.url}/login/acme`)
  expect(await isIn(visitor)).toBe(true)
  return visitor
}

const isIn = async (visitor: Visitor) => (await visitor.get(`${portal.url}/portal`)).status === 200

const post = (body: BodyInit, { slug = 'acme', query = '', headers = {} } = {}) =>
  fetch(`${portal.url}/logout/${slug}/backchannel${query}`, { method: 'POST', body, headers })

const deliver = (token: string) => post(new URLSearchParams({ logout_token: token }))

/** 400 that says nothing, the exact reason for the operator only, and the session lives. */
async function expectRefusal(answer: Response, reason: RegExp, visitor: Visitor): Promise<string> {
  expect(answer.status).toBe(400)
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(await answer.json()).toEqual({
    error: 'invalid_request',
    error_description: 'The logout token was refused.',
  })
  const [line, ...more] = portal.logs
  expect(more).toEqual([])
  expect(line).toMatchObject({ level: 'warn', message: 'a logout token was refused' })
  expect(line!.fields.cause).toMatch(reason)
  expect(await isIn(visitor)).toBe(true)
  return String(line!.fields.reference)
}

type Row = [fault: string, clause: string, token: () => Promise<string>, reason: RegExp]

const form: Row[] = [
  ['an encrypted token', 'Back-Channel Logout 2.6 (1)', encrypted, /^it is not a JWS in three parts$/],
  [
    'no signature',
    'Back-Channel Logout 2.6 (2)',
    withFaults({ signature: 'stripped' }),
    /^it is not a JWS in three parts$/,
  ],
  [
    'text that is not a token',
    'Back-Channel Logout 2.5',
    async () => 'logout',
    /^it is not a JWS in three parts$/,
  ],
  ['an empty token', 'Back-Channel Logout 2.5', async () => '', /^it is not a JWS in three parts$/],
  ['a header that is not JSON', 'RFC 7515 5.2 (3)', withHeader('{'), /^its header cannot be read: /],
  ['a header that is an array', 'RFC 7515 4', withHeader('[]'), /^its header cannot be read: /],
]

const signature: Row[] = [
  [
    'alg none',
    'Back-Channel Logout 2.6 (3)',
    async () => `${await signed({}, { alg: 'none' })}AAAA`,
    /^its alg is not/,
  ],
  [
    'HS256 with the public key as secret',
    'RFC 8725 2.1',
    withFaults({ alg: 'HS256-public-key' }),
    /^its alg is not/,
  ],
  [
    'HS256 with the client secret',
    'Back-Channel Logout 2.6 (3)',
    withFaults({ alg: 'HS256-client-secret' }),
    /^its alg is not/,
  ],
  [
    'another algorithm of the provider (ES256)',
    'Back-Channel Logout 2.6 (3)',
    withFaults({ alg: 'ES256' }),
    /^its alg is not the/,
  ],
  [
    'another algorithm of the same key (PS256)',
    'Back-Channel Logout 2.6 (3)',
    withFaults({ alg: 'PS256' }),
    /^its alg is not the/,
  ],
  [
    'no alg',
    'RFC 7515 4.1.1',
    withFaults({ header: { alg: undefined } }),
    /^its alg is not the registered RS256$/,
  ],
  [
    'a bad signature',
    'Back-Channel Logout 2.6 (2)',
    withFaults({ signature: 'bad' }),
    /^it is not signed with a key of the provider: .*verification failed/,
  ],
  [
    'the signature of a foreign key',
    'Back-Channel Logout 2.6 (2)',
    withFaults({ signature: 'foreign-key' }),
    /^it is not signed with a key of the provider/,
  ],
  [
    'an unknown kid',
    'Core 10.1',
    withFaults({ kid: 'unknown' }),
    /^it is not signed with a key of the provider: .*no applicable key/,
  ],
  [
    'no kid, with several matching keys',
    'Core 10.1',
    severalKeys,
    /^it is not signed with a key of the provider: .*multiple matching keys/,
  ],
  [
    'a key that is no longer published',
    'Core 10.1.1',
    rotatedAway,
    /^it is not signed with a key of the provider: .*no applicable key/,
  ],
  [
    'a token of another provider',
    'RFC 8725 3.8',
    otherProvider,
    /^it is not signed with a key of the provider/,
  ],
  ...['jwk', 'jku', 'x5u', 'x5c'].map(
    (member): Row => [
      `a foreign key in ${member}`,
      'RFC 8725 3.10',
      withFaults({ signature: 'foreign-key', header: { [member]: keyFrom(member) } }),
      /^it is not signed with a key of the provider/,
    ],
  ),
  ['a critical extension', 'RFC 7515 4.1.11', withFaults({ header: { crit: ['x'], x: 1 } }), /\(crit\)$/],
  [
    'an unencoded payload',
    'RFC 7797 7',
    withFaults({ header: { crit: ['b64'], b64: false } }),
    /^it has unsupported critical extensions/,
  ],
]

const kind: Row[] = [
  [
    'the typ of an access token',
    'Back-Channel Logout 4.1',
    withFaults({ header: { typ: 'at+jwt' } }),
    /^its typ is for another kind/,
  ],
  [
    'the typ of another event',
    'Back-Channel Logout 4.1',
    withFaults({ header: { typ: 'secevent+jwt' } }),
    /^its typ is for another kind/,
  ],
  [
    'a typ that is a number',
    'RFC 7515 4.1.9',
    withFaults({ header: { typ: 1 } }),
    /^its typ is for another kind/,
  ],
  ['an ID token', 'Back-Channel Logout 2.4', idToken, /^it has a nonce/],
  [
    'an ID token with events',
    'Back-Channel Logout 2.6 (7)',
    withClaims(() => ({ nonce: 'n' })),
    /^it has a nonce/,
  ],
  [
    'a nonce that is null',
    'Back-Channel Logout 2.6 (7)',
    withClaims(() => ({ nonce: null })),
    /^it has a nonce/,
  ],
  [
    'a payload that is not JSON',
    'RFC 7519 7.2 (10)',
    withPayload('logout'),
    /^its payload cannot be read: not valid/,
  ],
  ['a nested token', 'Back-Channel Logout 2.6 (1)', nested, /^its payload cannot be read: not valid JSON$/],
  ...['null', '[]', '"logout"', '1'].map(
    (payload): Row => [
      `the payload ${payload}`,
      'RFC 7519 7.2 (10)',
      withPayload(payload),
      /^its payload is not a JSON object$/,
    ],
  ),
]

const claims: Row[] = [
  [
    'another issuer',
    'Back-Channel Logout 2.6 (4)',
    withClaims(() => ({ iss: 'https://evil.example' })),
    /\(iss\)/,
  ],
  [
    'the issuer with an extra slash',
    'Back-Channel Logout 2.6 (4)',
    withClaims(() => ({ iss: `${provider.issuer}/` })),
    /\(iss\)/,
  ],
  ['several issuers', 'RFC 7519 4.1.1', withClaims(() => ({ iss: [provider.issuer] })), /\(iss\)/],
  ['no issuer', 'Back-Channel Logout 2.4', withClaims(() => ({ iss: undefined })), /\(iss\)/],
  [
    'another audience',
    'Back-Channel Logout 2.6 (4)',
    withClaims(() => ({ aud: 'somebody-else' })),
    /^its audience is not this client \(aud\)$/,
  ],
  [
    'audiences without ours',
    'Back-Channel Logout 2.6 (4)',
    withClaims(() => ({ aud: ['a', 'b'] })),
    /^its audience is not this client \(aud\)$/,
  ],
  [
    'no audience',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ aud: undefined })),
    /^its audience is not this client \(aud\)$/,
  ],
  [
    'an empty array of audiences',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ aud: [] })),
    /^its audience is not this client \(aud\)$/,
  ],
  [
    'an audience that is an object',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ aud: {} })),
    /^its audience is not this client \(aud\)$/,
  ],
  [
    'further audiences without azp',
    'Core 3.1.3.7 (4)',
    withClaims(() => ({ aud: [provider.clientId, 'b'] })),
    /^it has other audiences too/,
  ],
  [
    'further audiences, with one of them as azp',
    'Core 3.1.3.7 (5)',
    withClaims(() => ({ aud: [provider.clientId, 'b'], azp: 'b' })),
    /\(azp\)/,
  ],
  [
    'another azp',
    'Core 3.1.3.7 (5)',
    withClaims(() => ({ azp: 'b' })),
    /^it was issued to another client \(azp\)$/,
  ],
  [
    'no iat',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ iat: undefined })),
    /^it has no valid time of issue/,
  ],
  [
    'iat as a string',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ iat: String(now()) })),
    /^it has no valid time of issue/,
  ],
  [
    'iat in the future',
    'Back-Channel Logout 2.6 (4)',
    withClaims(() => ({ iat: now() + 90 })),
    /^it was issued in the future/,
  ],
  [
    'iat long ago',
    'Core 3.1.3.7 (10)',
    withClaims(() => ({ iat: now() - 400 })),
    /^it was issued too long ago/,
  ],
  [
    'neither exp nor iat',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ exp: undefined, iat: undefined })),
    /^it has no valid time of issue/,
  ],
  [
    'no exp, and an iat long ago',
    'Core 3.1.3.7 (10)',
    withClaims(() => ({ exp: undefined, iat: now() - 400 })),
    /^it was issued too long ago/,
  ],
  [
    'exp as a string',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ exp: String(now() + 120) })),
    /^it has no valid expiry time/,
  ],
  [
    'an expired token',
    'Back-Channel Logout 2.6 (4)',
    withClaims(() => ({ exp: now() - 60 })),
    /^it has expired/,
  ],
  ['nbf in the future', 'RFC 7519 4.1.5', withClaims(() => ({ nbf: now() + 90 })), /^it is not valid yet/],
  ['nbf as a string', 'RFC 7519 4.1.5', withClaims(() => ({ nbf: 'now' })), /^it is not valid yet/],
  [
    'neither sub nor sid',
    'Back-Channel Logout 2.6 (5)',
    withClaims(() => ({ sub: undefined, sid: undefined })),
    /^it names neither/,
  ],
  ['a sub that is a number', 'RFC 7519 4.1.2', withClaims(() => ({ sub: 7 })), /^its sub is not/],
  [
    'neither a sub nor a sid that is not null or empty',
    'Back-Channel Logout 2.6 (5)',
    withClaims(() => ({ sub: null, sid: '' })),
    /^it names neither/,
  ],
  ['a sub of 256 characters', 'Core 2', withClaims(() => ({ sub: 'a'.repeat(256) })), /^its sub is not/],
  ['a sub with a NUL', 'Core 2', withClaims(() => ({ sub: 'ada\0' })), /^its sub is not/],
  [
    'a sid that is an array',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ sid: ['session-1'] })),
    /^its sid is not/,
  ],
  [
    'no events',
    'Back-Channel Logout 2.6 (6)',
    withClaims(() => ({ events: undefined })),
    /^its events are not a JSON object$/,
  ],
  [
    'events that are null',
    'Back-Channel Logout 2.6 (6)',
    withClaims(() => ({ events: null })),
    /^its events are not a JSON object$/,
  ],
  [
    'events as an array',
    'Back-Channel Logout 2.6 (6)',
    withClaims(() => ({ events: [logoutEvent] })),
    /^its events are not a JSON object$/,
  ],
  [
    'events as a string',
    'Back-Channel Logout 2.6 (6)',
    withClaims(() => ({ events: logoutEvent })),
    /^its events are not a JSON object$/,
  ],
  [
    'another event',
    'Back-Channel Logout 2.6 (6)',
    withClaims(() => ({ events: { other: {} } })),
    /^its events contain no valid logout event/,
  ],
  [
    'an inherited event',
    'Back-Channel Logout 2.6 (6)',
    inheritedEvent,
    /^its events contain no valid logout event$/,
  ],
  ...[null, true, 'yes', []].map(
    (value): Row => [
      `an event that is ${JSON.stringify(value)}`,
      'Back-Channel Logout 2.4',
      withClaims(() => ({ events: { [logoutEvent]: value } })),
      /^its events contain no valid logout event$/,
    ],
  ),
  ['no jti', 'Back-Channel Logout 2.4', withClaims(() => ({ jti: undefined })), /^it has no id \(jti\)$/],
  ['an empty jti', 'Back-Channel Logout 2.4', withClaims(() => ({ jti: '' })), /^it has no id \(jti\)$/],
  [
    'a jti that is a number',
    'Back-Channel Logout 2.4',
    withClaims(() => ({ jti: 1 })),
    /^it has no id \(jti\)$/,
  ],
  ['a replayed token', 'Back-Channel Logout 2.6 (8)', replayed(), /^it was received before \(jti\)$/],
  [
    'a replayed token without exp',
    'Back-Channel Logout 2.6 (8)',
    replayed({ exp: undefined }),
    /^it was received before \(jti\)$/,
  ],
]

function withHeader(header: string) {
  return async () => {
    const [, ...others] = (await signed()).split('.')
    return [Buffer.from(header).toString('base64url'), ...others].join('.')
  }
}

async function encrypted(): Promise<string> {
  return await new CompactEncrypt(Buffer.from(await signed()))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', cty: 'JWT' })
    .encrypt(new Uint8Array(32))
}

async function nested(): Promise<string> {
  return await signed({}, { header: { cty: 'JWT' }, rawPayload: await signed() })
}

/** Makes the portal fetch the keys again, and ends the cool-down that earlier tokens started. */
async function dropCachedKeys(): Promise<void> {
  await portal.sso.providers.enable('acme')
}

async function severalKeys(): Promise<string> {
  await dropCachedKeys()
  provider.faults.severalKeys = true
  return await signed({}, { kid: 'absent', severalKeys: true })
}

async function rotatedAway(): Promise<string> {
  const token = await signed()
  await provider.rotateKeys()
  await dropCachedKeys()
  return token
}

/** The other provider has given the portal the same client ID, and copies all claims of the first. */
async function otherProvider(): Promise<string> {
  return await other.sign(rightClaims())
}

/** An ID token, which any user of the provider can obtain. */
async function idToken(): Promise<string> {
  return await signed({ events: undefined, jti: undefined, nonce: 'n' })
}

async function inheritedEvent(): Promise<string> {
  const { events: _, ...others } = rightClaims()
  const rawPayload = `${JSON.stringify(others).slice(0, -1)},"events":{"__proto__":{"${logoutEvent}":{}}}}`
  return await signed({}, { rawPayload })
}

/** An attacker has recorded this token when it ended another user's session. */
function replayed(claims: Claims = {}) {
  return async () => {
    const token = await signed({ sub: 'somebody-else', sid: undefined, ...claims })
    expect((await deliver(token)).status).toBe(200)
    return token
  }
}

function keyFrom(member: string): unknown {
  const address = 'https://evil.example/keys'
  return { jwk: { kty: 'RSA', e: 'AQAB', n: 'AQAB' }, jku: address, x5u: address, x5c: ['AQAB'] }[member]
}

describe('refused: logout token', () => {
  let visitor: Visitor

  beforeEach(async () => {
    visitor = await signIn()
    portal.logs.length = 0
  })

  it.each([...form, ...signature, ...kind, ...claims])('%s (%s)', async (_fault, _clause, make, reason) => {
    const token = await make()
    portal.logs.length = 0
    const reference = await expectRefusal(await deliver(token), reason, visitor)
    const [refusal, ...more] = await portal.knex('sso_events').where({ kind: 'sign-in-failed', reference })
    expect(more).toEqual([])
    expect(refusal).toMatchObject({ portal: 'default', provider: 'acme', user_id: null })
    const { code, reason: written } = JSON.parse(refusal.detail)
    expect(code).toBe('logout_token_invalid')
    expect(written).toMatch(reason)
    // No part of the token is stored: it could be a user's ID token.
    const kept = JSON.stringify([portal.logs, refusal])
    for (const part of token.split('.').filter(({ length }) => length > 8)) expect(kept).not.toContain(part)
  })
})

describe('refused: logout request', () => {
  let visitor: Visitor

  beforeEach(async () => {
    visitor = await signIn()
    portal.logs.length = 0
  })

  const one = async () => new URLSearchParams({ logout_token: await signed() })
  const rows: [fault: string, clause: string, send: () => Promise<Response>, reason: RegExp][] = [
    [
      'no logout token',
      'Back-Channel Logout 2.5',
      () => post(new URLSearchParams({ token: 'x' })),
      /^the form does not have exactly one logout_token/,
    ],
    [
      'no body',
      'Back-Channel Logout 2.5',
      () => post(''),
      /^the form does not have exactly one logout_token/,
    ],
    [
      'two logout tokens',
      'RFC 6749 3.1',
      async () => post(new URLSearchParams(`${await one()}&${await one()}`)),
      /^the form does not have exactly one logout_token/,
    ],
    [
      'the logout token in the URL',
      'Back-Channel Logout 2.5',
      async () => post('', { query: `?${await one()}` }),
      /^the form does not have exactly one logout_token/,
    ],
    [
      'the logout token in JSON',
      'Back-Channel Logout 2.5',
      async () =>
        post(JSON.stringify({ logout_token: await signed() }), {
          headers: { 'content-type': 'application/json' },
        }),
      /^the form does not have exactly one logout_token/,
    ],
    [
      'more than 64 KB',
      'ours',
      () => post(new URLSearchParams({ logout_token: 'x'.repeat(70_000) })),
      /too large/,
    ],
    [
      'more than 100 parameters',
      'ours',
      async () => post(new URLSearchParams(`${await one()}${'&a=b'.repeat(101)}`)),
      /too many parameters/,
    ],
    [
      'the logout token in an unknown encoding',
      'RFC 9110 8.4',
      async () => post(await one(), { headers: { 'content-encoding': 'x' } }),
      /unsupported content encoding/,
    ],
    [
      'the logout token as gzip that is not',
      'RFC 9110 8.4.1',
      async () => post(await one(), { headers: { 'content-encoding': 'gzip' } }),
      /Z_DATA_ERROR/,
    ],
    [
      'an unknown provider',
      'Back-Channel Logout 2.2',
      async () => post(await one(), { slug: 'nobody' }),
      /^no provider of this portal sent it/,
    ],
    [
      'an impossible slug',
      'Back-Channel Logout 2.2',
      async () => post(await one(), { slug: '%00' }),
      /^no provider of this portal sent it/,
    ],
  ]

  it.each(rows)('%s (%s)', async (_fault, _clause, send, reason) => {
    await expectRefusal(await send(), reason, visitor)
  })

  it('never logs an unknown slug, because it could be pasted personal data', async () => {
    const answer = await post(await one(), { slug: 'nobody-of-this-name' })
    await expectRefusal(answer, /^no provider of this portal sent it/, visitor)
    const written = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
    expect(JSON.stringify([portal.logs, written])).not.toContain('nobody-of-this-name')
  })
})

describe('accepted: logout token', () => {
  const rows: [what: string, clause: string, token: () => Promise<string>][] = [
    ['with sub and sid', 'Back-Channel Logout 2.4', () => signed()],
    ['with sub only', 'Back-Channel Logout 2.4', withClaims(() => ({ sid: undefined }))],
    ['with sid only', 'Back-Channel Logout 2.4', withClaims(() => ({ sub: undefined }))],
    [
      'with our audience in an array',
      'Back-Channel Logout 2.6 (4)',
      withClaims(() => ({ aud: [provider.clientId] })),
    ],
    [
      'with further audiences, and our client ID as azp',
      'Core 3.1.3.7 (4)',
      withClaims(() => ({ aud: ['b', provider.clientId], azp: provider.clientId })),
    ],
    ['without exp, issued just now (Hydra)', 'ours', withClaims(() => ({ exp: undefined }))],
    [
      'without exp, issued five minutes ago',
      'ours',
      withClaims(() => ({ exp: undefined, iat: now() - 300 })),
    ],
    ['with typ logout+jwt', 'Back-Channel Logout 2.4', withFaults({ header: { typ: 'logout+jwt' } })],
    [
      'with typ in another spelling',
      'RFC 7515 4.1.9',
      withFaults({ header: { typ: 'application/LOGOUT+JWT' } }),
    ],
    ['without typ', 'Back-Channel Logout 2.4', withFaults({ header: { typ: undefined } })],
    ['without kid, with one matching key', 'Core 10.1', withFaults({ kid: 'absent' })],
    ['with the new key just after a rotation', 'Core 10.1.1', afterRotation],
    ['with an empty sub beside a sid', 'ours', withClaims(() => ({ sub: '' }))],
    ['with a sid that is null beside a sub', 'ours', withClaims(() => ({ sid: null }))],
    ['with unknown claims', 'Back-Channel Logout 2.4', withClaims(() => ({ roles: ['admin'], toe: 'x' }))],
    [
      'with further members in the events',
      'Back-Channel Logout 2.4',
      withClaims(() => ({ events: { [logoutEvent]: { a: 1 }, other: {} } })),
    ],
    [
      'from a clock that is 20 s ahead',
      'Back-Channel Logout 2.6 (4)',
      withClaims(() => ({ iat: now() + 20 })),
    ],
    [
      'expired for 20 s, from a clock that is behind',
      'Back-Channel Logout 2.6 (4)',
      withClaims(() => ({ exp: now() - 20 })),
    ],
  ]

  async function afterRotation(): Promise<string> {
    await dropCachedKeys()
    await signIn()
    await provider.rotateKeys()
    return await signed()
  }

  it.each(rows)('%s (%s)', async (_what, _clause, make) => {
    const visitor = await signIn()
    const answer = await deliver(await make())
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(await isIn(visitor)).toBe(false)
  })
})

it.each([
  ['of 2000 characters', 'x'.repeat(2000)],
  ['outside ASCII', 'sitzung-\u00e4'],
])('accepted: logout token with a sid %s (Back-Channel Logout 2.1)', async (_what, long) => {
  sid = long
  const [visitor, other] = [await signIn(), await signIn()]
  sid = `${long}2`
  const bystander = await signIn()
  expect((await deliver(await signed({ sid: long, sub: undefined }))).status).toBe(200)
  expect([await isIn(visitor), await isIn(other), await isIn(bystander)]).toEqual([false, false, true])
})

describe('accepted: logout token of a provider whose settings pin no algorithm', () => {
  it.each([
    [{}, 200],
    [{ alg: 'ES256' }, 200],
    [{ alg: 'PS256' }, 200],
    // The provider announces it no more.
    [{ alg: 'EdDSA' }, 400],
    [{ alg: 'HS256-client-secret' }, 400],
    [{ alg: 'none' }, 400],
  ] as const)('signed with %j: %i (Back-Channel Logout 2.6 (3))', async (faults, status) => {
    const announced = ['RS256', 'PS256', 'ES256', 'HS256', 'none']
    provider.faults.discovery = { id_token_signing_alg_values_supported: announced }
    await portal.sso.providers.update('acme', { signingAlgorithm: null })
    const visitor = await signIn()
    expect((await deliver(await signed({}, faults))).status).toBe(status)
    expect(await isIn(visitor)).toBe(status !== 200)
    await portal.sso.providers.update('acme', { signingAlgorithm: 'RS256' })
  })
})
