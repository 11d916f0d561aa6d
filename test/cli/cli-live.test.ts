/** @slow runs a process for each command */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Knex } from 'knex'
import { configFromUrl, connectDatabase } from '../../lib/database/connect.ts'
import { type Cli, cliSecret, type RunOptions, startCli } from '../support/cli.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { formIn, next, type Seen, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let cli: Cli
let portal: TestPortal
let knex: Knex

beforeAll(async () => {
  provider = await startFaultyProvider()
  cli = await startCli(provider.clientSecret)
})
afterAll(async () => {
  cli.close()
  await provider.close()
})
beforeEach(async () => {
  provider.reset()
  await cli.renew()
  knex = connectDatabase(configFromUrl(cli.databaseUrl)).knex
  portal = await startPortal({
    database: knex,
    secret: [cliSecret],
    mount(app, sso) {
      mountDefault(app, sso)
      app.get('/login', (_req, res) => res.send('the classic login'))
    },
  })
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterEach(async () => {
  await portal.close()
  await knex.destroy()
})

/** Runs a command that must succeed, with the portal's environment. @returns its standard output */
async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli.run(args, portalEnvironment())
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining(provider.clientSecret) })
  expect(stdout).not.toContain(provider.clientSecret)
  return stdout
}

const json = async (...args: string[]) => JSON.parse(await run(...args, '--json')) as unknown

const portalEnvironment = (): RunOptions => ({
  env: { BASE_URL: portal.url, PORTAL_SSO_CLIENT_SECRET: provider.clientSecret },
})

const flags = (...more: string[]) => [
  ...['providers', 'add', '--slug', 'acme', '--issuer', provider.issuer, '--client-id', provider.clientId],
  ...more,
]

/** @returns true if the visitor is signed in afterwards */
async function trySignIn(slug = 'acme', visitor = new Visitor()): Promise<boolean> {
  await visitor.open(`${portal.url}/login/${slug}`)
  return (await visitor.get(`${portal.url}/portal`)).status === 200
}

const loginPage = async () => (await new Visitor().get(`${portal.url}/login`)).body

/** Opens a one-time link and submits its form. */
async function openLink(url: string, visitor = new Visitor()): Promise<Seen> {
  const { action, fields } = formIn((await visitor.get(url)).body)
  return await visitor.post(new URL(action, portal.url).href, fields)
}

/** Opens the link on the screen and tests a sign-in. @returns the report */
async function testSignIn(screen: string): Promise<Seen> {
  const visitor = new Visitor()
  const [url = ''] = /http:\S+\/login\/acme\/test-sign-in\?token=\S+/.exec(screen) ?? []
  const page = await openLink(url, visitor)
  return await visitor.open(next(page)!)
}

describe('a command, while the portal runs,', () => {
  it('connects a provider that is on the login page immediately, and users sign in with it', async () => {
    expect(await loginPage()).toBe('the classic login')
    await run(...flags('--name', 'Acme AG', '--without-test-sign-in'))
    expect(await loginPage()).toContain('Acme AG')
    expect(await trySignIn()).toBe(true)
  })

  it('saves a draft that is not on the login page, and nobody can sign in with it', async () => {
    await run(...flags())
    expect(await loginPage()).toBe('the classic login')
    expect(await trySignIn()).toBe(false)
  })

  it('disables a provider immediately, and shows how many people have no other sign-in method', async () => {
    await portal.connect(provider)
    expect(await trySignIn()).toBe(true)
    expect(await run('providers', 'disable', 'acme')).toBe(
      'acme is disabled. Nobody can sign in with it now. 1 person has signed in with it, 1 of them have no other sign-in method. 1 active session started with it.\n',
    )
    expect(await loginPage()).toBe('the classic login')
    expect(await trySignIn()).toBe(false)
  })

  it('changes a setting that applies to the next sign-in', async () => {
    await portal.connect(provider)
    await run('providers', 'update', 'acme', '--prompt', 'login')
    const { location } = await new Visitor().get(`${portal.url}/login/acme`)
    expect(new URL(location!).searchParams.get('prompt')).toBe('login')
  })
})

describe('a test sign-in at the terminal', () => {
  it('enables the provider if it passes, and users sign in with it', async () => {
    const { code, screen } = await cli.converse(
      flags('--trust', 'domains', '--email-domain', 'example.com'),
      [
        ['Test a sign-in now', '\r'],
        ['Waiting for the test sign-in', testSignIn],
      ],
      portalEnvironment().env,
    )
    expect(code).toBe(0)
    expect(screen).toContain('The test sign-in passed.')
    expect(screen).toContain('acme is connected and on the login page.')
    expect(screen).not.toContain(provider.clientSecret)
    expect(await trySignIn()).toBe(true)
    expect(await knex('sso_events').where({ kind: 'provider-changed' }).pluck('detail')).toEqual([
      '{"change":"enabled","testSignIn":"passed"}',
    ])
  })

  it('leaves a draft if it fails, and exits with 1', async () => {
    await portal.connect(provider, { enabled: false })
    provider.faults.claims = { aud: 'somebody-else' }
    const { code, screen } = await cli.converse(
      ['providers', 'test-sign-in', 'acme'],
      [['Waiting for the test sign-in', testSignIn]],
      portalEnvironment().env,
    )
    expect(code).toBe(1)
    expect(screen).toContain('The test sign-in failed.')
    expect(await portal.sso.providers.list()).toMatchObject([{ enabled: false }])
  })

  it('is required before a provider is enabled; an exception is logged', async () => {
    await portal.connect(provider, { enabled: false })
    expect(await cli.refusal(['providers', 'enable', 'acme'])).toContain('no test sign-in has passed')
    await run('providers', 'enable', 'acme', '--without-test-sign-in')
    expect(await knex('sso_events').where({ kind: 'provider-changed' }).select('actor', 'detail')).toEqual([
      { actor: expect.stringMatching(/^cli/), detail: '{"change":"enabled","testSignIn":"overridden"}' },
    ])
  })

  it('with --no-wait prints the link as JSON and exits', async () => {
    await portal.connect(provider, { enabled: false })
    const result = await json('providers', 'test-sign-in', 'acme', '--no-wait')
    expect(result).toEqual({
      url: expect.stringContaining(`${portal.url}/login/acme/test-sign-in?token=`),
      expiresAt: expect.stringMatching(/^\d{4}-.*Z$/),
    })
  })
})

describe('portal-sso providers remove, restore, retire and cancel-retirement', () => {
  it('remove asks, and shows how many people have no other sign-in method; restore leaves it disabled', async () => {
    await portal.connect(provider)
    expect(await trySignIn()).toBe(true)
    const declined = await cli.converse(['providers', 'remove', 'acme'], [['Remove acme?', 'n']])
    // The prompt breaks lines after 80 characters.
    expect(declined.screen.replace(/[\s│]+/g, ' ')).toContain(
      '1 person has signed in with it, 1 of them have no other sign-in method. 1 active session started with it. Remove acme?',
    )
    expect(declined).toMatchObject({ code: 0, screen: expect.stringContaining('acme was not removed') })
    expect(await trySignIn()).toBe(true)
    expect(await cli.refusal(['providers', 'remove', 'acme'])).toContain('give --yes')
    expect(await json('providers', 'remove', 'acme', '--yes')).toEqual({
      slug: 'acme',
      removed: true,
      people: 1,
      withoutAlternative: 1,
      sessions: 2,
    })
    expect(await trySignIn()).toBe(false)
    expect(await json('providers', 'list', '--removed')).toMatchObject([
      { slug: 'acme', displayName: 'Acme' },
    ])
    expect(await run('providers', 'restore', 'acme')).toBe('acme is restored. It is disabled.\n')
    expect(await json('providers', 'list')).toMatchObject([{ slug: 'acme', enabled: false }])
  })

  it('retire schedules the removal, and cancel-retirement cancels it', async () => {
    await portal.connect(provider)
    const day = new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10)
    expect(await run('providers', 'retire', 'acme', '--at', day)).toContain(
      `acme retires on ${day}T00:00:00.000Z.`,
    )
    expect(await json('providers', 'show', 'acme')).toMatchObject({ retireAt: `${day}T00:00:00.000Z` })
    expect(await run('providers', 'cancel-retirement', 'acme')).toBe('acme stays enabled\n')
    expect(await cli.refusal(['providers', 'retire', 'acme', '--at', 'soon'])).toBe(
      '--at: enter a date such as 2027-01-31, not "soon"',
    )
  })
})

describe('portal-sso providers keys and secrets rotate', () => {
  it('keys shows only public keys of private_key_jwt, and rotates them', async () => {
    provider.faults.clientKeysAt = `${portal.url}/login/acme/jwks.json`
    const add = flags('--client-authentication', 'private_key_jwt')
    expect(await run(...add)).toContain(`${portal.url}/login/acme/jwks.json`)
    const first = (await json('providers', 'keys', 'acme')) as { keys: { kid: string }[] }
    expect(first).toMatchObject({
      slug: 'acme',
      jwksUri: `${portal.url}/login/acme/jwks.json`,
      keys: [{ state: 'signing' }],
    })
    expect(Object.keys(first.keys[0]!).sort()).toEqual(['alg', 'from', 'kid', 'state'])
    expect(await run('providers', 'keys', 'acme', '--rotate')).toMatch(
      /^The key \S+ is published\. It signs from /,
    )
    expect(await run('providers', 'keys', 'acme')).toMatch(/signing[\s\S]*next|next[\s\S]*signing/)
  })

  it('secrets rotate encrypts all secrets with the first of several, and shows how many', async () => {
    await portal.connect(provider)
    const next = 'another-secret-for-tests-longer-than-32-characters'
    const both = { env: { SSO_SECRET: `${next} ${cliSecret}` } }
    const rotated = await cli.run(['secrets', 'rotate', '--json'], both)
    expect(rotated).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(rotated.stdout)).toEqual({ providers: 1 })
    const again = await cli.run(['secrets', 'rotate'], both)
    expect(again.stdout).toBe('All secrets and keys are already encrypted with the first secret.\n')
    const newOnly = { env: { SSO_SECRET: next } }
    expect(await cli.run(['providers', 'test', 'acme'], newOnly)).toMatchObject({ code: 0 })
    expect(await cli.run(['providers', 'test', 'acme'])).toMatchObject({ code: 1 })
  })
})

describe('portal-sso break-glass', () => {
  it('creates a link that opens the classic login in one browser, and says that this is logged', async () => {
    await portal.connect(provider)
    const output = await run('break-glass')
    expect(output).toContain('is logged')
    const visitor = new Visitor()
    const opened = await openLink(/http:\S+/.exec(output)![0], visitor)
    expect((await visitor.follow(opened)).body).toBe('the classic login')
    expect(await loginPage()).not.toBe('the classic login')
    expect(
      await knex('sso_events').where({ kind: 'break-glass' }).orderBy('at').select('actor', 'detail'),
    ).toEqual([
      { actor: expect.stringMatching(/^cli/), detail: '{"step":"made"}' },
      { actor: expect.stringMatching(/^cli/), detail: '{"step":"used"}' },
    ])
  })
})

describe('portal-sso sessions', () => {
  const isSignedIn = async (visitor: Visitor) => (await visitor.get(`${portal.url}/portal`)).status === 200
  async function signIn(): Promise<Visitor> {
    const visitor = new Visitor()
    expect(await trySignIn('acme', visitor)).toBe(true)
    return visitor
  }
  const listSessions = async (...filter: string[]) =>
    (await json('sessions', 'list', ...filter)) as { id: string; userId: string; provider: string }[]

  it('list shows all sessions, or those of a user or provider, and end ends one in a running portal', async () => {
    await portal.connect(provider)
    const [first, second] = [await signIn(), await signIn()]
    const all = await listSessions('--user', 'Ada@example.com')
    expect(all).toHaveLength(2)
    const newest = all[0]!
    expect(await listSessions('--user', newest.userId)).toEqual(all)
    expect(await listSessions('--provider', 'acme')).toEqual(all)
    expect(await listSessions()).toEqual(all)
    expect(await run('sessions', 'list', '--provider', 'acme')).toMatch(/^STARTED .*\n.* acme .*\n.* acme /)
    expect(JSON.parse(await run('sessions', 'end', '--json', '--', newest.id))).toEqual({
      id: newest.id,
      ended: true,
    })
    expect([await isSignedIn(first), await isSignedIn(second)]).toEqual([true, false])
    expect(await cli.refusal(['sessions', 'end', '--', newest.id])).toBe(
      'this portal has no active session with that ID',
    )
  })

  it('end-all shows how many and asks; a script must give --yes', async () => {
    await portal.connect(provider)
    const visitors = [await signIn(), await signIn()]
    const refused = await cli.refusal(['sessions', 'end-all', '--user', 'ada@example.com'])
    expect(refused).toMatch(/^ada@example.com: 2 active sessions\. End all of them\? If so, give --yes$/)
    expect(await Promise.all(visitors.map(isSignedIn))).toEqual([true, true])
    const { code, stdout } = await cli.run(
      ['sessions', 'end-all', '--provider', 'acme', '--yes'],
      portalEnvironment(),
    )
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^2 sessions ended. Running instances notice this within/),
    ])
    expect(await Promise.all(visitors.map(isSignedIn))).toEqual([false, false])
    expect(await json('events', '--kind', 'sessions-ended')).toMatchObject([
      { provider: 'acme', actor: expect.stringMatching(/^cli/), detail: { sessions: 2 } },
    ])
    expect(await run('sessions', 'end-all', '--provider', 'acme')).toBe('No active sessions.\n')
  })

  it('end-all ends nothing without exactly one filter, or if the filter matches nothing', async () => {
    await portal.connect(provider)
    const visitor = await signIn()
    expect(
      await Promise.all([
        cli.refusal(['sessions', 'end-all', '--yes']),
        cli.refusal(['sessions', 'end-all', '--user', 'a', '--provider', 'acme', '--yes']),
        cli.refusal(['sessions', 'end-all', '--provider', 'acmee', '--yes']),
        cli.refusal(['sessions', 'end-all', '--user', 'nobody@example.com', '--yes']),
      ]),
    ).toEqual([
      'give either --user or --provider',
      'give either --user or --provider',
      'no provider is called "acmee" in the portal "default", and no session was started with one',
      '--user: no user in the built-in table has the address nobody@example.com; if you use your own directory, give the user ID',
    ])
    expect(await isSignedIn(visitor)).toBe(true)
  })

  it('users deactivate blocks a user and ends their sessions; activate lets them sign in again', async () => {
    await portal.connect(provider)
    const visitor = await signIn()
    expect(await run('users', 'deactivate', 'ada@example.com')).toBe(
      'ada@example.com is deactivated; sessions ended: 1\n',
    )
    expect(await isSignedIn(visitor)).toBe(false)
    expect(await trySignIn()).toBe(false)
    const { id } = (await portal.sso.users.findByEmail('ada@example.com'))!
    expect(await run('events', '--kind', 'sessions-ended')).toMatch(new RegExp(`${id} +cli:`))
    expect(await json('users', 'activate', 'ada@example.com')).toMatchObject({ active: true, ended: 0 })
    expect(await trySignIn()).toBe(true)
    expect(await cli.refusal(['users', 'deactivate', 'nobody'])).toBe(
      'the portal "default" has no user "nobody"',
    )
  })
})

describe('portal-sso events', () => {
  const insertEvent = (kind: string, more: object = {}, at = '2026-01-02T03:04:05.000Z') =>
    knex('sso_events').insert({ id: crypto.randomUUID(), portal: 'default', at, kind, detail: '{}', ...more })

  it('lists events, newest first, by each filter', async () => {
    await insertEvent('signed-in', { provider: 'acme', user_id: 'ada' })
    await insertEvent('sign-in-failed', { reference: '7KQ2M4XW' }, '2026-03-01T00:00:00.000Z')
    expect((await run('events')).split('\n').map((line) => line.split(/ {2,}/).slice(0, 2))).toEqual([
      ['AT', 'KIND'],
      ['2026-03-01T00:00:00.000Z', 'sign-in-failed'],
      ['2026-01-02T03:04:05.000Z', 'signed-in'],
      [''],
    ])
    const kinds = async (...filter: string[]) =>
      ((await json('events', ...filter)) as { kind: string }[]).map(({ kind }) => kind)
    expect(
      await Promise.all([
        kinds('--reference', '7KQ2M4XW'),
        kinds('--user', 'ada', '--provider', 'acme', '--kind', 'signed-in'),
        kinds('--from', '2026-02-01', '--to', '2026-04-01'),
        kinds('--to', '2026-02-01'),
        kinds('--limit', '1'),
      ]),
    ).toEqual([['sign-in-failed'], ['signed-in'], ['sign-in-failed'], ['signed-in'], ['sign-in-failed']])
  })

  it('as CSV contains every page, and no formula that a spreadsheet would execute', async () => {
    const rows = Array.from({ length: 1200 }, (_, at) => ({
      id: crypto.randomUUID(),
      portal: 'default',
      at: new Date(Date.UTC(2026, 0, 1) + at).toISOString(),
      kind: 'sign-in-failed',
      provider: '=HYPERLINK("https://attacker.example")',
      detail: '{"code":"a, b"}',
    }))
    await knex.batchInsert('sso_events', rows, 50)
    const lines = (await run('events', '--csv')).split('\r\n')
    expect(lines[0]).toBe('at,kind,provider,userId,actor,reference,clientAddress,detail')
    expect(lines[1]).toBe(
      `${rows.at(-1)!.at},sign-in-failed,"'=HYPERLINK(""https://attacker.example"")",,,,,"{""code"":""a, b""}"`,
    )
    expect(lines).toHaveLength(1200 + 2)
  })

  it('refuses invalid filters in one sentence', async () => {
    expect(
      await Promise.all([
        cli.refusal(['events', '--from', 'yesterday']),
        cli.refusal(['events', '--from', '2026-02-30']),
        cli.refusal(['events', '--kind', 'nothing']),
        cli.refusal(['events', '--limit', '0']),
        cli.refusal(['events', '--csv', '--json']).then((error) => JSON.parse(error)),
      ]),
    ).toEqual([
      '--from: enter a date such as 2027-01-31, not "yesterday"',
      '--from: enter a date such as 2027-01-31, not "2026-02-30"',
      expect.stringContaining('Allowed choices are signed-in, '),
      '--limit: enter a number from 1 to 100000',
      {
        error: 'give --csv or --json, not both',
        code: 'invalid_configuration',
        issues: [{ message: 'give --csv or --json, not both' }],
      },
    ])
  })
})
