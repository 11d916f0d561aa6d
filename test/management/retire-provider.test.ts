import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Express } from 'express'
import session, { MemoryStore } from 'express-session'
import knexModule, { type Knex } from 'knex'
import type { EventKind, PortalSso } from '../../lib/index.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { databases, type FreshDatabase } from '../support/databases.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { Visitor } from '../support/visitor.ts'

const hour = 3_600_000
const inHours = (count: number) => new Date(Date.now() + count * hour)

/** A host with its own express-session, and this store. */
const withStoreOf = (store: session.Store) => (app: Express, sso: PortalSso) => {
  app.use(session({ store, secret: 'of the host', resave: false, saveUninitialized: false }))
  app.use(sso.router())
  app.use('/portal', sso.guard(), (_req, res) => {
    res.send('in')
  })
}

describe.each(databases)('a provider on %s', (_name, fresh) => {
  let acme: FaultyProvider
  let other: FaultyProvider
  let database: FreshDatabase
  let knex: Knex
  let portal: TestPortal
  const open = closedAfterEach()

  beforeAll(async () => {
    acme = await startFaultyProvider()
    other = await startFaultyProvider({ clientId: 'other' })
    database = await fresh()
    knex = knexModule(database.config)
    open.push(await startPortal({ database: knex })) // makes the tables
  })
  afterAll(async () => {
    await Promise.all([acme.close(), other.close()])
    await knex.destroy()
    await database.drop()
  })
  beforeEach(async () => {
    acme.reset()
    other.reset()
    for (const table of ['sso_providers', 'sso_identities', 'sso_users', 'sso_events', 'sso_sessions'])
      await knex(table).delete()
    portal = await instance()
    await portal.connect(acme)
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    for (const email of ['ada@example.com', 'bob@example.com'])
      await new UsersTable({ knex }).create({ email, name: email, fields: {} }, 'default')
  })

  async function instance(options: TestPortalOptions = {}): Promise<TestPortal> {
    const started = await startPortal({ ...options, database: knex })
    open.push(started)
    return started
  }

  async function signIn(slug = 'acme', at = portal): Promise<Visitor> {
    const visitor = new Visitor()
    await visitor.open(`${at.url}/login/${slug}?returnTo=/portal`)
    return visitor
  }

  const isIn = async (visitor: Visitor, at = portal) => (await visitor.get(`${at.url}/portal`)).status === 200
  const row = (slug = 'acme') => knex('sso_providers').where({ slug }).first()
  /** Its last day was so long ago, in milliseconds; upkeep waits a moment for those who are just coming in. */
  const lastDayWas = (ago: number) =>
    knex('sso_providers')
      .where({ slug: 'acme' })
      .update({ retire_at: new Date(Date.now() - ago).toISOString() })
  async function events(kind: EventKind): Promise<{ actor: string; detail: unknown }[]> {
    const rows = await knex('sso_events').where({ kind }).orderBy('at')
    return rows.map(({ actor, detail }) => ({ actor, detail: JSON.parse(detail) }))
  }

  describe('that is to retire', () => {
    it('says so on the login page until its last day, in the language of the reader, and works as before', async () => {
      const at = new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth() + 2, 15, 12))
      await portal.sso.providers.retire('acme', at, { actor: 'root' })
      const picker = async (lang: string) =>
        (await new Visitor({ 'accept-language': lang }).get(`${portal.url}/login`)).body
      const date = (lang: string) =>
        new Intl.DateTimeFormat(lang, { day: 'numeric', month: 'long' }).format(at)
      const english = await picker('en')
      expect(english).toContain(`Available until ${date('en')}`)
      expect(english.match(/Available until/g)).toHaveLength(1)
      expect(await picker('de')).toContain(`Verfügbar bis ${date('de')}`)
      expect(await isIn(await signIn())).toBe(true)
      expect(await events('provider-retiring')).toEqual([{ actor: 'root', detail: { at: at.toISOString() } }])
    })

    it('is disabled from that moment on, on every instance, before anybody has touched its row', async () => {
      const another = await instance()
      await portal.sso.providers.retire('acme', inHours(1))
      expect(await isIn(await signIn('acme', another), another)).toBe(true)
      await lastDayWas(1)
      expect((await row()).enabled).toBeTruthy()
      for (const each of [portal, another]) {
        expect((await new Visitor().get(`${each.url}/login`)).body).not.toContain('/login/acme')
        expect((await new Visitor().get(`${each.url}/login/acme`)).status).toBe(404)
        expect(await each.sso.providers.find('acme')).toMatchObject({ enabled: false })
      }
      await knex('sso_providers').where({ slug: 'other' }).delete()
      expect((await new Visitor().get(`${portal.url}/login`)).status).toBe(404)
    })

    it('lets nobody in whose sign-in was under way', async () => {
      const visitor = new Visitor()
      const start = await visitor.get(`${portal.url}/login/acme`)
      const answer = await visitor.get(start.location!)
      await lastDayWas(1)
      await visitor.follow(answer)
      expect(await isIn(visitor)).toBe(false)
    })

    it('has its sessions ended, and nobody else’s, and is disabled for good by one of the instances', async () => {
      const another = await instance()
      const theirs = await Promise.all([signIn(), signIn()])
      const bobs = await signIn('other')
      await portal.sso.providers.retire('acme', inHours(1))
      await lastDayWas(60_000)
      await Promise.all([portal.sso.runMaintenance(), another.sso.runMaintenance()])
      await portal.sso.runMaintenance()
      for (const visitor of theirs) expect(await isIn(visitor)).toBe(false)
      expect(await isIn(bobs)).toBe(true)
      expect(await events('provider-retired')).toEqual([{ actor: 'maintenance', detail: { sessions: 2 } }])
      const { enabled, retire_at } = await row()
      expect([Boolean(enabled), retire_at]).toEqual([false, null])
    })

    it('has its sessions ended by an instance, too, that has had no request and knows no store', async () => {
      const visitor = await signIn()
      const idle = await instance()
      await lastDayWas(60_000)
      await idle.sso.runMaintenance()
      expect(await isIn(visitor)).toBe(false)
      expect(await knex('sso_sessions')).toEqual([])
    })

    it('waits for those who were let through in its last seconds, so that no session is missed', async () => {
      await lastDayWas(1000)
      await portal.sso.runMaintenance()
      expect((await row()).retire_at).not.toBeNull()
      expect(await events('provider-retired')).toEqual([])
    })

    it('is kept after all, as long as the day has not come', async () => {
      await portal.sso.providers.retire('acme', inHours(1))
      await portal.sso.providers.cancelRetirement('acme', { actor: 'root' })
      expect((await new Visitor().get(`${portal.url}/login`)).body).not.toContain('Available until')
      expect((await events('provider-changed')).at(-1)).toEqual({
        actor: 'root',
        detail: { change: 'retirement cancelled' },
      })
      await expect(portal.sso.providers.cancelRetirement('acme')).rejects.toThrow(
        'no retirement date in the future',
      )
      await lastDayWas(1)
      await expect(portal.sso.providers.cancelRetirement('acme')).rejects.toThrow(
        'if it is disabled, enable it',
      )
    })

    it('works again when it is enabled after its last day, and its sessions go on', async () => {
      const visitor = await signIn()
      await lastDayWas(60_000)
      await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
      await portal.sso.runMaintenance()
      expect(await isIn(visitor)).toBe(true)
      expect(await isIn(await signIn())).toBe(true)
      expect((await row()).retire_at).toBeNull()
    })

    it('keeps a day to come when it is disabled and enabled before', async () => {
      const at = inHours(1)
      await portal.sso.providers.retire('acme', at)
      await portal.sso.providers.disable('acme')
      await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
      expect((await row()).retire_at).toBe(at.toISOString())
    })

    it.each([
      ['in the past', () => inHours(-1)],
      ['in more than a year', () => inHours(24 * 367)],
      ['that is none', () => new Date('x')],
    ])('not on a day %s', async (_what, at) => {
      await expect(portal.sso.providers.retire('acme', at())).rejects.toThrow(
        'at: choose a date in the future, within a year',
      )
    })

    it('not when it is disabled already, or not there', async () => {
      await portal.sso.providers.disable('acme')
      await expect(portal.sso.providers.retire('acme', inHours(1))).rejects.toThrow('already disabled')
      await expect(portal.sso.providers.retire('nope', inHours(1))).rejects.toThrow('no provider is called')
    })
  })

  describe('that is disabled', () => {
    it('has its sessions ended at once when that is asked for, and only then', async () => {
      const visitor = await signIn()
      await portal.sso.providers.disable('acme')
      expect(await isIn(visitor)).toBe(true)
      await portal.sso.providers.disable('acme', { endSessions: true, actor: 'root' })
      expect(await isIn(visitor)).toBe(false)
      expect((await events('provider-changed')).at(-1)).toEqual({
        actor: 'root',
        detail: { change: 'disabled, its sessions end' },
      })
    })

    it('has those ended, too, that slipped in while it was', async () => {
      await portal.sso.providers.disable('acme', { endSessions: true })
      const late = await signIn('other')
      const { id, retire_at } = await row()
      await knex('sso_sessions').update({ provider_id: id, provider: 'acme' })
      expect(retire_at).not.toBeNull()
      await lastDayWas(60_000)
      await portal.sso.runMaintenance()
      expect(await isIn(late)).toBe(false)
    })

    it('lets nobody in whose answer was judged a moment before: no session begins while the others end', async () => {
      const ada = { id: 'ada', email: 'ada@example.com', name: 'Ada', active: true }
      let disabled: Promise<void> | undefined
      const asked = async () => {
        disabled ??= portal.sso.providers.disable('acme', { endSessions: true })
        await disabled
        return ada
      }
      const users = { findById: asked, findByEmail: asked, create: asked }
      const hosts = await instance({ users })
      const visitor = await signIn('acme', hosts)
      expect(disabled).toBeDefined()
      expect([await isIn(visitor, hosts), await knex('sso_sessions')]).toEqual([false, []])
    })

    it('has them ended when a command asked, too, which knows no store', async () => {
      const visitor = await signIn()
      const command = await instance()
      await command.sso.providers.disable('acme', { endSessions: true })
      expect(await isIn(visitor)).toBe(false)
    })

    it('has them ended in the store of a host that has its own', async () => {
      const store = new MemoryStore()
      const hosts = await instance({ mount: withStoreOf(store) })
      const visitor = await signIn('acme', hosts)
      expect(await isIn(visitor, hosts)).toBe(true)
      await hosts.sso.providers.disable('acme', { endSessions: true })
      expect(await isIn(visitor, hosts)).toBe(false)
    })

    it('has them ended in Redis, whichever instance is asked', async () => {
      const redis = await connectRedis()
      open.unshift({ close: async () => void (await redis.close()) })
      const [north, south] = [await instance({ redis }), await instance({ redis })]
      const visitor = await signIn('acme', north)
      // Behind one name, as instances are.
      visitor.cookies.set(south.url, visitor.cookies.get(north.url)!)
      expect(await isIn(visitor, south)).toBe(true)
      await south.sso.providers.disable('acme', { endSessions: true })
      expect(await isIn(visitor, north)).toBe(false)
    })

    it('has them ended also while their store is away, and says so in the log', async () => {
      const store = new MemoryStore()
      const hosts = await instance({ mount: withStoreOf(store) })
      const visitor = await signIn('acme', hosts)
      store.destroy = (_sid, done) => done?.(new Error('the store is away'))
      await hosts.sso.providers.disable('acme', { endSessions: true })
      expect(hosts.logs.some(({ message }) => message.includes('they admit nobody'))).toBe(true)
      expect(await isIn(visitor, hosts)).toBe(false)
    })

    it('has a thousand of them ended at one time', async () => {
      const visitor = await signIn()
      const [indexed] = await knex('sso_sessions')
      const more = Array.from({ length: 1000 }, (_, n) => ({ ...indexed, id: `another-${n}` }))
      await knex.batchInsert('sso_sessions', more, 50)
      await portal.sso.providers.disable('acme', { endSessions: true })
      expect(await isIn(visitor)).toBe(false)
    })
  })

  describe('that is removed', () => {
    it('is seen nowhere, but can be restored, disabled, with its secret and its people', async () => {
      await signIn()
      const { id, client_secret } = await row()
      await portal.sso.providers.recommend('acme')
      await portal.sso.providers.remove('acme', { actor: 'root' })
      expect(await portal.sso.providers.find('acme')).toBeUndefined()
      expect((await portal.sso.providers.list()).map(({ slug }) => slug)).toEqual(['other'])
      expect((await new Visitor().get(`${portal.url}/login`)).body).not.toContain('/login/acme')
      expect((await new Visitor().get(`${portal.url}/login/acme`)).status).toBe(404)
      for (const act of [
        portal.sso.providers.enable('acme', { withoutTestSignIn: true }),
        portal.sso.providers.update('acme', { displayName: 'X' }),
        portal.sso.providers.usage('acme'),
        portal.sso.providers.reorder(['acme']),
        portal.sso.providers.recommend('acme'),
      ])
        await expect(act).rejects.toThrow('no provider is called "acme"')
      expect(await portal.sso.providers.listRemoved()).toEqual([
        { slug: 'acme', displayName: 'Acme', removedAt: expect.stringMatching(/^\d{4}-.*Z$/) },
      ])
      await portal.sso.providers.restore('acme', { actor: 'root' })
      expect(await portal.sso.providers.listRemoved()).toEqual([])
      expect(await portal.sso.providers.find('acme')).toMatchObject({
        id,
        enabled: false,
        recommended: false,
      })
      expect((await row()).client_secret).toBe(client_secret)
      await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
      expect(await isIn(await signIn())).toBe(true)
      expect((await events('provider-changed')).map(({ detail }) => detail)).toContainEqual({
        change: 'restored, disabled',
      })
    })

    it('ends its sessions when that is asked for', async () => {
      const visitor = await signIn()
      await portal.sso.providers.remove('acme', { endSessions: true })
      expect(await isIn(visitor)).toBe(false)
    })

    it('gives its name away to another one, and cannot be restored then', async () => {
      const { id } = await row()
      await portal.sso.providers.remove('acme')
      await portal.connect(acme)
      const all = await knex('sso_providers').where({ slug: 'acme' })
      expect(all).toHaveLength(1)
      expect(all[0].id).not.toBe(id)
      await expect(portal.sso.providers.restore('acme')).rejects.toThrow(
        'a provider called "acme" is connected',
      )
      expect(await isIn(await signIn())).toBe(true)
    })

    it('stays removed when another one of its name cannot be connected', async () => {
      await portal.sso.providers.remove('acme')
      acme.faults.discoveryResponse = { status: 500 }
      await expect(portal.connect(acme)).rejects.toThrow()
      expect(await portal.sso.providers.listRemoved()).toHaveLength(1)
    })

    it('cannot be restored in another portal, nor one that never was', async () => {
      await portal.sso.providers.remove('acme')
      await expect(portal.sso.providers.restore('acme', { portal: 'north' })).rejects.toThrow(
        'no removed provider is called "acme" in the portal "north"',
      )
      await expect(portal.sso.providers.restore('nope')).rejects.toThrow('no removed provider')
      expect(await portal.sso.providers.listRemoved({ portal: 'north' })).toEqual([])
    })
  })

  describe('before it goes', () => {
    async function people(email: string, ...slugs: string[]): Promise<void> {
      for (const slug of slugs) {
        const person = { sub: `${email}@${slug}`, email, email_verified: true }
        Object.assign(slug === 'other' ? other : acme, { person })
        expect(await isIn(await signIn(slug))).toBe(true)
      }
    }
    const dependents = () => portal.sso.providers.usage('acme')

    it('tells how many people came by it, and how many of them have no other way', async () => {
      expect(await dependents()).toEqual({ people: 0, onlyWayIn: 0 })
      await people('ada@example.com', 'acme', 'other')
      await people('bob@example.com', 'acme')
      expect(await dependents()).toEqual({ people: 2, onlyWayIn: 1 })
      expect(await portal.sso.providers.usage('other')).toEqual({ people: 1, onlyWayIn: 0 })
    })

    it('does not count another way that is disabled, retired or removed', async () => {
      await people('ada@example.com', 'acme', 'other')
      expect(await dependents()).toMatchObject({ onlyWayIn: 0 })
      await portal.sso.providers.disable('other')
      expect(await dependents()).toMatchObject({ onlyWayIn: 1 })
      await portal.sso.providers.enable('other', { withoutTestSignIn: true })
      expect(await dependents()).toMatchObject({ onlyWayIn: 0 })
      await knex('sso_providers')
        .where({ slug: 'other' })
        .update({ retire_at: inHours(-1).toISOString() })
      expect(await dependents()).toMatchObject({ onlyWayIn: 1 })
      await portal.sso.providers.remove('other')
      expect(await dependents()).toMatchObject({ onlyWayIn: 1 })
    })

    it('counts a person once, by whatever row of that issuer, and knows those of a row that is gone', async () => {
      await people('ada@example.com', 'acme')
      acme.person = { sub: 'a second account', email: 'ada@example.com', email_verified: true }
      await signIn()
      await portal.sso.providers.remove('acme')
      await portal.connect(acme)
      expect(await dependents()).toEqual({ people: 1, onlyWayIn: 1 })
    })

    it('takes another row of the same issuer for a way only where somebody came by it', async () => {
      await portal.connect(acme, { slug: 'acme-two' })
      await people('ada@example.com', 'acme')
      await people('bob@example.com', 'acme-two')
      expect(await dependents()).toEqual({ people: 2, onlyWayIn: 1 })
    })

    it('knows nothing of other portals', async () => {
      await people('ada@example.com', 'acme')
      const [link] = await knex('sso_identities')
      await knex('sso_identities').insert({ ...link, id: 'north', portal: 'north', user_id: 'bob' })
      expect(await dependents()).toEqual({ people: 1, onlyWayIn: 1 })
    })
  })
})
