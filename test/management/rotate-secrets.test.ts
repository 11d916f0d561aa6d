import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { connectDatabase, type Database } from '../../lib/database/connect.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
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

describe.each(everyDatabase)('the rotation of the portal’s secret, on %s,', (_name, fresh) => {
  let database: FreshDatabase
  let connected: Database
  const open = closedAfterEach()

  beforeEach(async () => {
    database = await fresh()
    // Use one connection for all portals: in SQLite, waiting for a lock blocks the whole process.
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
    const user = new Visitor()
    await user.open(`${portal.url}/login/acme`)
    return (await user.get(`${portal.url}/portal`)).status === 200
  }

  const dump = async (portal: TestPortal): Promise<Record<string, unknown>[]> =>
    await portal.knex('sso_providers').orderBy('slug')

  it('reseals all secrets while users sign in, so that an instance with only the new secret reads them', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    await old.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
    const before = await dump(old)
    const during = await start(testSecret, newSecret)
    const rotator = await start(newSecret, testSecret)

    let rotating = true
    const outcomes: boolean[] = []
    const signIns = [during, rotator].map(async (portal) => {
      // Sign in at least once after the rotation.
      for (let last = false; !last; ) {
        last = !rotating
        outcomes.push(await signsIn(portal))
      }
    })
    const counts = [await rotator.sso.rotateSecrets({ actor: 'cli' }), await rotator.sso.rotateSecrets()]
    rotating = false
    await Promise.all(signIns)
    expect(outcomes.length).toBeGreaterThan(3)
    expect(outcomes).not.toContain(false)
    expect(counts).toEqual([{ providers: 4 }, { providers: 0 }])

    const after = await dump(old)
    for (const [at, row] of after.entries()) {
      const was = before[at]!
      // The version is unchanged, so the rotation interrupts no sign-in.
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
      ['default', 'cli', 3],
      ['default', 'code', 0],
      ['north', 'cli', 1],
    ])
  })

  it('stores no secret in plain text, before or after', async () => {
    const portal = await start(newSecret, testSecret)
    await connectAll(portal)
    for (let n = 0; n < 2; n++) {
      const rows = JSON.stringify([await dump(portal), await portal.knex('sso_events')])
      for (const secret of [provider.clientSecret, testSecret, newSecret, '"d":', '"p":'])
        expect(rows).not.toContain(secret)
      await portal.sso.rotateSecrets()
    }
  })

  it('keeps a change that an administrator saves at the same time', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    const rotator = await start(newSecret, testSecret)
    const during = await start(newSecret, testSecret)
    provider.faults.clientSecrets = [provider.clientSecret, 'a new client secret']
    await Promise.all([
      rotator.sso.rotateSecrets(),
      during.sso.providers.update('acme', { clientSecret: 'a new client secret' }),
      during.sso.providers.rotateClientKey('keys').catch((error: Error) => {
        // The operator sees the error and can retry; no key is lost.
        expect(error.message).toContain('at the same time: try again')
      }),
    ])
    provider.faults.clientSecrets = ['a new client secret']
    const later = await start(newSecret)
    expect((await later.sso.providers.test('acme')).ok).toBe(true)
  })

  it('changes nothing if a secret cannot be unsealed, and names its provider', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    const otherPortal = await start('a-secret-that-is-long-gone-longer-than-32-characters')
    await otherPortal.connect(provider, { slug: 'stray', portal: 'south' })
    const before = await dump(old)
    const rotator = await start(newSecret, testSecret)
    const failure: unknown = await rotator.sso.rotateSecrets().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ManagementError)
    expect((failure as Error).message).toMatch(
      /"stray" in the portal "south" cannot be decrypted with any of the secrets, so nothing was changed/,
    )
    expect(await dump(old)).toEqual(before)
    expect(await old.knex('sso_events').where({ kind: 'secrets-rotated' })).toEqual([])
  })

  it('ignores an unreadable secret of a removed provider, which could not be set again', async () => {
    const old = await start(testSecret)
    await connectAll(old)
    const otherPortal = await start('a-secret-that-is-long-gone-longer-than-32-characters')
    await otherPortal.connect(provider, { slug: 'stray' })
    await otherPortal.sso.providers.remove('stray')
    const rotator = await start(newSecret, testSecret)
    expect(await rotator.sso.rotateSecrets()).toEqual({ providers: 4 })
  })

  it('is an event even if there is nothing to reseal', async () => {
    const portal = await start(newSecret, testSecret)
    expect(await portal.sso.rotateSecrets()).toEqual({ providers: 0 })
    expect(await portal.knex('sso_events').where({ kind: 'secrets-rotated' })).toMatchObject([
      { portal: 'default', detail: '{"providers":0}' },
    ])
  })
})
