import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type Clock, takeClock } from '../support/clock.ts'
import { publishedSecret } from '../support/faulty-signing.ts'
import {
  type AcceptedRow,
  expectSignedIn,
  type Slug,
  slugs,
  testAcceptance,
  useRefusalScene,
} from '../support/refusals.ts'
import { signIn } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'
import { thousandKeys } from './tables/keys.ts'

// The portal must accept all that OpenID certification requires a client to accept, and all that real providers send.

const scene = useRefusalScene()
const now = Math.floor(Date.now() / 1000)

const everyProvider: AcceptedRow[] = [
  ['a valid response (oidcc-client-test)', 'Core 3.1', {}],
  [
    'claims from UserInfo (oidcc-client-test-scope-userinfo-claims)',
    'Core 5.4',
    { claimsInUserinfoOnly: true },
  ],
  ['a session id of 2000 characters', 'Back-Channel Logout 2.1', { claims: { sid: 'x'.repeat(2000) } }],
  ['no kid where one key fits (oidcc-client-test-kid-absent-single-jwks)', 'Core 10.1', { kid: 'absent' }],
]

const idToken: AcceptedRow[] = [
  [
    'the audience as an array (oidcc-client-test-valid-aud-as-array)',
    'Core 2',
    ({ provider }) => ({ claims: { aud: [provider.clientId] } }),
  ],
  ['our client ID as azp', 'Core 2', ({ provider }) => ({ claims: { azp: provider.clientId } })],
  [
    'a second audience, with our client ID as azp',
    'Core 3.1.3.7 (5)',
    ({ provider }) => ({ claims: { aud: [provider.clientId, 'b'], azp: provider.clientId } }),
  ],
  ['times with a fraction', 'RFC 7519 2', { claims: { iat: now - 0.5, exp: now + 300.5, nbf: now - 0.5 } }],
  ['a clock 25 s ahead', 'RFC 7519 4.1.4', { claims: { iat: now + 25, nbf: now + 25 } }],
  ['another announced algorithm: PS256', 'Core 3.1.3.7 (7)', { alg: 'PS256' }],
  ['another announced algorithm: ES256', 'Core 3.1.3.7 (7)', { alg: 'ES256' }],
  ['another announced algorithm: EdDSA', 'Core 3.1.3.7 (7)', { alg: 'EdDSA' }],
  ['no typ', 'RFC 7515 4.1.9', { header: { typ: undefined } }],
  ['typ as a full media type', 'RFC 7515 4.1.9', { header: { typ: 'application/jwt' } }],
  [
    'keys in the header, which the portal does not fetch',
    'Core 2',
    ({ attacker: { url } }) => ({ header: { jku: url, x5u: url, x5t: 'x' } }),
  ],
  [
    'alg twice, the last one valid',
    'RFC 7515 4',
    { rawHeader: (json) => json.replace('{', '{"alg":"none",') },
  ],
  [
    'the subject twice, the last one valid',
    'RFC 7519 4',
    { rawPayload: (json) => json.replace('{', '{"sub":"victim",') },
  ],
  [
    'a claim nested 100,000 levels deep',
    'RFC 7519 4',
    { rawPayload: (json) => json.replace('{', `{"x":${'['.repeat(1e5)}${']'.repeat(1e5)},`) },
  ],
  ['a claim of 500 KB', 'RFC 7519 4', { claims: { groups: 'x'.repeat(500_000) } }],
]

const elsewhere: AcceptedRow[] = [
  ['no iss from a provider that does not announce it', 'RFC 9207 2.4', { announceIss: false, omitIss: true }],
  ['a code of 8 KB', 'RFC 6749 4.1.2', { codeLength: 8000 }],
  ['a token type in lower case', 'RFC 6749 5.1', { tokenAnswer: { token_type: 'bearer' } }],
  ['no expires_in', 'RFC 6749 5.1', { tokenAnswer: { expires_in: undefined } }],
  ['expires_in as a string', 'RFC 6749 5.1', { tokenAnswer: { expires_in: '300' } }],
  ['unknown members', 'RFC 6749 5.1', { tokenAnswer: { constructor: 'x', admin: true } }],
  [
    'a token response with the type text/plain',
    'ours',
    { tokenResponse: { headers: { 'Content-Type': 'text/plain' } } },
  ],
  ['an informational response first (103)', 'RFC 8297 2', { tokenInformed: true }],
  [
    'a key set with the type application/jwk-set+json',
    'RFC 7517 8.5',
    { jwksResponse: { headers: { 'Content-Type': 'application/jwk-set+json' } } },
  ],
  ['a thousand keys', 'RFC 7517 5', { jwks: thousandKeys }],
  ['a symmetric key beside the valid ones', 'RFC 7517 5', { jwks: (keys) => [publishedSecret, ...keys] }],
  [
    // oidcc-client-test-ignores-unparseable-key-in-jwks
    'unusable keys beside the valid ones',
    'RFC 7517 5',
    {
      jwks: (keys) => [
        { kty: 'AKP', kid: 'a' },
        { kty: 'MAGIC', kid: 'b' },
        { kty: 'EC', crv: 'P-0', kid: 'c' },
        {},
        ...keys,
      ],
    },
  ],
  [
    'one kid for keys of several types',
    'RFC 7517 4.5',
    { jwks: (keys) => keys.map((key) => ({ ...key, kid: 'rsa-0' })) },
  ],
]

testAcceptance(scene, [
  ...(Object.keys(slugs) as Slug[]).map((slug) => ({
    name: `sign-in with the provider ${slug}`,
    slug,
    rows: everyProvider.map(withAlgorithmOf(slug)),
  })),
  { name: 'ID token', rows: idToken },
  { name: 'endpoints and keys', rediscovers: true, rows: elsewhere },
  {
    name: 'discovery document',
    rediscovers: true,
    rows: [
      [
        'only the required members (oidcc-client-test-discovery-openid-config)',
        'Discovery 3',
        { sparseDiscovery: true },
      ],
      ['unknown members', 'Discovery 3', { discovery: { roles: ['admin'], x: { y: [1] } } }],
    ],
  },
])

function withAlgorithmOf(slug: Slug) {
  const { signingAlgorithm: alg } = slugs[slug] as { signingAlgorithm?: 'PS256' | 'ES256' | 'EdDSA' }
  return ([what, clause, faults]: AcceptedRow): AcceptedRow => [
    what,
    clause,
    alg ? { alg, ...faults } : faults,
  ]
}

describe('accepted: client authentication', () => {
  const sent = () => scene.provider.requests.find(({ path }) => path === '/token')!

  it('client_secret_basic (Core 9, oidcc-client-test-client-secret-basic)', async () => {
    await signIn(scene, 'acme')
    await expectSignedIn(scene)
    expect(sent().headers.authorization).toMatch(/^Basic /)
    expect(sent().body).not.toContain('client_secret')
  })

  it('client_secret_post (Core 9)', async () => {
    await signIn(scene, 'acme-post')
    await expectSignedIn(scene)
    expect(sent().headers.authorization).toBeUndefined()
    expect(new URLSearchParams(sent().body).get('client_secret')).toBe(scene.provider.clientSecret)
  })

  it('none: PKCE alone (Core 9, RFC 7636)', async () => {
    scene.provider.faults.publicClient = true
    await scene.portal.connect(scene.provider, {
      slug: 'public',
      clientAuthentication: 'none',
      clientSecret: undefined,
    })
    await signIn(scene, 'public')
    await expectSignedIn(scene)
    expect(sent().headers.authorization).toBeUndefined()
  })

  it('the access token in the Authorization header only (RFC 6750 2.1, oidcc-client-test-userinfo-bearer-header)', async () => {
    scene.provider.faults.claimsInUserinfoOnly = true
    await scene.portal.knex('sso_identities').delete()
    await signIn(scene, 'acme')
    const asked = scene.provider.requests.find(({ path }) => path === '/userinfo')!
    expect(asked.headers.authorization).toMatch(/^Bearer [\w-]+$/)
    expect([...asked.query, asked.body]).toEqual([''])
  })
})

describe('accepted: a key rotation', () => {
  let clock: Clock
  beforeAll(() => {
    clock = takeClock()
  })
  // The cool-down after the refetch of an earlier rotation has ended.
  beforeEach(() => clock.pass(5000))
  afterAll(() => clock.back())

  it('before a sign-in (Core 10.1.1, oidcc-client-test-signing-key-rotation)', async () => {
    await signIn(scene, 'acme')
    await scene.provider.rotateKeys()
    scene.visitor = new Visitor()
    await signIn(scene, 'acme')
    await expectSignedIn(scene)
  })

  it('just before the ID token is signed (Core 10.1.1, oidcc-client-test-signing-key-rotation-just-before-signing)', async () => {
    // The suite waits between the new key and the signature, so that keys which were fetched meanwhile are too old.
    scene.provider.faults.rotatesBeforeSigning = () => clock.pass(4000)
    for (let time = 0; time < 3; time++) {
      clock.pass(5000)
      scene.visitor = new Visitor()
      scene.provider.requests.length = 0
      await signIn(scene, 'acme')
      await expectSignedIn(scene)
      const asked = scene.provider.requests.map(({ path }) => path).filter((path) => path !== '/authorize')
      expect(asked).toEqual(['/token', '/jwks'])
    }
  })

  it('several times in a row (Core 10.1.1)', async () => {
    for (let time = 0; time < 3; time++) {
      clock.pass(5000)
      await scene.provider.rotateKeys()
      scene.visitor = new Visitor()
      await signIn(scene, 'acme')
      await expectSignedIn(scene)
    }
  })
})

describe('accepted: claims beyond the identity, which have no effect', () => {
  const claims = {
    roles: ['admin'],
    role: 'admin',
    groups: ['owners'],
    wids: ['62e90394-69f5-4237-9190-012177145e10'],
    permissions: ['*'],
    scope: 'admin',
    scp: 'admin',
    admin: true,
    is_admin: true,
    active: false,
    id: 'victim',
    portal: 'another',
    userId: 'victim',
    department: 'HR',
    resource_access: { portal: { roles: ['admin'] } },
    amr: ['mfa'],
  }

  /** Everything that the portal stores about the user. */
  async function storedData() {
    const { portal, visitor } = scene
    const { body } = await visitor.get(`${portal.url}/session`)
    return {
      session: JSON.parse(body) as object,
      users: await portal.knex('sso_users').select(),
      identities: await portal.knex('sso_identities').select().where({ subject: 'ada' }),
    }
  }

  const withoutTimes = (value: object) =>
    JSON.parse(
      JSON.stringify(value, (name, one: unknown) =>
        /(_at|^since|^logoutHint|^cookie|^_csrf)$/.test(name) ? undefined : one,
      ),
    ) as object

  it.each([
    ['in the ID token (ours)', { claims }],
    ['in UserInfo (ours)', { claimsInUserinfoOnly: true, userinfoClaims: claims }],
    ['in the token response (ours)', { tokenAnswer: claims }],
    ['in the authorization response (ours)', { callbackParams: { roles: 'admin', admin: 'true' } }],
    ['a changed name and address (ours)', { claims: { name: 'Root', email: 'root@example.com' } }],
  ])('%s', async (_where, faults) => {
    await signIn(scene, 'acme')
    const before = await storedData()
    scene.visitor = new Visitor()
    Object.assign(scene.provider.faults, faults)
    await signIn(scene, 'acme')
    await expectSignedIn(scene)
    expect(withoutTimes(await storedData())).toEqual(withoutTimes(before))
  })
})

describe('accepted: an address in another spelling', () => {
  // A second account of the issuer would not be linked by the address.
  const unlink = async () => void (await scene.portal.knex('sso_identities').delete())
  beforeEach(unlink)
  afterEach(unlink)

  it.each(['ADA@EXAMPLE.COM', ' ada@example.com '])('%j, verified by the provider (ours)', async (email) => {
    scene.provider.person = { sub: `sub of ${email}`, email, email_verified: true }
    await signIn(scene, 'acme')
    await expectSignedIn(scene)
  })
})

describe('accepted: sign-ins in three tabs, finished in the order', () => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ]
  it.each(orders)('%i, %i, %i (ours)', async (...order) => {
    const { visitor, portal } = scene
    const tabs: string[] = []
    for (const tab of [0, 1, 2]) {
      const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/${tab}`)
      tabs.push((await visitor.get(start.location!)).location!)
    }
    for (const tab of order) expect((await visitor.open(tabs[tab]!)).url).toBe(`${portal.url}/portal/${tab}`)
    await expectSignedIn(scene)
  })
})
