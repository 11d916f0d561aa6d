import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createClient, type RedisClientType } from 'redis'
import {
  type Faults,
  type FaultyProvider,
  type ReceivedRequest,
  startFaultyProvider,
} from '../support/faulty-provider.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { startPortal, type TestPortal, testSecret } from '../support/portal.ts'
import { type OwnRedis, startOwnRedis } from '../support/redis.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

/**
 * Collects every secret of many sign-ins, and searches for them in the log, in events, in every column of the database, and
 * in every key and value of Redis.
 */

let provider: FaultyProvider
let portal: TestPortal
let server: OwnRedis
let redis: RedisClientType
/** kind of secret → values */
const secrets = new Map<string, Set<string>>()
const events: unknown[] = []

function keepSecret(kind: string, ...values: (string | null | undefined)[]): void {
  const known = secrets.get(kind) ?? new Set()
  for (const value of values) if (value) known.add(value)
  secrets.set(kind, known)
}

class WatchedVisitor extends Visitor {
  override async get(...given: Parameters<Visitor['get']>): Promise<Seen> {
    return this.recordCookies(await super.get(...given))
  }
  override async post(...given: Parameters<Visitor['post']>): Promise<Seen> {
    return this.recordCookies(await super.post(...given))
  }
  private recordCookies(seen: Seen): Seen {
    for (const [name, value] of this.cookies.get(portal.url) ?? []) {
      if (name === 'sso-last-provider' || name === 'sso-signed-out') continue
      keepSecret(`the cookie ${name.replace(/attempt-.*/, 'attempt')}`, value, decodeURIComponent(value))
      if (name === 'portal-sso') keepSecret('session id', decodeURIComponent(value).slice(2).split('.')[0])
    }
    return seen
  }
}

const signIn = async (visitor = new WatchedVisitor()): Promise<WatchedVisitor> => {
  await visitor.open(`${portal.url}/login/acme`)
  return visitor
}

/** All secrets that the provider knows during a code exchange. */
function quoteSecrets(): string {
  const { body, headers } = (provider.requests.findLast(({ path }) => path === '/token') ??
    provider.requests.at(-1)) as ReceivedRequest
  const code = new URLSearchParams(body).get('code')
  const asked = provider.requests.findLast(({ path }) => path === '/authorize')!.query
  return [
    `code ${code}`,
    `id and secret ${provider.clientId}:${provider.clientSecret}`,
    `request ${headers.authorization} ${body}`,
    `issued ${provider.issued.slice(-2).join(' and ')}`,
    `nonce ${asked.get('nonce')} state ${asked.get('state')}`,
  ].join('; ')
}

const error = (name: string) => ({ error: name, error_description: quoteSecrets() })
const html = () => `<html><title>Error</title><pre>${quoteSecrets()}</pre></html>`

/** Places where a provider can quote secrets. The getters quote those of the current request. */
const quotes: [place: string, Faults][] = [
  [
    'in an error of the token endpoint',
    {
      tokenError: {
        get body() {
          return error('invalid_grant')
        },
      },
    },
  ],
  [
    'in an invalid_client error',
    {
      tokenError: {
        status: 401,
        get body() {
          return error('invalid_client')
        },
      },
    },
  ],
  [
    'in an error code',
    {
      tokenError: {
        get body() {
          return { error: quoteSecrets() }
        },
      },
    },
  ],
  [
    'in HTML from the token endpoint',
    {
      tokenResponse: {
        status: 500,
        headers: {},
        get body() {
          return html()
        },
      },
    },
  ],
  [
    'in HTML with status 200',
    {
      tokenResponse: {
        get body() {
          return html()
        },
      },
    },
  ],
  [
    'in a token response that is not JSON',
    {
      tokenResponse: {
        get body() {
          return `{"id_token": ${quoteSecrets()}`
        },
      },
    },
  ],
  [
    'in a challenge of the token endpoint',
    {
      tokenResponse: {
        status: 401,
        get headers() {
          return { 'www-authenticate': challenge() }
        },
        body: '{}',
      },
    },
  ],
  [
    'in a challenge of UserInfo',
    {
      claimsInUserinfoOnly: true,
      userinfoResponse: {
        status: 401,
        get headers() {
          return { 'www-authenticate': challenge() }
        },
        body: '{}',
      },
    },
  ],
  [
    'in an error of UserInfo',
    {
      claimsInUserinfoOnly: true,
      userinfoResponse: {
        status: 400,
        get body() {
          return JSON.stringify(error('invalid_token'))
        },
      },
    },
  ],
  [
    'in HTML from UserInfo',
    {
      claimsInUserinfoOnly: true,
      userinfoResponse: {
        get body() {
          return html()
        },
      },
    },
  ],
  [
    'in the subject of UserInfo',
    {
      claimsInUserinfoOnly: true,
      userinfoClaims: {
        get sub() {
          return quoteSecrets()
        },
      },
    },
  ],
  [
    'in an invalid key set',
    {
      jwksResponse: {
        get body() {
          return html()
        },
      },
    },
  ],
  [
    'in an issuer',
    {
      claims: {
        get iss() {
          return quoteSecrets()
        },
      },
    },
  ],
  [
    'in the algorithm of an ID token',
    {
      header: {
        get alg() {
          return quoteSecrets()
        },
      },
    },
  ],
  [
    'in a subject',
    {
      claims: {
        get sub() {
          return `${quoteSecrets()}\u0000`
        },
      },
    },
  ],
  [
    'in an address',
    {
      claims: {
        get email() {
          return `${quoteSecrets()}@example.com`
        },
        email_verified: true,
      },
    },
  ],
  [
    'in an error of the authorization endpoint',
    {
      get authorizeError() {
        return { error: state(), error_description: state() }
      },
    },
  ],
]

function challenge(): string {
  return `Bearer error="invalid_token", error_description="${quoteSecrets().replace(/[^ -~]|"/g, '')}"`
}

function state(): string {
  const { query } = provider.requests.findLast(({ path }) => path === '/authorize')!
  return `state ${query.get('state')} nonce ${query.get('nonce')}`
}

beforeAll(async () => {
  provider = await startFaultyProvider()
  server = await startOwnRedis()
  redis = createClient({ url: server.url })
  await redis.connect()
  portal = await startPortal({ redis, rateLimits: { logout: 3 } })
  for (const kind of [
    'signed-in',
    'signed-out',
    'sign-in-failed',
    'linked',
    'registered',
    'rate-limited',
  ] as const)
    portal.sso.events.on(kind, (event: object) => events.push(event))
  await portal.connect(provider)
  await portal.connect(provider, { slug: 'post', clientAuthentication: 'client_secret_post' })
  keepSecret('client secret', provider.clientSecret, encodeURIComponent(provider.clientSecret))
  keepSecret('secret of the portal', testSecret)
})
afterAll(async () => {
  await portal.close()
  redis.destroy()
  await server.stop()
  await provider.close()
})

it('users and attackers use every flow', async () => {
  // A user registers, signs out, signs in again and replays the authorization response.
  const ada = await signIn()
  await ada.post(`${portal.url}/register`, { name: 'Ada' })
  expect((await ada.get(`${portal.url}/portal`)).status).toBe(200)
  await ada.post(`${portal.url}/logout`)
  // The provider sends a valid logout token, and one with a nonce, which is invalid.
  for (const claims of [{}, { nonce: 'n' }]) await sendLogoutToken(claims)
  const start = await ada.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
  const answer = await ada.get(start.location!)
  await ada.open(answer.location!)
  await ada.get(answer.location!)
  await new WatchedVisitor().get(answer.location!)
  await new WatchedVisitor().get(`${answer.location!}&code=again`)
  await new WatchedVisitor().post(
    `${portal.url}/login/acme/callback`,
    Object.fromEntries(new URL(answer.location!).searchParams),
  )
  // A session ID, a code and a token are sent to the wrong places.
  const session = ada.cookies.get(portal.url)!.get('portal-sso')!
  await ada.get(`${portal.url}/login/${session}`)
  await ada.get(`${portal.url}/login/${provider.issued.at(-1)!}`)
  await ada.get(`${portal.url}/login/acme${new URL(answer.location!).search}`)
  for (let n = 0; n < 5; n++) await new WatchedVisitor().post(`${portal.url}/logout`, { token: session })
  await new WatchedVisitor().open(`${portal.url}/login/post`)
  // Broken keys and signatures.
  for (const faults of [
    { signature: 'bad' },
    { kid: 'unknown' },
    { alg: 'none' },
    { jwksResponse: { body: '<html>' } },
    { noIdToken: true },
    { claims: { nonce: 'other' } },
    { rawPayload: 'not json' },
  ] as Faults[]) {
    changeFaults(faults)
    await signIn()
  }
  // The provider changes the client secret, and then the portal does.
  changeFaults({ clientSecrets: ['another secret of the provider'] })
  keepSecret('client secret', 'another secret of the provider')
  await signIn()
  const { clientSecret } = provider
  await portal.sso.providers.update('acme', { clientSecret: 'another secret of the provider' })
  await signIn()
  changeFaults({})
  await portal.sso.providers.update('acme', { clientSecret })
  await portal.sso.providers.remove('post')
  // One user stays at the provider, another one at the registration form.
  await new WatchedVisitor().get(`${portal.url}/login/acme`)
  provider.person = { sub: 'new', email: 'new@example.com', email_verified: true, name: 'New' }
  await signIn()
  changeFaults({})
})

it.each(quotes)('a provider quotes secrets %s', async (_place, faults) => {
  changeFaults(faults)
  await signIn()
  expect(provider.requests.some(({ path }) => path === '/authorize')).toBe(true)
})

async function sendLogoutToken(claims: object): Promise<void> {
  const logout_token = await signLogoutToken(provider, { sub: 'ada', ...claims })
  keepSecret('logout token', logout_token)
  const { status } = await new WatchedVisitor().post(`${portal.url}/logout/acme/backchannel`, {
    logout_token,
  })
  expect(status).toBe('nonce' in claims ? 400 : 200)
}

/** Records the secrets of all requests so far, and changes the provider's faults. */
function changeFaults(faults: Faults): void {
  for (const { path, query, headers, body } of provider.requests) {
    const form = new URLSearchParams(body)
    if (path === '/authorize') {
      keepSecret('nonce', query.get('nonce'))
      keepSecret('state', query.get('state'))
    }
    keepSecret('PKCE verifier', form.get('code_verifier'))
    keepSecret('code', form.get('code'))
    keepSecret('credentials as sent', headers.authorization?.replace(/^\w+ /, ''))
  }
  keepSecret('code or token', ...provider.issued)
  provider.reset()
  // Object.assign would call the getters now.
  Object.defineProperties(provider.faults, Object.getOwnPropertyDescriptors(faults))
}

/** Secrets that a text contains. The first 20 characters suffice, because quotes are truncated. */
function findSecrets(texts: string[]): string[] {
  const whole = texts.join('\n')
  const inJson = whole.replaceAll(/\\(["\\/])/g, '$1')
  return [...secrets].flatMap(([kind, values]) =>
    [...values]
      // The header of a JWT is no secret.
      .map((value) => value.replace(/^eyJ[\w-]*\.+/, '').slice(0, 20))
      .filter((start) => whole.includes(start) || inJson.includes(start))
      .map((start) => `${kind}: ${start}`),
  )
}

describe('of all these secrets,', () => {
  beforeAll(() => changeFaults({}))

  it('the run has used every kind, and the search can find them', () => {
    const kinds = [...secrets].filter(([, values]) => values.size > 0).map(([kind]) => kind)
    expect(kinds.sort()).toEqual([
      'PKCE verifier',
      'client secret',
      'code',
      'code or token',
      'credentials as sent',
      'logout token',
      'nonce',
      'secret of the portal',
      'session id',
      'state',
      'the cookie portal-sso',
      'the cookie sso-attempt',
      'the cookie sso-logout',
      'the cookie sso-registration',
    ])
    for (const [, values] of secrets)
      expect(findSecrets([`a log line with ${[...values][0]} in it`])).not.toEqual([])
  })

  it('none is in the log', () => {
    expect(portal.logs.length).toBeGreaterThan(25)
    expect(findSecrets(portal.logs.map((line) => JSON.stringify(line)))).toEqual([])
  })

  it('none is in an event', () => {
    expect(events.length).toBeGreaterThan(25)
    expect(findSecrets(events.map((event) => JSON.stringify(event)))).toEqual([])
  })

  it('none is in any table and column of the database', async () => {
    const tables: { name: string }[] = await portal
      .knex('sqlite_master')
      .where({ type: 'table' })
      .select('name')
    const texts: string[] = []
    for (const { name } of tables)
      for (const row of (await portal.knex(name)) as object[])
        texts.push(
          ...Object.values(row).map((value) =>
            Buffer.isBuffer(value) ? value.toString('latin1') : String(value),
          ),
        )
    expect(tables.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['sso_events', 'sso_identities', 'sso_providers', 'sso_sessions', 'sso_users']),
    )
    expect(texts.length).toBeGreaterThan(200)
    expect(findSecrets(texts)).toEqual([])
  })

  it('none is in Redis, except session IDs as keys and the ID token as logout hint of the session', async () => {
    const texts: string[] = []
    let sessions = 0
    // The counts of requests are sent once per second.
    while ((await redis.keys('portal-sso:{limit}:*')).length === 0) await setImmediate()
    for await (const keys of redis.scanIterator()) {
      for (const key of keys) {
        const value = String(await redis.get(key))
        if (!key.startsWith('portal-sso:session:')) {
          texts.push(key, value)
          continue
        }
        const session = JSON.parse(value) as { passport?: { user?: { logoutHint?: string } } }
        // OpenID Connect RP-Initiated Logout 1.0, 2 recommends it (`id_token_hint`).
        if (session.passport?.user?.logoutHint?.startsWith('eyJ')) sessions++
        delete session.passport?.user?.logoutHint
        // The key contains the session ID, because express-session looks sessions up by it. docs/security.md names this limit.
        texts.push(JSON.stringify(session))
      }
    }
    expect(sessions).toBeGreaterThan(1)
    expect(texts.some((text) => text.startsWith('portal-sso:{limit}:'))).toBe(true)
    expect(findSecrets(texts)).toEqual([])
  })
})
