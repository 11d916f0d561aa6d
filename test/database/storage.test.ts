import { EventEmitter, once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { isUniqueViolation } from '../../lib/database/connect.ts'
import { migrate, migratorConfig, pendingMigrations, unlockMigrations } from '../../lib/database/migrate.ts'
import { EventLog } from '../../lib/events/event-log.ts'
import { OneTimeLinks } from '../../lib/one-time-links/one-time-links.ts'
import type { NewProvider } from '../../lib/providers/providers-table.ts'
import { LimitsByPortal } from '../../lib/sessions/session-limits.ts'
import { type NewSession, type SessionMatch, SessionsTable } from '../../lib/sessions/sessions-table.ts'
import { EmailTakenError } from '../../lib/shared/errors.ts'
import type { Logger } from '../../lib/shared/logger.ts'
import { digest, Seal } from '../../lib/shared/seal.ts'
import { BlockedIdentitiesTable } from '../../lib/users/blocked-identities-table.ts'
import { IdentitiesTable } from '../../lib/users/identities-table.ts'
import type { User } from '../../lib/users/user-directory.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { createBreakers } from '../../lib/web/core.ts'
import { sharedClock } from '../support/clock.ts'
import { everyEmptyDatabase, type FreshDatabase, openMigrated } from '../support/databases.ts'
import { recordDeletions } from '../support/deletions.ts'
import { testSecret } from '../support/portal.ts'
import { newProvider, openProvidersTable } from '../support/providers.ts'

const allMigrations = [
  '001-initial',
  '002-proven-links',
  '003-blocked-identities',
  '004-provider-trust',
  '005-redeemed-codes',
  '006-any-signing-algorithm',
  '007-reauthentication',
  '008-client-detection',
  '009-pushed-requests',
  '010-indexes-for-large-tables',
  '011-session-endings',
  '012-provider-health',
  '013-provider-marks',
  '014-show-on-picker',
  '015-admin-pages',
]
const longAgo = '2020-01-01T00:00:00.000Z'
const settings = { clientAddress: 'shortened' } as const
const ourTables = [
  'sso_events',
  'sso_identities',
  'sso_email_verifications',
  'sso_providers',
  'sso_redeemed_codes',
  'sso_session_endings',
  'sso_provider_health',
  'sso_provider_logos',
  'sso_event_counts',
  'sso_tasks',
  'sso_sessions',
  'sso_users',
]

/** Results and errors of concurrent calls. */
async function outcomes<T>(calls: Promise<T>[]): Promise<{ values: T[]; errors: unknown[] }> {
  const settled = await Promise.allSettled(calls)
  return {
    values: settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])),
    errors: settled.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : [])),
  }
}

const tenTimes = <T>(act: (n: number) => T): T[] => Array.from({ length: 10 }, (_, n) => act(n))

describe.each(everyEmptyDatabase)('on %s', (name, fresh) => {
  describe('migrations', () => {
    let database: FreshDatabase
    let open: Knex[]
    let knex: Knex

    beforeEach(async () => {
      database = await fresh()
      open = []
      knex = connect()
    })
    afterEach(async () => {
      await Promise.all(open.map((each) => each.destroy()))
      await database.drop()
    })

    /** Opens another connection, as a second instance would. */
    function connect(): Knex {
      // Knex would print to the console that it waits for the lock.
      const another = knexModule({ ...database.config, log: { warn: () => {} } })
      open.push(another)
      return another
    }

    async function tables(): Promise<string[]> {
      const exists = await Promise.all(ourTables.map((table) => knex.schema.hasTable(table)))
      return ourTables.filter((_, index) => exists[index])
    }

    const lock = () => knex('sso_migrations_lock').update({ is_locked: 1 })

    it('can be applied, rolled back and applied again', async () => {
      expect(await migrate(knex)).toEqual(allMigrations)
      expect(await tables()).toEqual(ourTables)
      await knex.migrate.rollback(migratorConfig, true)
      expect(await tables()).toEqual([])
      expect(await migrate(knex)).toEqual(allMigrations)
      expect(await tables()).toEqual(ourTables)
    })

    it('are applied only once', async () => {
      expect(await pendingMigrations(knex)).toEqual(allMigrations)
      await migrate(knex)
      expect(await migrate(knex)).toEqual([])
      expect(await pendingMigrations(knex)).toEqual([])
    })

    it('are applied once if four instances start on an empty database', async () => {
      const ran = await Promise.all(Array.from({ length: 4 }, () => migrate(connect())))
      expect(ran.filter((names) => names.length > 0)).toEqual([allMigrations])
      expect(await tables()).toEqual(ourTables)
      expect(await knex('sso_migrations').orderBy('name').pluck('name')).toEqual(allMigrations)
      expect(await knex('sso_migrations_lock').pluck('is_locked')).toEqual([0])
    })

    it('create a single lock, even if another instance creates it first', async () => {
      const slow = connect()
      const signals = new EventEmitter()
      const heldUp = once(signals, 'held up')
      const released = once(signals, 'release')
      const query = slow.client._query
      slow.client._query = async function (this: unknown, connection: unknown, statement: { sql: string }) {
        if (/^insert into .sso_migrations_lock/.test(statement.sql)) {
          signals.emit('held up')
          await released
        }
        return await query.call(this, connection, statement)
      }
      const late = migrate(slow)
      await heldUp
      expect(await migrate(knex)).toEqual(allMigrations)
      signals.emit('release')
      expect(await late).toEqual([])
      expect(await knex('sso_migrations_lock').pluck('is_locked')).toEqual([0])
    })

    it('wait while another instance runs them', async () => {
      await migrate(knex)
      await knex.migrate.rollback(migratorConfig, true)
      await lock()
      await expect(knex.migrate.latest(migratorConfig)).rejects.toThrow('already locked')
      expect(await tables()).toEqual([])
      const waiting = migrate(knex)
      await unlockMigrations(knex)
      expect(await waiting).toEqual(allMigrations)
    })

    it('fail a minute after a crash with an error that names the unlock command', async () => {
      await migrate(knex)
      await knex.migrate.rollback(migratorConfig, true)
      await lock()
      jest.spyOn(Date, 'now').mockReturnValueOnce(0) // The deadline has passed.
      await expect(migrate(knex)).rejects.toThrow('unlock them with `portal-sso migrate --unlock`')
      await unlockMigrations(knex)
      expect(await migrate(knex)).toEqual(allMigrations)
    })

    it('are independent of the Knex migrations of the host', async () => {
      const invoices: Knex.Migration = {
        up: (on) => on.schema.createTable('invoices', (table) => table.increments()),
        down: (on) => on.schema.dropTable('invoices'),
      }
      const hosts: Knex.MigratorConfig = {
        migrationSource: {
          getMigrations: async () => ['001-invoices'],
          getMigrationName: (name: string) => name,
          getMigration: async () => invoices,
        },
      }
      await knex.migrate.latest(hosts)
      await migrate(knex)
      await knex.migrate.rollback(hosts, true)
      expect(await tables()).toEqual(ourTables)
      await knex.migrate.latest(hosts)
      await knex.migrate.rollback(migratorConfig, true)
      expect(await knex.schema.hasTable('invoices')).toBe(true)
      expect(await knex('knex_migrations').pluck('name')).toEqual(['001-invoices'])
    })
  })

  describe('tables', () => {
    let knex: Knex
    let config: Knex.Config
    let close: () => Promise<void>
    /** Each test uses its own portal, so that it sees only its own rows. */
    let portal: string
    let count = 0

    beforeAll(async () => {
      ;({ config, knex, close } = await openMigrated(fresh))
    })
    afterAll(() => close())
    beforeEach(() => {
      portal = `portal-${count++}`
    })

    describe('providers', () => {
      const table = (...secrets: string[]) => openProvidersTable(knex, ...secrets)
      const acme = (more: Partial<NewProvider> = {}) => newProvider({ portal, ...more })
      const insertAll = async (...slugs: string[]) => {
        for (const slug of slugs) await table().insert(acme({ slug, displayName: slug }))
      }
      const recommended = async () =>
        (await table().list(portal)).filter((each) => each.recommended).map(({ slug }) => slug)

      it('are read back unchanged, with every setting', async () => {
        const full = acme({
          displayName: 'Ärzte “& Söhne” 🏥',
          labels: { de: 'Kundenportal', 'zh-Hant': '客戶入口' },
          note: '🏥'.repeat(80),
          notes: { de: 'Neu hier? “Hier” klicken.' },
          preset: 'entra',
          issuer: `https://id.acme.example/${'ü'.repeat(230)}`,
          clientId: 'Portal at Acme ',
          clientAuthentication: 'client_secret_jwt',
          signingAlgorithm: 'PS256',
          responseMode: 'form_post',
          pushedRequests: true,
          dpop: true,
          prompt: 'select_account',
          relinkUntil: '2027-01-31T00:00:00.000Z',
          authorizationParameters: { domain_hint: 'acme.example', ui_locales: 'de en', quote: '"\\' },
          emailClaim: 'preferred_username',
          trustsEmail: true,
          showOnPicker: false,
          emailDomains: ['acme.example', 'xn--rzte-koa.example'],
          tenants: ['11111111-2222-4333-8444-555555555555'],
          organizationClaim: 'org_id',
          organizationValues: ['acme', 'Acme '],
          maxAge: 28_800,
          acr: ['mfa'],
          logout: 'portal',
          frontChannelLogout: true,
          secretEncoding: 'raw',
          assertionAudience: 'token_endpoint',
          metadataUrl: 'https://id.acme.example/metadata',
          clientSecretReference: 'file:/run/secrets/acme',
          clientSecretExpiresAt: '2027-01-31T00:00:00.000Z',
          proxy: 'http://proxy.example.com:3128',
          certificateAuthority: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
          enabled: false,
        })
        const { portal: _portal, slug: _slug, ...defaults } = acme()
        for (const [name, value] of Object.entries(defaults))
          expect([name, full[name as keyof NewProvider]]).not.toEqual([name, value])
        const rest = {
          id: expect.any(String),
          recommended: false,
          position: 1,
          version: 1,
          logoHash: undefined,
          relinkSince: expect.any(String),
          testSignInUserId: undefined,
          testSignInAt: undefined,
          retireAt: undefined,
          lastTest: undefined,
          reauthentication: undefined,
          health: undefined,
        }
        expect(await table().insert(full)).toStrictEqual({ ...full, ...rest })
        expect(await table().find(portal, 'acme')).toStrictEqual({ ...full, ...rest })
        const plain = acme({ slug: 'plain', signingAlgorithm: undefined })
        expect(await table().insert(plain)).toStrictEqual({
          ...plain,
          ...rest,
          position: 2,
          relinkSince: undefined,
        })
      })

      it('are listed by position, with the recommended one first', async () => {
        await insertAll('zebra', 'acme', 'middle')
        const slugs = async () => (await table().list(portal)).map(({ slug }) => slug)
        expect(await slugs()).toEqual(['zebra', 'acme', 'middle'])
        await table().recommend(portal, 'middle')
        expect(await slugs()).toEqual(['middle', 'zebra', 'acme'])
      })

      it('include at most one recommended provider, even after ten concurrent changes', async () => {
        await insertAll('one', 'two', 'three')
        expect(await recommended()).toEqual([])
        await table().recommend(portal, 'one')
        await table().recommend(portal, 'two')
        expect(await recommended()).toEqual(['two'])
        await Promise.all(
          tenTimes((n) => table().recommend(portal, ['one', 'two', 'three'][n % 3] as string)),
        )
        expect(await recommended()).toHaveLength(1)
        await table().recommend(portal)
        expect(await recommended()).toEqual([])
      })

      it('of another portal are unaffected by changes', async () => {
        const elsewhere = `${portal}-elsewhere`
        const there = await table().insert(acme({ portal: elsewhere }), { clientSecret: 'their secret' })
        await table().recommend(elsewhere, 'acme')
        const here = await table().insert(acme(), { clientSecret: 'our secret' })
        await table().recommend(portal, 'acme')
        await table().update(here, { displayName: 'Ours' }, { clientSecret: null })
        await table().disable(here)
        await table().disable(here, { removes: true })
        expect(await table().list(elsewhere)).toStrictEqual([{ ...there, recommended: true }])
        expect(await table().clientSecret(there)).toBe('their secret')
        expect(await table().anyEnabled(elsewhere)).toBe(true)
      })

      it('get a new version with each change, and reject changes to an outdated version', async () => {
        const first = await table().insert(acme(), { clientSecret: 'secret' })
        const second = await table().update(first, { displayName: 'Acme International' })
        expect(second).toStrictEqual({ ...first, displayName: 'Acme International', version: 2 })
        await table().disable(second)
        expect(await table().find(portal, 'acme')).toMatchObject({ enabled: false, version: 3 })
        // The caller has tested an outdated row, so the update would save an untested combination.
        await expect(table().update(first, { clientId: 'other' })).rejects.toThrow('changed by someone else')
        expect(await table().find(portal, 'acme')).toMatchObject({ clientId: first.clientId, version: 3 })
      })

      it('are offered only while enabled, and are not listed after removal', async () => {
        const provider = await table().insert(acme(), { clientSecret: 'secret' })
        const offered = async () => ({
          any: await table().anyEnabled(portal),
          slugs: (await table().listEnabled(portal)).map(({ slug }) => slug),
        })
        expect(await offered()).toEqual({ any: true, slugs: ['acme'] })
        await table().disable(provider)
        expect(await offered()).toEqual({ any: false, slugs: [] })
        expect(await table().list(portal)).toHaveLength(1)
        await expect(table().enable(provider)).rejects.toThrow('changed by someone else')
        await table().enable(await table().get(portal, 'acme'))
        expect(await offered()).toEqual({ any: true, slugs: ['acme'] })
        await table().disable(provider, { removes: true })
        expect(await table().list(portal)).toEqual([])
        expect(await table().find(portal, 'acme')).toBeUndefined()
      })

      it('have a unique slug within a portal, even with ten concurrent inserts', async () => {
        const { values, errors } = await outcomes(
          tenTimes(() => table().insert(acme(), { clientSecret: 'secret' })),
        )
        expect(values).toHaveLength(1)
        expect(errors.map((error) => (error as Error).message)).toEqual(
          Array(9).fill(
            'slug: a provider called "acme" is already connected: choose another slug, or update that one',
          ),
        )
        const elsewhere = await table().insert(acme({ portal: `${portal}-elsewhere` }), {
          clientSecret: 'secret',
        })
        expect(elsewhere.slug).toBe('acme')
      })

      describe('have a client secret', () => {
        const secret = 'the-client-secret-&%'
        const rowOf = ({ id }: { id: string }) => knex('sso_providers').where({ id }).first()

        it('that no column contains in plain or encoded form', async () => {
          const provider = await table().insert(acme(), { clientSecret: secret })
          const row = JSON.stringify(await rowOf(provider))
          const encoded = (['base64', 'base64url', 'hex'] as const).map((to) =>
            Buffer.from(secret).toString(to).replace(/=+$/, ''),
          )
          for (const text of [secret, encodeURIComponent(secret), ...encoded]) expect(row).not.toContain(text)
          expect(provider).not.toHaveProperty('clientSecret')
          expect(await table().clientSecret(provider)).toBe(secret)
        })

        it('that is sealed differently each time, so that equal secrets look different', async () => {
          const one = await rowOf(await table().insert(acme({ slug: 'one' }), { clientSecret: secret }))
          const two = await rowOf(await table().insert(acme({ slug: 'two' }), { clientSecret: secret }))
          expect(one.client_secret).not.toBe(two.client_secret)
        })

        it('that the older SSO secret can still open, while the newer one seals', async () => {
          const [older, newer] = [
            'the older secret, long enough for this',
            'the-newer-secret-that-is-long-enough-too',
          ]
          const provider = await table(older).insert(acme(), { clientSecret: secret })
          const rotated = table(newer, older)
          expect(await rotated.clientSecret(provider)).toBe(secret)
          const renewed = await rotated.update(provider, {}, { clientSecret: 'a new client secret' })
          expect(await table(newer).clientSecret(renewed)).toBe('a new client secret')
        })

        it('that another SSO secret cannot open, with an error that says what to do', async () => {
          const provider = await table().insert(acme(), { clientSecret: secret })
          await expect(table('quite another secret, long enough').clientSecret(provider)).rejects.toThrow(
            'a client secret was sealed under another SSO_SECRET: add the old one behind the new one ' +
              '(secret: [new, old]), or set the client secret again',
          )
        })

        it('that does not open in another row', async () => {
          const { id } = await table().insert(acme(), { clientSecret: secret })
          const other = await table().insert(acme({ slug: 'other' }), { clientSecret: 'of the other' })
          const { client_secret } = await rowOf({ id })
          await knex('sso_providers').where({ id: other.id }).update({ client_secret })
          await expect(table().clientSecret(other)).rejects.toThrow('set the client secret again')
        })

        it('that does not open after a change of a character', async () => {
          const provider = await table().insert(acme(), { clientSecret: secret })
          const { client_secret } = await rowOf(provider)
          const changed = client_secret.replace(/.(?=.{5}$)/, (at: string) => (at === 'A' ? 'B' : 'A'))
          await knex('sso_providers').where({ id: provider.id }).update({ client_secret: changed })
          await expect(table().clientSecret(provider)).rejects.toThrow('set the client secret again')
        })

        it('that survives other changes and can be replaced and removed', async () => {
          const provider = await table().insert(acme(), { clientSecret: secret })
          const renamed = await table().update(provider, { displayName: 'Renamed' })
          expect(await table().clientSecret(renamed)).toBe(secret)
          const renewed = await table().update(renamed, {}, { clientSecret: 'new' })
          expect(await table().clientSecret(renewed)).toBe('new')
          // An outdated row must not send the new secret to its old endpoint.
          expect(await table().clientSecret(provider)).toBeUndefined()
          const open = await table().update(renewed, { clientAuthentication: 'none' }, { clientSecret: null })
          expect(await table().clientSecret(open)).toBeUndefined()
        })
      })
    })

    describe('users', () => {
      const table = () => new UsersTable({ knex })
      const all = async () => {
        const pages: User[][] = []
        for await (const page of table().pages(portal)) pages.push(page)
        return pages.flat()
      }
      const ada = { email: 'ada@example.com', name: 'Ada Lovelace', fields: { phone: '1', news: true } }

      it('are found by id and by address in their portal only, and their fields are stored', async () => {
        const user = await table().create(ada, portal)
        expect(user).toEqual({
          id: expect.any(String),
          email: 'ada@example.com',
          name: 'Ada Lovelace',
          active: true,
        })
        expect(await table().findById(user.id, portal)).toStrictEqual(user)
        expect(await table().findByEmail(user.email, portal)).toStrictEqual(user)
        expect(await table().findAll([user.id, 'nobody'], portal)).toStrictEqual([user])
        expect(await table().findById(user.id, 'elsewhere')).toBeUndefined()
        // Attacker: an administrator of another portal, who asks for the name that belongs to an ID.
        expect(await table().findAll([user.id], 'elsewhere')).toEqual([])
        expect(await table().findByEmail(user.email, 'elsewhere')).toBeUndefined()
        const row = await knex('sso_users').where({ id: user.id }).first()
        expect(JSON.parse(row.fields)).toEqual({ phone: '1', news: true })
      })

      it('are found by their exact address, not by a look-alike', async () => {
        await table().create({ ...ada, email: 'kim@example.com' }, portal)
        for (const email of ['KIM@example.com', 'kim@example.com ', 'k\u0131m@example.com', 'k%@example.com'])
          expect(await table().findByEmail(email, portal)).toBeUndefined()
      })

      it('have different addresses that a loose comparison would take for the same', async () => {
        const emails = [
          'kim@example.com',
          'Kim@example.com',
          'kím@example.com',
          'kim@example.com ',
          '\u212aim@example.com',
        ]
        for (const email of emails) await table().create({ ...ada, email }, portal)
        for (const email of emails) expect((await table().findByEmail(email, portal))?.email).toBe(email)
      })

      it('are created once if ten concurrent registrations use the same address', async () => {
        const { values, errors } = await outcomes(tenTimes(() => table().create(ada, portal)))
        expect(values).toHaveLength(1)
        expect(errors.filter((error) => error instanceof EmailTakenError)).toHaveLength(9)
        expect(await all()).toStrictEqual(values)
      })

      it('in two portals can have the same address', async () => {
        const here = await table().create(ada, portal)
        const there = await table().create(ada, `${portal}-elsewhere`)
        expect(there.id).not.toBe(here.id)
      })

      it('can be inactive', async () => {
        const { id } = await table().create(ada, portal)
        await knex('sso_users').where({ id }).update({ active: false })
        expect((await table().findById(id, portal))?.active).toBe(false)
      })

      it('are sorted by address', async () => {
        for (const name of ['grace', 'ada', 'mary'])
          await table().create({ email: `${name}@example.com`, name, fields: {} }, portal)
        expect((await all()).map(({ name }) => name)).toEqual(['ada', 'grace', 'mary'])
      })
    })

    describe('identities', () => {
      const table = () => new IdentitiesTable({ knex }, new BlockedIdentitiesTable({ knex }))
      const adaIdentity = { issuer: 'https://id.acme.example', subject: 'ada' }
      const createLink = (userId: string, staleUserId?: string, more = {}) =>
        table().link(
          {
            portal,
            userId,
            providerId: 'provider',
            email: 'ada@example.com',
            provenEmail: undefined,
            ...adaIdentity,
            ...more,
          },
          staleUserId,
        )
      const link = async (...given: Parameters<typeof createLink>) => (await createLink(...given)).userId
      const rows = () => knex('sso_identities').where({ portal })

      it('are linked once by ten concurrent calls, which all return the same user', async () => {
        const links = await Promise.all(tenTimes((n) => createLink(`user-${n}`)))
        const linkedTo = links.map(({ userId }) => userId)
        expect(new Set(linkedTo).size).toBe(1)
        // Only the call that creates the link is recorded and causes an e-mail.
        expect(links.filter((each) => each.made)).toHaveLength(1)
        expect(await rows()).toHaveLength(1)
        expect(await table().findUserId(portal, adaIdentity)).toBe(linkedTo[0])
      })

      it('are compared byte by byte: case, accents, trailing spaces', async () => {
        const subjects = ['ada', 'Ada', 'ada ', 'àda', 'a\u0300da', 'ada\u0000', 'adA', 'ａda']
        const stored = subjects.filter((subject) => !subject.includes('\u0000'))
        for (const subject of stored)
          expect((await createLink(subject, undefined, { subject })).made).toBe(true)
        for (const subject of stored)
          expect(await table().findUserId(portal, { ...adaIdentity, subject })).toBe(subject)
      })

      it('are found by their exact issuer and subject, within their portal', async () => {
        await link('ada')
        const others = [
          { ...adaIdentity, subject: 'Ada' },
          { ...adaIdentity, subject: 'ada ' },
          { ...adaIdentity, issuer: 'https://id.acme.example/' },
        ]
        for (const other of others) expect(await table().findUserId(portal, other)).toBeUndefined()
        expect(await table().findUserId('elsewhere', adaIdentity)).toBeUndefined()
        expect(await link('grace', undefined, { subject: 'Ada' })).toBe('grace')
        expect(await link('mary', undefined, { portal: `${portal}-elsewhere` })).toBe('mary')
        expect(await table().findUserId(portal, adaIdentity)).toBe('ada')
      })

      it('stay linked to the first user unless the caller names that user as stale', async () => {
        await link('ada')
        expect(await link('grace')).toBe('ada')
        expect(await link('grace', 'somebody else')).toBe('ada')
        expect(await table().findUserId(portal, adaIdentity)).toBe('ada')
        expect(await link('grace', 'ada')).toBe('grace')
        expect(await table().findUserId(portal, adaIdentity)).toBe('grace')
        expect(await rows()).toHaveLength(1)
      })

      it('of a deleted user are relinked once by ten concurrent calls', async () => {
        await link('gone')
        const linkedTo = await Promise.all(tenTimes((n) => link(`user-${n}`, 'gone')))
        expect(new Set(linkedTo).size).toBe(1)
        expect(await rows()).toHaveLength(1)
      })
    })

    describe('the sessions table', () => {
      const seal = new Seal([testSecret], 'session-index')
      const limits = new LimitsByPortal({ idleMinutes: 30, absoluteHours: 12 }, {}, sharedClock)
      const table = () => new SessionsTable({ knex, clock: sharedClock }, seal, limits)
      const session = (sessionId: string): NewSession => ({
        sessionId,
        portal,
        userId: 'user',
        signIn: {
          provider: { id: 'provider', slug: 'acme' },
          issuer: 'https://id.acme.example',
          subject: 'ada',
          sid: 'sid-at-provider',
        },
        browser: 'Firefox',
        os: 'Windows',
        location: '203.0.113.0/24',
        expiresAt: new Date('2030-01-02T03:04:05.678Z'),
      })
      const rows = () => knex('sso_sessions').where({ portal })
      const idsOf = async (match: SessionMatch) => {
        const found: (string | undefined)[] = []
        for await (const ended of table().remove(match))
          found.push(...ended.map(({ sessionId }) => sessionId))
        return found
      }

      it('stores session ids only in sealed form', async () => {
        const sessionId = `${portal}-a-session-id-of-32-characters`
        await table().add(session(sessionId))
        const [row] = await rows()
        expect(JSON.stringify(row)).not.toContain(sessionId)
        expect(JSON.stringify(row)).not.toContain(Buffer.from(sessionId).toString('base64url'))
        expect(await seal.open(row.session, row.id)).toBe(sessionId)
        expect(row).toMatchObject({
          user_id: 'user',
          sid: 'sid-at-provider',
          expires_at: '2030-01-02T03:04:05.678Z',
        })
      })

      it('ignores expired sessions, but ends them: by the clock of another instance they may be valid', async () => {
        const expired = `${portal}-expired`
        await table().add({ ...session(expired), expiresAt: new Date(Date.now() - 1000) })
        await table().add(session(`${portal}-runs`))
        expect(await table().lastSeen(expired)).toBeUndefined()
        expect(await table().list({ portal, userId: 'user' })).toHaveLength(1)
        expect((await idsOf({ portal, provider: 'acme' })).sort()).toEqual([expired, `${portal}-runs`])
      })

      it('lists sessions newest first, with details that a user recognizes and without the session id', async () => {
        for (const name of ['first', 'second', 'third']) await table().add(session(`${portal}-${name}`))
        for (const [n, name] of ['first', 'second', 'third'].entries())
          await rows()
            .where({ id: digest(`${portal}-${name}`) })
            .update({ created_at: `2026-01-0${n + 1}T00:00:00.000Z` })
        const listed = await table().list({ portal, userId: 'user' })
        const third = digest(`${portal}-third`)
        expect(listed.map(({ id }) => id)).toEqual([
          third,
          digest(`${portal}-second`),
          digest(`${portal}-first`),
        ])
        expect(listed[0]).toEqual({
          id: third,
          userId: 'user',
          provider: 'acme',
          browser: 'Firefox',
          os: 'Windows',
          location: '203.0.113.0/24',
          startedAt: '2026-01-03T00:00:00.000Z',
          lastSeenAt: expect.any(String),
        })
        expect(await table().list({ portal, userId: 'user' }, 2)).toHaveLength(2)
        expect(await table().list({ portal, userId: 'user', except: third })).toHaveLength(2)
        expect(await table().list({ portal, id: third, userId: 'somebody else' })).toEqual([])
        expect(await table().list({ portal: 'elsewhere', userId: 'user' })).toEqual([])
        // Expire the idle time of the third session.
        const idle = new Date(Date.now() - 30 * 60_000 - 1).toISOString()
        await rows().where({ id: third }).update({ last_seen_at: idle })
        expect(await table().list({ portal, userId: 'user' })).toHaveLength(2)
      })

      it('renews a session, but does not restore a revoked one', async () => {
        const sessionId = `${portal}-seen`
        await table().add(session(sessionId))
        await rows().update({ last_seen_at: '2020-01-01T00:00:00.000Z' })
        expect(await table().lastSeen(sessionId)).toEqual(new Date('2020-01-01T00:00:00.000Z'))
        await table().renew(sessionId)
        expect(Date.now() - (await table().lastSeen(sessionId))!.getTime()).toBeLessThan(60_000)
        await idsOf({ sessionId })
        await table().renew(sessionId)
        expect(await table().lastSeen(sessionId)).toBeUndefined()
      })

      it('removes more sessions than fit into one statement, with a turn for other requests in between, and no concurrent call returns early', async () => {
        const many = Array.from({ length: 1203 }, (_, n) => ({
          id: digest(`${portal}-${n}`),
          portal,
          user_id: 'many',
          session: 'not ours to open',
          created_at: '2026-01-01T00:00:00.000Z',
          last_seen_at: '2026-01-01T00:00:00.000Z',
          expires_at: '2030-01-01T00:00:00.000Z',
        }))
        await knex.batchInsert('sso_sessions', many, 100)
        const match = { portal, userId: 'many' }
        const batches = await recordDeletions(knex, 'sso_sessions', () => idsOf(match))
        expect(batches).toEqual([250, 250, 250, 250, 203])
        expect(await knex('sso_session_endings')).toEqual([])
        await knex.batchInsert('sso_sessions', many, 100)
        const removeAll = async () => {
          await idsOf(match)
          return (await rows().pluck('id')).length
        }
        expect(await Promise.all([removeAll(), removeAll(), removeAll()])).toEqual([0, 0, 0])
      })

      it('removes only the matching session', async () => {
        await table().add(session(`${portal}-one`))
        await table().add({ ...session(`${portal}-two`), signIn: undefined })
        expect(await idsOf({ sessionId: `${portal}-one` })).toEqual([`${portal}-one`])
        expect(await idsOf({ sessionId: 'unknown session' })).toEqual([])
        const left = await rows()
        expect(left).toHaveLength(1)
        expect(await seal.open(left[0].session, left[0].id)).toBe(`${portal}-two`)
        expect(left[0].sid).toBeNull()
      })
    })

    describe('events', () => {
      const log = () => {
        const lines: string[] = []
        const write = (fields: object, message: string) => {
          lines.push(`${message} ${JSON.stringify(fields)}`)
        }
        const logger: Logger = { info: write, warn: write, error: write }
        return { lines, logger }
      }

      const coreOf = (on: Knex, logger = log().logger) => {
        return { knex: on, logger, breakers: createBreakers(on, logger) }
      }

      it('are written and emitted with all fields', async () => {
        const events = new EventLog(coreOf(knex), settings)
        const received: unknown[] = []
        events.emitter.on('sign-in-failed', (event) => received.push(event))
        const event = {
          kind: 'sign-in-failed',
          portal,
          provider: 'acme',
          reference: 'ABCD2345',
          clientAddress: '203.0.113.77',
          detail: { code: 'response_invalid', reason: 'the signature' },
        } as const
        await events.record(event)
        await events.record({ kind: 'signed-out', portal, userId: 'ada' })
        const [first, second] = await knex('sso_events').where({ portal }).orderBy('kind')
        expect(first).toMatchObject({
          kind: 'sign-in-failed',
          provider: 'acme',
          reference: 'ABCD2345',
          user_id: null,
          client_address: '203.0.113.0/24',
        })
        expect(JSON.parse(first.detail)).toEqual(event.detail)
        expect(Math.abs(Date.now() - Date.parse(first.at))).toBeLessThan(60_000)
        expect(second).toMatchObject({
          kind: 'signed-out',
          user_id: 'ada',
          provider: null,
          reference: null,
          detail: '{}',
          client_address: null,
        })
        expect(received).toEqual([{ ...event, clientAddress: '203.0.113.0/24' }])
      })

      it('of one turn of the event loop are one statement, and one that the database refuses keeps no other out', async () => {
        const { lines, logger } = log()
        const events = new EventLog(coreOf(knex, logger), settings)
        const received = jest.fn()
        events.emitter.on('signed-in', received)
        const statements: string[] = []
        const listen = ({ sql }: { sql: string }) => void statements.push(sql)
        knex.on('query', listen)
        const people = Array.from({ length: 3 }, (_, n) => `person-${n}`)
        const record = (userId: string, kind = 'signed-in') =>
          events.record({ kind, portal, userId } as never)
        const stored = async () =>
          await knex('sso_events').where({ portal }).orderBy('user_id').pluck('user_id')
        try {
          await Promise.all(people.map((userId) => record(userId)))
          expect(statements).toHaveLength(1)
          expect(await stored()).toEqual(people)
          statements.length = 0
          await Promise.all([record('person-3'), record('refused', null as never), record('person-4')])
          expect(statements).toHaveLength(4)
          expect(await stored()).toEqual([...people, 'person-3', 'person-4'])
          expect(lines).toEqual([expect.stringContaining('an event could not be written')])
          statements.length = 0
          await Promise.all(Array.from({ length: 250 }, () => record('many')))
          expect(statements).toHaveLength(3)
          expect((await stored()).filter((userId) => userId === 'many')).toHaveLength(250)
          expect(received).toHaveBeenCalledTimes(255)
        } finally {
          knex.removeListener('query', listen)
        }
      })

      it('are logged and still emitted if they cannot be written', async () => {
        const { lines, logger } = log()
        const closed = knexModule(config)
        await closed.destroy()
        const events = new EventLog(coreOf(closed, logger), settings)
        const received = jest.fn()
        events.emitter.on('signed-in', received)
        await events.record({ kind: 'signed-in', portal, userId: 'ada' })
        expect(lines).toEqual([
          expect.stringContaining('the database or the user directory is not available'),
        ])
        expect(received).toHaveBeenCalledTimes(1)
      })

      it('are written even if a listener throws or rejects, which is logged', async () => {
        const { lines, logger } = log()
        const events = new EventLog(coreOf(knex, logger), settings)
        events.emitter.on('signed-in', () => {
          throw new Error('thrown at once')
        })
        events.emitter.on('signed-out', async () => {
          throw new Error('thrown later')
        })
        await events.record({ kind: 'signed-in', portal, userId: 'ada' })
        await events.record({ kind: 'signed-out', portal, userId: 'ada' })
        await new Promise(setImmediate)
        expect(lines).toEqual([
          expect.stringContaining('thrown at once'),
          expect.stringContaining('thrown later'),
        ])
        expect(await knex('sso_events').where({ portal })).toHaveLength(2)
      })
    })

    describe('one-time links', () => {
      const links = () => new OneTimeLinks({ clock: sharedClock, knex })

      it('are used once by ten concurrent requests, and only as what they are', async () => {
        const { token } = await links().create(portal, 'break-glass', { actor: 'cli' })
        expect(await links().take(portal, 'test-sign-in', token)).toBeUndefined()
        expect(await links().take('elsewhere', 'break-glass', token)).toBeUndefined()
        expect(await links().take(portal, 'break-glass', token.toLowerCase())).toBeUndefined()
        expect(await links().find(portal, 'break-glass', token)).toMatchObject({ detail: { actor: 'cli' } })
        const taken = await Promise.all(tenTimes(() => links().take(portal, 'break-glass', token)))
        expect(taken.filter((link) => link !== undefined)).toHaveLength(1)
        expect(await links().find(portal, 'break-glass', token)).toBeUndefined()
      })

      it('keep the outcome, and expire unused', async () => {
        const { token } = await links().create(portal, 'test-sign-in', { actor: 'cli', provider: 'acme' })
        expect(await links().outcome(token)).toBe('waiting')
        const link = await links().take(portal, 'test-sign-in', token)
        await links().setOutcome(link!.id, 'passed')
        expect(await links().outcome(token)).toBe('passed')
        const unused = await links().create(portal, 'test-sign-in', { actor: 'cli' })
        await knex('sso_one_time_links').where({ portal, used_at: null }).update({ expires_at: longAgo })
        expect(await links().take(portal, 'test-sign-in', unused.token)).toBeUndefined()
        expect(await links().outcome(unused.token)).toBe('expired')
      })
    })

    describe('unique columns', () => {
      const unique: [table: string, columns: string[]][] = [
        ['sso_providers', ['portal', 'slug']],
        ['sso_users', ['portal', 'email']],
        ['sso_identities', ['portal', 'issuer', 'subject']],
        ['sso_blocked_identities', ['portal', 'issuer', 'subject', 'user_id']],
        ['sso_sessions', ['id']],
        ['sso_events', ['id']],
        ['sso_email_verifications', ['id']],
        ['sso_one_time_links', ['id']],
        ['sso_logout_tokens', ['id']],
        ['sso_redeemed_codes', ['id']],
        ['sso_session_endings', ['id']],
        ['sso_provider_health', ['provider_id']],
        ['sso_provider_logos', ['provider_id']],
        ['sso_event_counts', ['portal', 'provider', 'day']],
        ['sso_tasks', ['id']],
      ]
      const keyOf = (table: string) => (table.startsWith('sso_provider_') ? 'provider_id' : 'id')
      const lookAlikes = [
        'ada',
        'Ada',
        'adA',
        'ada ',
        'ada  ',
        'àda',
        'a\u0300da',
        'ａda',
        'ada\u200b',
        'ass',
        'aß',
      ]

      if (name === 'MariaDB') {
        it('are all listed here, and every text has the same collation', async () => {
          const ours =
            "table_schema = database() and table_name like 'sso%' and table_name not like '%migrations%'"
          const [indexes] = (await knex.raw(
            `select table_name as name, group_concat(column_name order by seq_in_index) as columns from information_schema.statistics where ${ours} and non_unique = 0 group by table_name, index_name`,
          )) as [{ name: string; columns: string }[]]
          const listed = unique.flatMap(([table, columns]) => [
            table === 'sso_blocked_identities' ? `${table} identity_digest` : `${table} ${columns}`,
            `${table} ${keyOf(table)}`,
          ])
          expect(new Set(indexes.map(({ name, columns }) => `${name} ${columns}`))).toEqual(new Set(listed))
          const [collations] = (await knex.raw(
            `select distinct collation_name as name from information_schema.columns where ${ours} and collation_name is not null`,
          )) as [{ name: string }[]]
          expect(collations.map((each) => each.name)).toEqual(['utf8mb4_nopad_bin'])
        })

        it('and all others have indexes that MySQL can create, too: of at most 3072 bytes', async () => {
          const [kinds] = (await knex.raw(
            'select distinct index_type as kind from information_schema.statistics where table_schema = database()',
          )) as [{ kind: string }[]]
          // MariaDB creates another kind for a longer one.
          expect(kinds).toEqual([{ kind: 'BTREE' }])
        })
      }

      /** A row of any table, with a value in each column that requires one. */
      async function rowOf(table: string): Promise<Record<string, unknown>> {
        const columns = Object.entries(await knex(table).columnInfo())
        return Object.fromEntries(
          columns
            .filter(([, { nullable }]) => !nullable)
            .map(([column, { type }]) => [
              column,
              /int|bool/.test(type) ? 0 : `${portal} ${column}`.slice(0, 24),
            ]),
        )
      }

      it.each(unique)('of %s are compared byte by byte: %j', async (table, columns) => {
        const row = await rowOf(table)
        const key = keyOf(table)
        for (const column of columns) {
          const rows: Record<string, unknown>[] = lookAlikes.map((value, n) => ({
            ...row,
            [key]: `${portal} ${column} ${n}`,
            [column]: value,
          }))
          for (const each of rows) await knex(table).insert(each)
          for (const { [key]: id, [column]: value } of rows)
            expect(
              await knex(table)
                .where({
                  [column]: value,
                  ...(column !== 'portal' && column !== key && { portal: row.portal as string }),
                })
                .pluck(key),
            ).toEqual([id])
        }
      })
    })

    describe('isUniqueViolation', () => {
      const user = (id: string, email: string) => ({
        id,
        portal,
        email,
        name: 'Ada',
        active: true,
        fields: '{}',
        created_at: '2020-01-01T00:00:00.000Z',
      })
      const failure = async (row: object): Promise<unknown> => {
        const { errors } = await outcomes([knex('sso_users').insert(row)])
        return errors[0]
      }

      it('is true only for a duplicate row', async () => {
        await knex('sso_users').insert(user(`${portal}-1`, 'ada@example.com'))
        const sameAddress = await failure(user(`${portal}-2`, 'ada@example.com'))
        const sameId = await failure(user(`${portal}-1`, 'grace@example.com'))
        const nameMissing = await failure({ ...user(`${portal}-3`, 'grace@example.com'), name: null })
        const columnUnknown = await failure({ ...user(`${portal}-4`, 'mary@example.com'), age: 1 })
        expect([sameAddress, sameId].map(isUniqueViolation)).toEqual([true, true])
        expect(nameMissing).toBeInstanceOf(Error)
        expect(columnUnknown).toBeInstanceOf(Error)
        const others = [nameMissing, columnUnknown, new Error('UNIQUE'), 'text', null, undefined]
        expect(others.map(isUniqueViolation)).toEqual(Array(6).fill(false))
        const ofSqlite3 = ['UNIQUE constraint failed: sso_users.portal', 'NOT NULL constraint failed'].map(
          (reason) => Object.assign(new Error(`SQLITE_CONSTRAINT: ${reason}`), { code: 'SQLITE_CONSTRAINT' }),
        )
        expect(ofSqlite3.map(isUniqueViolation)).toEqual([true, false])
      })
    })
  })
})
