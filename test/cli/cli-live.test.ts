import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Knex } from 'knex'
import { configFromUrl, connectDatabase } from '../../lib/database/connect.ts'
import { type Circumstances, type Cli, cliSecret, startCli } from '../support/cli.ts'
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

/** Runs a command beside the portal. @returns what it said; it must not fail */
async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli.run(args, here())
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining(provider.clientSecret) })
  expect(stdout).not.toContain(provider.clientSecret)
  return stdout
}

const json = async (...args: string[]) => JSON.parse(await run(...args, '--json')) as unknown

const here = (): Circumstances => ({
  env: { BASE_URL: portal.url, PORTAL_SSO_CLIENT_SECRET: provider.clientSecret },
})

const flags = (...more: string[]) => [
  ...['providers', 'add', '--slug', 'acme', '--issuer', provider.issuer, '--client-id', provider.clientId],
  ...more,
]

async function signsIn(slug = 'acme', visitor = new Visitor()): Promise<boolean> {
  await visitor.open(`${portal.url}/login/${slug}`)
  return (await visitor.get(`${portal.url}/portal`)).status === 200
}

const loginPage = async () => (await new Visitor().get(`${portal.url}/login`)).body

/** Opens the page of a link and presses its button. */
async function press(url: string, visitor = new Visitor()): Promise<Seen> {
  const { action, fields } = formIn((await visitor.get(url)).body)
  return await visitor.post(new URL(action, portal.url).href, fields)
}

/** As an administrator does who was given the link: up to the report. */
async function rehearse(screen: string): Promise<Seen> {
  const visitor = new Visitor()
  const [url = ''] = /http:\S+\/login\/acme\/rehearsal\?token=\S+/.exec(screen) ?? []
  const page = await press(url, visitor)
  return await visitor.open(next(page)!)
}

describe('beside a running portal', () => {
  it('who is connected by a command is on the login page at once, and people come in', async () => {
    expect(await loginPage()).toBe('the classic login')
    await run(...flags('--name', 'Acme AG', '--without-test-sign-in'))
    expect(await loginPage()).toContain('Acme AG')
    expect(await signsIn()).toBe(true)
  })

  it('a draft is not on the login page, and nobody comes in', async () => {
    await run(...flags())
    expect(await loginPage()).toBe('the classic login')
    expect(await signsIn()).toBe(false)
  })

  it('who is disabled by a command is gone from it; how many have only this way in is told', async () => {
    await portal.connect(provider)
    expect(await signsIn()).toBe(true)
    expect(await run('providers', 'disable', 'acme')).toBe(
      'acme is disabled. Nobody can sign in with it now. 1 person has signed in with it, 1 of them have no other sign-in method. 1 active session started with it.\n',
    )
    expect(await loginPage()).toBe('the classic login')
    expect(await signsIn()).toBe(false)
  })

  it('a setting that is changed by a command counts at the next click', async () => {
    await portal.connect(provider)
    await run('providers', 'update', 'acme', '--prompt', 'login')
    const { location } = await new Visitor().get(`${portal.url}/login/acme`)
    expect(new URL(location!).searchParams.get('prompt')).toBe('login')
  })
})

describe('a rehearsal from the terminal', () => {
  it('that passes enables the provider, and people come in', async () => {
    const { code, screen } = await cli.converse(
      flags(),
      [
        ['Test a sign-in now', '\r'],
        ['Waiting for the test sign-in', rehearse],
      ],
      here().env,
    )
    expect(code).toBe(0)
    expect(screen).toContain('The test sign-in passed.')
    expect(screen).toContain('acme is connected and on the login page.')
    expect(screen).not.toContain(provider.clientSecret)
    expect(await signsIn()).toBe(true)
    expect(await knex('sso_events').where({ kind: 'provider-changed' }).pluck('detail')).toEqual([
      '{"change":"enabled","testSignIn":"passed"}',
    ])
  })

  it('that fails leaves a draft, and says so by its exit code', async () => {
    await portal.connect(provider, { enabled: false })
    provider.faults.claims = { aud: 'somebody-else' }
    const { code, screen } = await cli.converse(
      ['providers', 'test-sign-in', 'acme'],
      [['Waiting for the test sign-in', rehearse]],
      here().env,
    )
    expect(code).toBe(1)
    expect(screen).toContain('The test sign-in failed.')
    expect(await portal.sso.providers.list()).toMatchObject([{ enabled: false }])
  })

  it('is asked for before a provider is enabled; who goes without is written down', async () => {
    await portal.connect(provider, { enabled: false })
    expect(await cli.refusal(['providers', 'enable', 'acme'])).toContain('no test sign-in has passed')
    await run('providers', 'enable', 'acme', '--without-test-sign-in')
    expect(await knex('sso_events').where({ kind: 'provider-changed' }).select('actor', 'detail')).toEqual([
      { actor: expect.stringMatching(/^cli/), detail: '{"change":"enabled","testSignIn":"overridden"}' },
    ])
  })

  it('is a link for a script that does not wait', async () => {
    await portal.connect(provider, { enabled: false })
    const said = await json('providers', 'test-sign-in', 'acme', '--no-wait')
    expect(said).toEqual({
      url: expect.stringContaining(`${portal.url}/login/acme/test-sign-in?token=`),
      expiresAt: expect.stringMatching(/^\d{4}-.*Z$/),
    })
  })
})

describe('parting', () => {
  it('remove asks, and says how many have only this way in; restore brings it back, disabled', async () => {
    await portal.connect(provider)
    expect(await signsIn()).toBe(true)
    const question =
      '1 person has signed in with it, 1 of them have no other sign-in method. 1 active session started with it. Remove acme?'
    const stays = await cli.converse(['providers', 'remove', 'acme'], [[question, 'no\r']])
    expect(stays).toMatchObject({ code: 0, screen: expect.stringContaining('acme was not removed') })
    expect(await signsIn()).toBe(true)
    expect(await cli.refusal(['providers', 'remove', 'acme'])).toContain('give --yes')
    expect(await json('providers', 'remove', 'acme', '--yes')).toEqual({
      slug: 'acme',
      removed: true,
      people: 1,
      onlyWayIn: 1,
      sessions: 2,
    })
    expect(await signsIn()).toBe(false)
    expect(await json('providers', 'list', '--removed')).toMatchObject([
      { slug: 'acme', displayName: 'Acme' },
    ])
    expect(await run('providers', 'restore', 'acme')).toBe('acme is restored. It is disabled.\n')
    expect(await json('providers', 'list')).toMatchObject([{ slug: 'acme', enabled: false }])
  })

  it('retire names the date, and cancel-retirement cancels it', async () => {
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

describe('keys and secrets', () => {
  it('keys shows the public ones of private_key_jwt, and rotates them; nothing private is said', async () => {
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

  it('secrets rotate seals all under the first of several, and says how many', async () => {
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
  it('makes a link that opens the classic login to one browser, and says that this is recorded', async () => {
    await portal.connect(provider)
    const said = await run('break-glass')
    expect(said).toContain('is logged')
    const visitor = new Visitor()
    const opened = await press(/http:\S+/.exec(said)![0], visitor)
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
  const isIn = async (visitor: Visitor) => (await visitor.get(`${portal.url}/portal`)).status === 200
  async function comeIn(): Promise<Visitor> {
    const visitor = new Visitor()
    expect(await signsIn('acme', visitor)).toBe(true)
    return visitor
  }
  const listed = async (...whose: string[]) =>
    (await json('sessions', 'list', ...whose)) as { id: string; userId: string; provider: string }[]

  it('list shows them by user or provider, and end ends one of them in a running portal', async () => {
    await portal.connect(provider)
    const [first, second] = [await comeIn(), await comeIn()]
    const all = await listed('--user', 'Ada@example.com')
    expect(all).toHaveLength(2)
    const newest = all[0]!
    expect(await listed('--user', newest.userId)).toEqual(all)
    expect(await listed('--provider', 'acme')).toEqual(all)
    expect(await run('sessions', 'list', '--provider', 'acme')).toMatch(/^STARTED .*\n.* acme .*\n.* acme /)
    expect(JSON.parse(await run('sessions', 'end', '--json', '--', newest.id))).toEqual({
      id: newest.id,
      ended: true,
    })
    expect([await isIn(first), await isIn(second)]).toEqual([true, false])
    expect(await cli.refusal(['sessions', 'end', '--', newest.id])).toBe(
      'this portal has no active session with that ID',
    )
  })

  it('end-all says how many and asks; a script has to say --yes', async () => {
    await portal.connect(provider)
    const visitors = [await comeIn(), await comeIn()]
    const refused = await cli.refusal(['sessions', 'end-all', '--user', 'ada@example.com'])
    expect(refused).toMatch(/^ada@example.com: 2 active sessions\. End all of them\? .*: give --yes$/)
    expect(await Promise.all(visitors.map(isIn))).toEqual([true, true])
    const { code, stdout } = await cli.run(['sessions', 'end-all', '--provider', 'acme', '--yes'], here())
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^2 sessions ended. Running instances notice this within/),
    ])
    expect(await Promise.all(visitors.map(isIn))).toEqual([false, false])
    expect(await json('events', '--kind', 'sessions-ended')).toMatchObject([
      { provider: 'acme', actor: expect.stringMatching(/^cli/), detail: { sessions: 2 } },
    ])
    expect(await run('sessions', 'end-all', '--provider', 'acme')).toBe('No active sessions.\n')
  })

  it('ends none when it is not said whose, or nobody is found', async () => {
    await portal.connect(provider)
    const visitor = await comeIn()
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
    expect(await isIn(visitor)).toBe(true)
  })

  it('users deactivate switches somebody off and ends the sessions; activate lets them sign in again', async () => {
    await portal.connect(provider)
    const visitor = await comeIn()
    expect(await run('users', 'deactivate', 'ada@example.com')).toBe(
      'ada@example.com is deactivated; sessions ended: 1\n',
    )
    expect(await isIn(visitor)).toBe(false)
    expect(await signsIn()).toBe(false)
    const { id } = (await portal.sso.users.findByEmail('ada@example.com'))!
    expect(await run('events', '--kind', 'sessions-ended')).toMatch(new RegExp(`${id} +cli:`))
    expect(await json('users', 'activate', 'ada@example.com')).toMatchObject({ active: true, ended: 0 })
    expect(await signsIn()).toBe(true)
    expect(await cli.refusal(['users', 'deactivate', 'nobody'])).toBe(
      'the portal "default" has no user "nobody"',
    )
  })
})

describe('portal-sso events', () => {
  const happened = (kind: string, more: object = {}, at = '2026-01-02T03:04:05.000Z') =>
    knex('sso_events').insert({ id: crypto.randomUUID(), portal: 'default', at, kind, detail: '{}', ...more })

  it('shows what happened, newest first, by what is asked for', async () => {
    await happened('signed-in', { provider: 'acme', user_id: 'ada' })
    await happened('sign-in-failed', { reference: '7KQ2M4XW' }, '2026-03-01T00:00:00.000Z')
    expect((await run('events')).split('\n').map((line) => line.split(/ {2,}/).slice(0, 2))).toEqual([
      ['AT', 'KIND'],
      ['2026-03-01T00:00:00.000Z', 'sign-in-failed'],
      ['2026-01-02T03:04:05.000Z', 'signed-in'],
      [''],
    ])
    const kinds = async (...asked: string[]) =>
      ((await json('events', ...asked)) as { kind: string }[]).map(({ kind }) => kind)
    expect(
      await Promise.all([
        kinds('--reference', '7KQ2M4XW'),
        kinds('--user', 'ada', '--provider', 'acme', '--kind', 'signed-in'),
        kinds('--from', '2026-02-01', '--to', '2026-04-01'),
        kinds('--to', '2026-02-01'),
        kinds('--most', '1'),
      ]),
    ).toEqual([['sign-in-failed'], ['signed-in'], ['sign-in-failed'], ['signed-in'], ['sign-in-failed']])
  })

  it('as CSV holds all of them, page after page, and no formula that a spreadsheet runs', async () => {
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

  it('refuses in one sentence what it cannot look for', async () => {
    expect(
      await Promise.all([
        cli.refusal(['events', '--from', 'yesterday']),
        cli.refusal(['events', '--from', '2026-02-30']),
        cli.refusal(['events', '--kind', 'nothing']),
        cli.refusal(['events', '--most', '0']),
        cli.refusal(['events', '--csv', '--json']).then((said) => JSON.parse(said)),
      ]),
    ).toEqual([
      '--from: enter a date such as 2027-01-31, not "yesterday"',
      '--from: enter a date such as 2027-01-31, not "2026-02-30"',
      expect.stringContaining('Allowed choices are signed-in, '),
      '--most: enter a number from 1 to 100000',
      { error: 'give --csv or --json, not both' },
    ])
  })
})
