import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import { selectRows } from '../../lib/database/statement.ts'
import type { Identity } from '../../lib/oidc/identity.ts'
import type { Provider } from '../../lib/providers/provider.ts'
import { LogoutTokensTable } from '../../lib/sessions/logout-tokens-table.ts'
import { sharedClock, takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import type { Claims } from '../support/faulty-provider.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
const open = closedAfterEach()

beforeEach(async () => {
  provider.person.sid = 'session-1'
  portal = await portalWithAda()
})

async function portalWithAda(options: TestPortalOptions = {}): Promise<TestPortal> {
  const started = await startPortal(options)
  open.push(started)
  if (!options.database || !(await started.sso.providers.find('acme'))) {
    await started.connect(provider)
    await started.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
  }
  return started
}

const logoutToken = (claims: Claims) => signLogoutToken(provider, claims)

async function deliver(token: string, to = portal): Promise<number> {
  const body = new URLSearchParams({ logout_token: token })
  return (await fetch(`${to.url}/logout/acme/backchannel`, { method: 'POST', body })).status
}

/** Starts a sign-in, and calls `act` before the provider sends the token response. */
async function signInDuring(act: () => Promise<void>, visitor = new Visitor()): Promise<Seen> {
  let goOn = () => {}
  provider.faults.tokenWaitsFor = new Promise<void>((resolve) => {
    goOn = resolve
  })
  provider.requests.length = 0
  const arriving = visitor.open(`${portal.url}/login/acme?returnTo=/portal`)
  try {
    while (!provider.requests.some(({ path }) => path === '/token')) await sleep(5)
    await act()
  } finally {
    goOn()
  }
  return await arriving
}

const isIn = async (visitor: Visitor, at = portal) => (await visitor.get(`${at.url}/portal`)).status === 200
const sessions = () => portal.knex('sso_sessions').pluck('user_id')

describe('a user who signs out at the provider during a sign-in', () => {
  it.each<[string, Claims]>([
    ['the session', { sid: 'session-1' }],
    ['the session and the subject', { sid: 'session-1', sub: 'ada' }],
    ['the subject', { sub: 'ada' }],
  ])('is not signed in, if the logout token names %s', async (_what, claims) => {
    const visitor = new Visitor()
    const seen = await signInDuring(async () => {
      expect(await deliver(await logoutToken(claims))).toBe(200)
    }, visitor)
    expect([seen.status, seen.body]).toEqual([403, expect.stringContaining('You were signed out')])
    expect([await isIn(visitor), await sessions()]).toEqual([false, []])
    expect(portal.logs.at(-1)!.fields.cause).toMatch(/^the provider ended its session during the sign-in/)
    // A sign-in that starts afterwards succeeds.
    delete provider.faults.tokenWaitsFor
    await visitor.open(`${portal.url}/login/acme`)
    expect(await isIn(visitor)).toBe(true)
  })

  it.each<[string, Claims]>([
    ['a session and the subject', { sid: 'session-1', sub: 'ada' }],
    ['the subject', { sub: 'ada' }],
  ])('is not signed in by an ID token without sid, if the logout token names %s', async (_what, claims) => {
    delete provider.person.sid
    const seen = await signInDuring(async () => {
      expect(await deliver(await logoutToken(claims))).toBe(200)
    })
    expect([seen.status, await sessions()]).toEqual([403, []])
  })

  it.each<[string, Claims]>([
    ['another session', { sid: 'session-2' }],
    ['this session of another subject', { sid: 'session-1', sub: 'grace' }],
    ['another session of the subject', { sid: 'session-2', sub: 'ada' }],
    ['another subject', { sub: 'grace' }],
  ])('is signed in, if the logout token names %s', async (_what, claims) => {
    const seen = await signInDuring(async () => {
      expect(await deliver(await logoutToken(claims))).toBe(200)
    })
    expect([seen.status, await sessions()]).toEqual([200, [expect.any(String)]])
  })

  it('is not signed in, if the clock of the instance where the sign-in began is 20 seconds ahead', async () => {
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    const shift = async (ms: number) => {
      clock.pass(ms)
      await portal.sso.runMaintenance()
    }
    await shift(20_000)
    const seen = await signInDuring(async () => {
      await shift(-20_000)
      expect(await deliver(await logoutToken({ sub: 'ada' }))).toBe(200)
    })
    expect([seen.status, await sessions()]).toEqual([403, []])
  })

  it('is signed in, if the logout token was sent to another portal', async () => {
    const other = await portalWithAda()
    const seen = await signInDuring(async () => {
      expect(await deliver(await logoutToken({ sub: 'ada' }), other)).toBe(200)
    })
    expect(seen.status).toBe(200)
  })

  it('is signed in, if the logout token is a replayed one', async () => {
    const token = await logoutToken({ sub: 'ada' })
    expect(await deliver(token)).toBe(200)
    const seen = await signInDuring(async () => {
      expect(await deliver(token)).toBe(400)
    })
    expect(seen.status).toBe(200)
  })

  it('gets no session by completing a registration that started before', async () => {
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true, sid: 'session-1' }
    const visitor = new Visitor()
    const form = await visitor.open(`${portal.url}/login/acme`)
    expect(await deliver(await logoutToken({ sid: 'session-1' }))).toBe(200)
    const { fields } = formIn(form.body)
    const seen = await visitor.post(`${portal.url}/register`, [...fields, ['name', 'Grace']])
    expect([seen.status, await isIn(visitor), await sessions()]).toEqual([403, false, []])
    // The user was created, and can sign in.
    await visitor.open(`${portal.url}/login/acme`)
    expect(await isIn(visitor)).toBe(true)
  })
})

describe('a logout token', () => {
  it('that failed can be repeated: recording it does not mark it as processed', async () => {
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    const token = await logoutToken({ sub: 'ada' })
    await portal.knex.schema.renameTable('sso_sessions', 'away')
    expect(await deliver(token)).toBe(503)
    expect(await portal.knex('sso_logout_tokens').select('processed_at', 'subject')).toEqual([
      { processed_at: null, subject: 'ada' },
    ])
    await portal.knex.schema.renameTable('away', 'sso_sessions')
    expect(await isIn(visitor)).toBe(true)
    expect(await deliver(token)).toBe(200)
    expect(await isIn(visitor)).toBe(false)
    expect(await deliver(token)).toBe(400)
  })

  it('that is sent several times at once ends the named sessions, and is stored once', async () => {
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    const token = await logoutToken({ sub: 'ada' })
    const statuses = await Promise.all([1, 2, 3, 4, 5].map(() => deliver(token)))
    expect(statuses).toContain(200)
    expect(statuses.filter((status) => status !== 200 && status !== 400)).toEqual([])
    expect(await isIn(visitor)).toBe(false)
    expect(await portal.knex('sso_logout_tokens')).toHaveLength(1)
  })

  it('is accepted once on all instances, even without Redis', async () => {
    const database = knexModule(sqliteConfig(':memory:'))
    open.push({ close: () => database.destroy() })
    const north = await portalWithAda({ database })
    const south = await portalWithAda({ database })
    const token = await logoutToken({ sub: 'ada' })
    expect(await deliver(token, south)).toBe(200)
    const visitor = new Visitor()
    await visitor.open(`${north.url}/login/acme`)
    expect(await deliver(token, north)).toBe(400)
    expect(await isIn(visitor, north)).toBe(true)
  })
})

describe.each(everyDatabase)('logout notices (%s)', (_name, fresh) => {
  const acme = { portal: 'default', issuer: 'https://id.example' } as Provider
  const ada = (more: Partial<Identity> = {}) =>
    ({ issuer: acme.issuer, subject: 'ada', sid: 's', askedAt: Date.now(), ...more }) as Identity

  it('are kept for four hours; an older attempt is refused, because they may have been deleted', async () => {
    const { config, drop } = await fresh()
    open.push({ close: drop })
    const started = await startPortal({ database: knexModule(config) })
    open.push(started, { close: () => started.knex.destroy() })
    const table = new LogoutTokensTable({ clock: sharedClock, knex: started.knex })
    const wasSignedOut = async (identity: Identity) =>
      !table.covers(identity) || (await selectRows(started.knex, table.noticesFor(acme, identity))).length > 0
    const { issuer } = acme
    expect(await wasSignedOut(ada())).toBe(false)
    const hours = 3_600_000
    expect(await wasSignedOut(ada({ askedAt: Date.now() - 3.9 * hours }))).toBe(false)
    expect(await wasSignedOut(ada({ askedAt: Date.now() - 4 * hours - 1 }))).toBe(true)
    expect(await wasSignedOut(ada({ askedAt: undefined as never }))).toBe(true)

    const notice = { portal: 'default', issuer, id: 'a token', ends: { subject: 'ada' } }
    const before = ada()
    expect([await table.record(notice), await table.record(notice)]).toEqual([true, true])
    await table.markProcessed(notice)
    expect(await table.record(notice)).toBe(false)
    expect(await table.record({ ...notice, portal: 'south' })).toBe(true)
    expect(await wasSignedOut(before)).toBe(true)
    const [{ received_at, expires_at }] = await started.knex('sso_logout_tokens').where({ portal: 'default' })
    expect(Date.parse(expires_at) - Date.parse(received_at)).toBe(4 * hours)
    await sleep(2)
    expect(await wasSignedOut(ada())).toBe(false)
  })

  it('count as processed only after that, also within one millisecond', async () => {
    const { knex, close } = await openMigrated(fresh)
    const clock = takeClock()
    open.push({ close }, { close: async () => clock.back() })
    const table = new LogoutTokensTable({ clock: sharedClock, knex })
    const notice = { portal: 'default', issuer: acme.issuer, id: 'a token', ends: { subject: 'ada' } }
    const record = () => table.record(notice)
    expect(await Promise.all([record(), record(), record()])).toEqual([true, true, true])
    await table.markProcessed(notice)
    expect(await record()).toBe(false)
    const repeatable = { ...notice, id: undefined, ends: { sid: 's' } }
    expect([await table.record(repeatable), await table.record(repeatable)]).toEqual([true, true])
  })
})
