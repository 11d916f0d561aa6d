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
 * Everything secret that passes through in a run of all that can happen, looked for wherever something is kept: in the log,
 * in events as they are heard, in every column of every table, and in every key and value of Redis.
 */

let provider: FaultyProvider
let portal: TestPortal
let server: OwnRedis
let redis: RedisClientType
/** in a form that a person can read: what it is → its values */
const secrets = new Map<string, Set<string>>()
const heard: unknown[] = []

function keepSecret(what: string, ...values: (string | null | undefined)[]): void {
  const known = secrets.get(what) ?? new Set()
  for (const value of values) if (value) known.add(value)
  secrets.set(what, known)
}

class WatchedVisitor extends Visitor {
  override async get(...given: Parameters<Visitor['get']>): Promise<Seen> {
    return this.wrapFetch(await super.get(...given))
  }
  override async post(...given: Parameters<Visitor['post']>): Promise<Seen> {
    return this.wrapFetch(await super.post(...given))
  }
  private wrapFetch(seen: Seen): Seen {
    for (const [name, value] of this.cookies.get(portal.url) ?? []) {
      if (name === 'sso-last-provider' || name === 'sso-signed-out') continue
      keepSecret(`the cookie ${name.replace(/attempt-.*/, 'attempt')}`, value, decodeURIComponent(value))
      if (name === 'portal-sso') keepSecret('session id', decodeURIComponent(value).slice(2).split('.')[0])
    }
    return seen
  }
}

const click = async (visitor = new WatchedVisitor()): Promise<WatchedVisitor> => {
  await visitor.open(`${portal.url}/login/acme`)
  return visitor
}

/** What a provider knows of an exchange that it is asked to finish. */
function quoted(): string {
  const { body, headers } = (provider.requests.findLast(({ path }) => path === '/token') ??
    provider.requests.at(-1)) as ReceivedRequest
  const code = new URLSearchParams(body).get('code')
  const asked = provider.requests.findLast(({ path }) => path === '/authorize')!.query
  return [
    `code ${code}`,
    `id and secret ${provider.clientId}:${provider.clientSecret}`,
    `as sent ${headers.authorization} ${body}`,
    `the latest of mine ${provider.issued.slice(-2).join(' and ')}`,
    `nonce ${asked.get('nonce')} state ${asked.get('state')}`,
  ].join('; ')
}

const error = (name: string) => ({ error: name, error_description: quoted() })
const html = () => `<html><title>Error</title><pre>${quoted()}</pre></html>`

/** A provider that quotes all it knows, wherever it can; getters, because it knows it only when it is asked. */
const chatter: [where: string, Faults][] = [
  [
    'the code in an error of the token endpoint',
    {
      tokenError: {
        get body() {
          return error('invalid_grant')
        },
      },
    },
  ],
  [
    'the credentials with invalid_client',
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
    'in the name of an error',
    {
      tokenError: {
        get body() {
          return { error: quoted() }
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
    'in a token answer that is not JSON',
    {
      tokenResponse: {
        get body() {
          return `{"id_token": ${quoted()}`
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
    'in UserInfo of somebody else',
    {
      claimsInUserinfoOnly: true,
      userinfoClaims: {
        get sub() {
          return quoted()
        },
      },
    },
  ],
  [
    'in keys that are none',
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
          return quoted()
        },
      },
    },
  ],
  [
    'in the algorithm of an ID token',
    {
      header: {
        get alg() {
          return quoted()
        },
      },
    },
  ],
  [
    'in a subject',
    {
      claims: {
        get sub() {
          return `${quoted()}\u0000`
        },
      },
    },
  ],
  [
    'in an address',
    {
      claims: {
        get email() {
          return `${quoted()}@example.com`
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
  return `Bearer error="invalid_token", error_description="${quoted().replace(/[^ -~]|"/g, '')}"`
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
    portal.sso.events.on(kind, (event: object) => heard.push(event))
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

it('a run of all that can happen', async () => {
  // Registers, signs out, comes again, opens an old answer again.
  const ada = await click()
  await ada.post(`${portal.url}/register`, { name: 'Ada' })
  expect((await ada.get(`${portal.url}/portal`)).status).toBe(200)
  await ada.post(`${portal.url}/logout`)
  // The provider says that she has left: rightly, and with a claim that only an ID token has.
  for (const claims of [{}, { nonce: 'n' }]) await sayThatAdaLeft(claims)
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
  // Sends a session id, a code and a token to where they do not belong.
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
    misbehave(faults)
    await click()
  }
  // The provider replaces its secret, and the portal follows.
  misbehave({ clientSecrets: ['another secret of the provider'] })
  keepSecret('client secret', 'another secret of the provider')
  await click()
  const { clientSecret } = provider
  await portal.sso.providers.update('acme', { clientSecret: 'another secret of the provider' })
  await click()
  misbehave({})
  await portal.sso.providers.update('acme', { clientSecret })
  await portal.sso.providers.remove('post')
  // Somebody is on the way all the time: at the provider, and on the form.
  await new WatchedVisitor().get(`${portal.url}/login/acme`)
  provider.person = { sub: 'new', email: 'new@example.com', email_verified: true, name: 'New' }
  await click()
  misbehave({})
})

it.each(chatter)('a provider that quotes what it knows: %s', async (_where, faults) => {
  misbehave(faults)
  await click()
  expect(provider.requests.some(({ path }) => path === '/authorize')).toBe(true)
})

async function sayThatAdaLeft(claims: object): Promise<void> {
  const logout_token = await signLogoutToken(provider, { sub: 'ada', ...claims })
  keepSecret('logout token', logout_token)
  const told = await new WatchedVisitor().post(`${portal.url}/logout/acme/backchannel`, { logout_token })
  expect(told.status).toBe('nonce' in claims ? 400 : 200)
}

/** Takes down what the provider has received so far, and goes on with other faults. */
function misbehave(faults: Faults): void {
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
  // Not Object.assign: that would ask the getters now.
  Object.defineProperties(provider.faults, Object.getOwnPropertyDescriptors(faults))
}

/** Which secrets a text holds, or the beginning of: quotes are cut off. */
function found(texts: string[]): string[] {
  const whole = texts.join('\n')
  const inJson = whole.replaceAll(/\\(["\\/])/g, '$1')
  return [...secrets].flatMap(([what, values]) =>
    [...values]
      // What all of JOSE's compact forms have in front is no secret.
      .map((value) => value.replace(/^eyJ[\w-]*\.+/, '').slice(0, 20))
      .filter((start) => whole.includes(start) || inJson.includes(start))
      .map((start) => `${what}: ${start}`),
  )
}

describe('of all that is secret', () => {
  beforeAll(() => misbehave({}))

  it('there is some of each kind, so that the search can find it', () => {
    const kinds = [...secrets].filter(([, values]) => values.size > 0).map(([what]) => what)
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
      expect(found([`a log line with ${[...values][0]} in it`])).not.toEqual([])
  })

  it('nothing is in the log', () => {
    expect(portal.logs.length).toBeGreaterThan(25)
    expect(found(portal.logs.map((line) => JSON.stringify(line)))).toEqual([])
  })

  it('nothing is in an event', () => {
    expect(heard.length).toBeGreaterThan(25)
    expect(found(heard.map((event) => JSON.stringify(event)))).toEqual([])
  })

  it('nothing is in the database, in whatever table and column', async () => {
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
    expect(found(texts)).toEqual([])
  })

  it('nothing is in Redis but the id of a session as its key, and in it the ID token as the hint for a logout', async () => {
    const texts: string[] = []
    let sessions = 0
    for await (const keys of redis.scanIterator()) {
      for (const key of keys) {
        const value = String(await redis.get(key))
        if (!key.startsWith('portal-sso:session:')) {
          texts.push(key, value)
          continue
        }
        const session = JSON.parse(value) as { passport?: { user?: { logoutHint?: string } } }
        // OpenID Connect RP-Initiated Logout 1.0, 2 asks for it (`id_token_hint`).
        if (session.passport?.user?.logoutHint?.startsWith('eyJ')) sessions++
        delete session.passport?.user?.logoutHint
        // Whoever reads Redis can take over its sessions, so Redis is to be guarded like them: express-session looks them
        // up by their id.
        texts.push(JSON.stringify(session))
      }
    }
    expect(sessions).toBeGreaterThan(1)
    expect(texts.some((text) => text.startsWith('portal-sso:limit:'))).toBe(true)
    expect(found(texts)).toEqual([])
  })
})
