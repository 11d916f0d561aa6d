import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type Faults, type FaultyProvider, startFaultyProvider } from './support/faulty-provider.ts'
import { startPortal, type TestPortal } from './support/portal.ts'
import { type Seen, Visitor } from './support/visitor.ts'

let provider: FaultyProvider
let other: FaultyProvider
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  provider = await startFaultyProvider()
  other = await startFaultyProvider({ clientId: 'other' })
  portal = await startPortal()
  await portal.connect(provider)
  await portal.connect(other, { slug: 'other', displayName: 'Other' })
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} }, 'default')
})
afterAll(async () => {
  await portal.close()
  await provider.close()
  await other.close()
})
beforeEach(() => {
  provider.reset()
  other.reset()
  portal.logs.length = 0
  visitor = new Visitor()
})

/** Refused with a page, a reference that stands in the log with the cause, nobody signed in, the process alive. */
async function expectRefusal(
  seen: Seen,
  { status, cause }: { status: number; cause?: RegExp },
): Promise<void> {
  expect(seen.status).toBe(status)
  expect(seen.headers.get('content-type')).toContain('text/html')
  const [, reference] = /<bdi[^>]*>([2-9A-Z]{8})<\/bdi>|([2-9A-Z]{8})/.exec(seen.body)?.filter(Boolean) ?? []
  const line = portal.logs.find(({ fields }) => fields.reference === reference)
  expect(line).toBeDefined()
  if (cause) expect(line!.fields.cause).toMatch(cause)
  expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
  const rows = await portal.knex('sso_events').where({ kind: 'refused', reference })
  expect(rows).toHaveLength(1)
  expect((await visitor.get(`${portal.url}/login`)).status).toBe(200)
}

/** Up to the provider's answer, which is not delivered yet. */
async function answer(slug = 'acme', who = visitor): Promise<URL> {
  const start = await who.get(`${portal.url}/login/${slug}`)
  return new URL((await who.get(start.location!)).location!)
}

const now = () => Math.floor(Date.now() / 1000)

type Row = [fault: string, clause: string, faults: () => Faults, status: number, cause: RegExp]

const tokenFaults: Row[] = [
  ['a bad signature', 'Core 3.1.3.7 (6)', () => ({ signature: 'bad' }), 400, /signature/],
  [
    'a signature by a foreign key',
    'Core 3.1.3.7 (6)',
    () => ({ signature: 'foreign-key' }),
    400,
    /signature/,
  ],
  ['no signature at all', 'Core 3.1.3.7 (6)', () => ({ signature: 'stripped' }), 400, /./],
  ['alg none', 'Core 3.1.3.7 (7)', () => ({ alg: 'none' }), 400, /alg/],
  ['HS256 with the public key as secret', 'RFC 8725 2.1', () => ({ alg: 'HS256-public-key' }), 400, /alg/],
  ['HS256 with the client secret', 'Core 3.1.3.7 (8)', () => ({ alg: 'HS256-client-secret' }), 400, /alg/],
  ['a good signature with another algorithm', 'Core 3.1.3.7 (7)', () => ({ alg: 'ES256' }), 400, /alg/],
  ['an unknown kid', 'Core 10.1', () => ({ kid: 'unknown' }), 400, /key/],
  [
    'no kid where there are several keys',
    'Core 10.1',
    () => ({ kid: 'absent', severalKeys: true }),
    400,
    /key/,
  ],
  [
    'a key in the header',
    'RFC 7515 4.1.3',
    () => ({ signature: 'foreign-key', header: { jwk: {} } }),
    400,
    /signature/,
  ],
  [
    'an extension that must be understood',
    'RFC 7515 4.1.11',
    () => ({ header: { crit: ['x'], x: 1 } }),
    400,
    /crit/,
  ],
  ['another issuer', 'Core 3.1.3.7 (2)', () => ({ claims: { iss: 'https://evil.example' } }), 400, /iss/],
  ['no issuer', 'Core 2', () => ({ claims: { iss: undefined } }), 400, /iss/],
  ['another audience', 'Core 3.1.3.7 (3)', () => ({ claims: { aud: 'somebody-else' } }), 400, /aud/],
  [
    'audiences without ours',
    'Core 3.1.3.7 (3)',
    () => ({ claims: { aud: ['a', 'b'], azp: 'a' } }),
    400,
    /aud/,
  ],
  ['no audience', 'Core 2', () => ({ claims: { aud: undefined } }), 400, /aud/],
  [
    'several audiences without azp',
    'Core 3.1.3.7 (4)',
    () => ({ claims: { aud: [provider.clientId, 'b'] } }),
    400,
    /aud/,
  ],
  ['another azp', 'Core 3.1.3.7 (5)', () => ({ claims: { azp: 'somebody-else' } }), 400, /azp/],
  ['an expired token', 'Core 3.1.3.7 (9)', () => ({ claims: { exp: now() - 60 } }), 400, /exp|timestamp/],
  ['no exp', 'Core 2', () => ({ claims: { exp: undefined } }), 400, /exp/],
  ['exp as text', 'Core 2', () => ({ claims: { exp: '9999999999' } }), 400, /exp/],
  ['iat in the future', 'Core 3.1.3.7 (10)', () => ({ claims: { iat: now() + 600 } }), 400, /future/],
  ['no iat', 'Core 2', () => ({ claims: { iat: undefined } }), 400, /iat/],
  ['nbf in the future', 'RFC 7519 4.1.5', () => ({ claims: { nbf: now() + 600 } }), 400, /nbf|timestamp/],
  ['another nonce', 'Core 3.1.3.7 (11)', () => ({ claims: { nonce: 'other' } }), 400, /nonce/],
  ['no nonce', 'Core 3.1.3.7 (11)', () => ({ claims: { nonce: undefined } }), 400, /nonce/],
  ['no subject', 'Core 2', () => ({ claims: { sub: undefined } }), 400, /sub/],
  ['an empty subject', 'Core 2', () => ({ claims: { sub: '' } }), 400, /sub/],
  ['a subject that is a number', 'Core 2', () => ({ claims: { sub: 42 } }), 400, /sub/],
  ['a subject of 256 characters', 'Core 2', () => ({ claims: { sub: 'x'.repeat(256) } }), 400, /subject/],
  ['a subject with a NUL', 'Core 2', () => ({ claims: { sub: 'ada\u0000' } }), 400, /subject/],
  ['a payload that is null', 'RFC 7519 7.2', () => ({ rawPayload: 'null' }), 400, /./],
  ['a payload that is an array', 'RFC 7519 7.2', () => ({ rawPayload: '[]' }), 400, /./],
  ['a payload that is text', 'RFC 7519 7.2', () => ({ rawPayload: '"x"' }), 400, /./],
  ['a payload that is not JSON', 'RFC 7519 7.2', () => ({ rawPayload: 'not json' }), 400, /./],
  ['no ID token', 'Core 3.1.3.3', () => ({ noIdToken: true }), 400, /id_token/],
  ['no access token', 'RFC 6749 5.1', () => ({ accessTokenMissing: true }), 400, /access_token/],
  ['a token answer that is HTML', 'RFC 6749 5.1', () => ({ tokenResponse: { body: '<html>' } }), 400, /./],
  ['a token answer that is empty', 'RFC 6749 5.1', () => ({ tokenResponse: { body: '' } }), 400, /./],
  ['a token answer that is null', 'RFC 6749 5.1', () => ({ tokenResponse: { body: 'null' } }), 400, /./],
  [
    'a token answer that leads elsewhere',
    'RFC 6749 5.1',
    () => ({ tokenResponse: { status: 307, headers: { location: other.issuer } } }),
    400,
    /./,
  ],
  ['a token answer of 11 MB', '–', () => ({ tokenHuge: true }), 400, /larger than/],
  ['a token answer that drops', '–', () => ({ tokenDrop: true }), 502, /./],
  [
    'a token endpoint with an error of its own',
    '–',
    () => ({ tokenResponse: { status: 500, body: 'x' } }),
    502,
    /./,
  ],
  ['keys that are HTML', 'RFC 7517 5', () => ({ jwksResponse: { body: '<html>' } }), 400, /./],
  ['keys that are an empty set', 'RFC 7517 5', () => ({ jwksResponse: { body: '{"keys":[]}' } }), 400, /key/],
  ['keys of 11 MB', '–', () => ({ jwksHuge: true }), 400, /larger than/],
  [
    'UserInfo of another subject',
    'Core 5.3.2',
    () => ({ claimsInUserinfoOnly: true, userinfoClaims: { sub: 'victim' } }),
    400,
    /sub/,
  ],
  [
    'UserInfo without a subject',
    'Core 5.3.2',
    () => ({ claimsInUserinfoOnly: true, userinfoClaims: { sub: undefined } }),
    400,
    /sub/,
  ],
  [
    'UserInfo that is not JSON',
    'Core 5.3.2',
    () => ({ claimsInUserinfoOnly: true, userinfoResponse: { body: 'eyJ.not.json' } }),
    400,
    /./,
  ],
  [
    'a wrong client secret',
    'RFC 6749 5.2',
    () => ({
      tokenError: { status: 401, body: { error: 'invalid_client', error_description: 'bad secret' } },
    }),
    502,
    /invalid_client: bad secret/,
  ],
  [
    'another iss in the answer',
    'RFC 9207 2.4',
    () => ({ callbackParams: { iss: 'https://evil.example' } }),
    400,
    /iss/,
  ],
  ['no iss though promised', 'RFC 9207 2.4', () => ({ omitIss: true }), 400, /iss/],
  [
    'neither code nor error',
    'RFC 6749 4.1.2',
    () => ({ callbackParams: { code: undefined } }),
    400,
    /neither/,
  ],
  ['code and error', 'RFC 6749 4.1.2', () => ({ callbackParams: { error: 'x' } }), 400, /neither/],
  ['the code twice', 'RFC 6749 3.1', () => ({ callbackParams: { code: ['a', 'b'] } }), 400, /twice/],
  ['a wrong code', 'RFC 6749 5.2', () => ({ callbackParams: { code: 'guessed' } }), 400, /invalid_grant/],
  ['an ID token in the answer', 'Core 3.1.2.5', () => ({ callbackParams: { id_token: 'e.e.e' } }), 400, /./],
  ['a JARM answer', 'JARM 2.3.1', () => ({ callbackParams: { response: 'e.e.e' } }), 400, /./],
  [
    'access_denied',
    'RFC 6749 4.1.2.1',
    () => ({ authorizeError: { error: 'access_denied', error_description: '<b>no</b>' } }),
    403,
    /access_denied/,
  ],
  [
    'server_error',
    'RFC 6749 4.1.2.1',
    () => ({ authorizeError: { error: 'server_error', error_description: '<b>no</b>' } }),
    502,
    /server_error/,
  ],
  ['no state', 'RFC 6749 10.12', () => ({ callbackParams: { state: undefined } }), 400, /state/],
  [
    'a guessed state',
    'RFC 6749 10.12',
    () => ({ callbackParams: { state: 'guessed' } }),
    400,
    /no such attempt/,
  ],
]

describe('an answer is refused when it comes with', () => {
  it.each(tokenFaults)('%s (%s)', async (_fault, _clause, faults, status, cause) => {
    Object.assign(provider.faults, faults())
    const seen = await visitor.open(`${portal.url}/login/acme`)
    await expectRefusal(seen, { status, cause })
    // The provider's own text is never shown.
    expect(seen.body).not.toContain('<b>no</b>')
    expect(seen.body).not.toContain('bad secret')
  })
})

describe('a provider that does not answer', () => {
  it.each(['tokenHang', 'tokenTrickle', 'jwksHang'] as const)(
    '%s: an error page within 10 s',
    async (fault) => {
      provider.faults[fault] = true
      await expectRefusal(await visitor.open(`${portal.url}/login/acme`), { status: 502 })
    },
  )
})

describe('an attacker who', () => {
  it('replays the answer in the same browser is not signed in a second time', async () => {
    const callback = (await answer()).href
    await visitor.open(callback)
    await visitor.post(`${portal.url}/logout`)
    await expectRefusal(await visitor.open(callback), { status: 400, cause: /no such attempt/ })
  })

  it('replays answer and cookies from before is refused by the provider, whose codes are good once', async () => {
    const callback = (await answer()).href
    const thief = visitor.clone()
    await visitor.open(callback)
    await visitor.post(`${portal.url}/logout`)
    visitor = thief
    await expectRefusal(await visitor.open(callback), { status: 400, cause: /invalid_grant/ })
  })

  it('sends his own answer to a victim (login CSRF) signs nobody in', async () => {
    const callback = (await answer('acme', new Visitor())).href
    await expectRefusal(await visitor.open(callback), { status: 400, cause: /no such attempt/ })
  })

  it('forges an error without an attempt gets a page that says nothing of his', async () => {
    const seen = await visitor.open(
      `${portal.url}/login/acme/callback?error=access_denied&error_description=Call+0900&state=x`,
    )
    await expectRefusal(seen, { status: 400 })
    expect(seen.body).not.toContain('0900')
  })

  it('sends a bare callback gets a page, never a new round', async () => {
    const seen = await visitor.get(`${portal.url}/login/acme/callback`)
    await expectRefusal(seen, { status: 400, cause: /no state/ })
  })

  it.each(['code=stolen', 'error=access_denied', 'code[x]=1', 'error=a&error=b'])(
    'sends an answer to the start of a sign-in (%s) is refused there',
    async (query) => {
      const seen = await visitor.get(`${portal.url}/login/acme?${query}&state=x`)
      // Where the host's parser does not read brackets as nesting it is just an unknown parameter.
      if (query.includes('[') && seen.status === 302) return
      await expectRefusal(seen, { status: 400, cause: /start of a sign-in/ })
    },
  )

  it("delivers one provider's answer at another provider's callback (mix-up) is refused", async () => {
    const { search } = await answer('acme')
    const seen = await visitor.open(`${portal.url}/login/other/callback${search}`)
    await expectRefusal(seen, { status: 400, cause: /another provider/ })
  })

  it('delivers an answer of a colluding provider under an honest one (mix-up) is stopped by iss', async () => {
    const theirs = await answer('other')
    const ours = await answer('acme')
    ours.searchParams.set('code', theirs.searchParams.get('code')!)
    ours.searchParams.set('iss', other.issuer)
    await expectRefusal(await visitor.open(ours.href), { status: 400, cause: /iss/ })
  })

  it('injects a stolen code into his own attempt is stopped by PKCE', async () => {
    const victims = await answer('acme', new Visitor())
    const own = await answer('acme')
    own.searchParams.set('code', victims.searchParams.get('code')!)
    await expectRefusal(await visitor.open(own.href), { status: 400, cause: /invalid_grant/ })
  })

  it('forges or cuts the cookie of an attempt has none', async () => {
    const callback = (await answer()).href
    const jar = visitor.cookies.get(portal.url)!
    for (const [name, value] of [...jar]) jar.set(name, `${value.slice(0, -2)}xx`)
    await expectRefusal(await visitor.open(callback), { status: 400, cause: /no such attempt/ })
  })

  it('renames the cookie of one attempt to another has none', async () => {
    const callback = await answer()
    const jar = visitor.cookies.get(portal.url)!
    const [[name, value]] = [...jar] as [[string, string]]
    const renamed = `${name.slice(0, -3)}AAA`
    jar.clear()
    jar.set(renamed, value)
    callback.searchParams.set('state', renamed.replace('sso-attempt-', ''))
    await expectRefusal(await visitor.open(callback.href), { status: 400, cause: /no such attempt/ })
  })

  it('vouches for nothing but claims a known address (nOAuth) is told to ask, and nothing is linked', async () => {
    for (const email_verified of [false, undefined, 'false', 1, 'TRUE', { toString: 'true' }]) {
      visitor = new Visitor()
      provider.person = { sub: 'mallory', email: 'ada@example.com', email_verified, name: 'Mallory' }
      const seen = await visitor.open(`${portal.url}/login/acme`)
      await expectRefusal(seen, { status: 403, cause: /does not vouch/ })
    }
    expect(await portal.knex('sso_identities').where({ subject: 'mallory' })).toHaveLength(0)
  })

  it('learns nothing about who has an account: the refusal reads the same for an unknown address', async () => {
    const read = async (email: string) => {
      provider.person = { sub: 'mallory', email, email_verified: false, name: 'Mallory' }
      const { status, body } = await new Visitor().open(`${portal.url}/login/acme`)
      return { status, body: body.replace(/[2-9A-Z]{8}/g, '').replaceAll(/returnTo=[^"]*/g, '') }
    }
    expect(await read('ada@example.com')).toEqual(await read('nobody@example.com'))
  })

  it.each(['ADA@EXAMPLE.COM', ' ada@example.com '])(
    'and %j is the same address, when vouched for',
    async (email) => {
      provider.person = { sub: `sub of ${email}`, email, email_verified: true }
      await visitor.open(`${portal.url}/login/acme`)
      expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
    },
  )

  it.each([
    'ad\u0430@example.com',
    'ada@ex\u0430mple.com',
    'ada+x@example.com',
    'ada@example.com\u0000',
    'ada@example.co',
  ])('comes with the look-alike %j does not reach the account', async (email) => {
    provider.person = {
      sub: `sub of ${JSON.stringify(email)}`.replace(/[^ -~]/g, '?'),
      email,
      email_verified: true,
    }
    await visitor.open(`${portal.url}/login/acme`)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
  })

  it('runs a provider of one company cannot vouch for addresses of another', async () => {
    await portal.connect(other, { slug: 'limited', emailDomains: ['other.example'], trustsEmail: true })
    other.person = { sub: 'mallory', email: 'ada@example.com', email_verified: true }
    await expectRefusal(await visitor.open(`${portal.url}/login/limited`), {
      status: 403,
      cause: /does not vouch/,
    })
    await portal.sso.providers.remove('limited')
  })
})

describe('a discovery document', () => {
  it('whose endpoint cannot stand in a header ends neither the process nor the request', async () => {
    const odd = await startFaultyProvider()
    odd.faults.discovery = { authorization_endpoint: `${odd.issuer}/autoris\u4e00ation` }
    await portal.connect(odd, { slug: 'odd' })
    const { status, location } = await visitor.get(`${portal.url}/login/odd`)
    expect([status, new URL(location!).pathname]).toEqual([302, '/autoris%E4%B8%80ation'])
    await odd.close()
  })

  it('sends the person to the host that was checked, however another parser would read it', async () => {
    const odd = await startFaultyProvider()
    odd.faults.discovery = { authorization_endpoint: 'https://ex%61mple.com/authorize' }
    await portal.connect(odd, { slug: 'percent' })
    const { location } = await visitor.get(`${portal.url}/login/percent`)
    expect(location).toMatch(/^https:\/\/example\.com\/authorize\?/)
    await odd.close()
  })
})

describe('after all that', () => {
  it('neither logs nor events hold a token, a code or a secret', async () => {
    const events = JSON.stringify(await portal.knex('sso_events'))
    const logged = JSON.stringify(portal.logs)
    for (const text of [events, logged]) {
      expect(text).not.toMatch(/eyJ[\w-]{10,}\./)
      expect(text).not.toContain(provider.clientSecret)
    }
  })

  it('an honest sign-in still works', async () => {
    await visitor.open(`${portal.url}/login/acme`)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  })
})
