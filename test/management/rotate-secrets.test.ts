import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { connectDatabase, type Database } from '../../lib/database/connect.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { databases, type FreshDatabase } from '../support/databases.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal, testSecret } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'

const newSecret = 'the-new-secret-of-the-portal-longer-than-32-characters'
const columns = ['client_secret', 'client_keys'] as const

let provider: FaultyProvider

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())

describe.each(databases)('rotating the portal’s secret, in %s', (_name, fresh) => {
  let database: FreshDatabase
  let connected: Database
  const open = closedAfterEach()

  beforeEach(async () => {
    database = await fresh()
    // One for all: SQLite waits for a lock without letting anybody else in this process go on.
    connected = connectDatabase(database.config)
    provider.reset()
  })
  afterEach(async () => {
    await connected.close()
    await database.drop()
  })

  async function start(...secret: string[]): Promise<TestPortal> {
    const portal = await startPortal({ database: connected.knex, secret })
    open.push(portal)
    return portal
  }

  async function connectAll(portal: TestPortal): Promise<void> {
    await portal.connect(provider)
    await portal.connect(provider, { slug: 'north', portal: 'north' })
    provider.faults.clientKeysAt = `${portal.url}/login/keys/jwks.json`
    provider.faults.discovery = { token_endpoint_auth_signing_alg_values_supported: ['ES256'] }
    await portal.connect(provider, { slug: 'keys', clientSecret: undefined })
    delete provider.faults.clientKeysAt
    await portal.connect(provider, { slug: 'removed' })
    await portal
      .knex('sso_providers')
      .where({ slug: 'removed' })
      .update({ removed_at: new Date().toISOString() })
  }

  async function signsIn(portal: TestPortal): Promise<boolean> {
    const who = new Visitor()
    await who.open(`${portal.url}/login/acme`)
    return (await who.get(`${portal.url}/portal`)).status === 200
  }

  const dump = async (portal: TestPortal): Promise<Record<string, unknown>[]> =>
    await portal.knex('sso_providers').orderBy('slug')

  it('seals all of them anew while people sign in; an instance that knows the new one only reads them all', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    await old.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
    const before = await dump(old)
    const during = await start(testSecret, newSecret)
    const rotating = await start(newSecret, testSecret)

    let going = true
    const outcomes: boolean[] = []
    const everyone = [during, rotating].map(async (portal) => {
      // At least once after the rotation is over.
      for (let last = false; !last; ) {
        last = !going
        outcomes.push(await signsIn(portal))
      }
    })
    const counts = [await rotating.sso.rotateSecrets({ actor: 'cli' }), await rotating.sso.rotateSecrets()]
    going = false
    await Promise.all(everyone)
    expect(outcomes.length).toBeGreaterThan(3)
    expect(outcomes).not.toContain(false)
    expect(counts).toEqual([{ providers: 4 }, { providers: 0 }])

    const after = await dump(old)
    for (const [at, row] of after.entries()) {
      const was = before[at]!
      // No new version: nobody's sign-in is disturbed.
      expect([row.slug, row.version]).toEqual([was.slug, 1])
      for (const column of columns) if (was[column] !== null) expect(row[column]).not.toEqual(was[column])
    }
    const later = await start(newSecret)
    expect(await signsIn(later)).toBe(true)
    expect((await later.sso.providers.test('acme')).ok).toBe(true)
    expect(await later.sso.providers.clientKeys('keys')).toHaveLength(1)
    const events = await old.knex('sso_events').where({ kind: 'secrets-rotated' }).orderBy('at')
    expect(
      events.map(({ portal, actor, detail }) => [portal, actor, JSON.parse(detail).providers]).sort(),
    ).toEqual([
      ['default', 'cli', '3'],
      ['default', 'code', '0'],
      ['north', 'cli', '1'],
    ])
  })

  it('leaves no secret in the clear, before or after', async () => {
    const portal = await start(newSecret, testSecret)
    await connectAll(portal)
    for (let n = 0; n < 2; n++) {
      const rows = JSON.stringify([await dump(portal), await portal.knex('sso_events')])
      for (const secret of [provider.clientSecret, testSecret, newSecret, '"d":', '"p":'])
        expect(rows).not.toContain(secret)
      await portal.sso.rotateSecrets()
    }
  })

  it('keeps what an administrator saves at the same time', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    const rotating = await start(newSecret, testSecret)
    const during = await start(newSecret, testSecret)
    provider.faults.clientSecrets = [provider.clientSecret, 'a new client secret']
    await Promise.all([
      rotating.sso.rotateSecrets(),
      during.sso.providers.update('acme', { clientSecret: 'a new client secret' }),
      during.sso.providers.rotateClientKey('keys').catch((error: Error) => {
        // Reported, so that the operator can repeat it; no key is lost.
        expect(error.message).toContain('at the same time: try again')
      }),
    ])
    provider.faults.clientSecrets = ['a new client secret']
    const later = await start(newSecret)
    expect((await later.sso.providers.test('acme')).ok).toBe(true)
  })

  it('changes nothing at all where one cannot be read, and names it', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    const stranger = await start('a-secret-that-is-long-gone-longer-than-32-characters')
    await stranger.connect(provider, { slug: 'stray', portal: 'south' })
    const before = await dump(old)
    const rotating = await start(newSecret, testSecret)
    const failure: unknown = await rotating.sso.rotateSecrets().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ManagementError)
    expect((failure as Error).message).toMatch(
      /"stray" in the portal "south" cannot be decrypted with any of the secrets, so nothing was changed/,
    )
    expect(await dump(old)).toEqual(before)
    expect(await old.knex('sso_events').where({ kind: 'secrets-rotated' })).toEqual([])
  })

  it('is not held up by one of a provider that was removed, which nobody could set again', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    const stranger = await start('a-secret-that-is-long-gone-longer-than-32-characters')
    await stranger.connect(provider, { slug: 'stray' })
    await stranger.sso.providers.remove('stray')
    const rotating = await start(newSecret, testSecret)
    expect(await rotating.sso.rotateSecrets()).toEqual({ providers: 4 })
  })

  it('is an event also where there is nothing to seal', async () => {
    const portal = await start(newSecret, testSecret)
    expect(await portal.sso.rotateSecrets()).toEqual({ providers: 0 })
    expect(await portal.knex('sso_events').where({ kind: 'secrets-rotated' })).toMatchObject([
      { portal: 'default', detail: '{"providers":"0"}' },
    ])
  })
})
