import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Express } from 'express'
import session, { MemoryStore } from 'express-session'
import knexModule, { type Knex } from 'knex'
import type { EventKind, PortalSso } from '../../lib/index.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { Visitor } from '../support/visitor.ts'

const hour = 3_600_000
const inHours = (count: number) => new Date(Date.now() + count * hour)

/** A host with its own express-session and the given store. */
const withStoreOf = (store: session.Store) => (app: Express, sso: PortalSso) => {
  app.use(session({ store, secret: 'of the host', resave: false, saveUninitialized: false }))
  app.use(sso.router())
  app.use('/portal', sso.guard(), (_req, res) => {
    res.send('in')
  })
}

describe.each(everyDatabase)('a provider on %s', (_name, fresh) => {
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

  const isSignedIn = async (visitor: Visitor, at = portal) =>
    (await visitor.get(`${at.url}/portal`)).status === 200
  const row = (slug = 'acme') => knex('sso_providers').where({ slug }).first()
  /** Moves the retirement date into the past. Maintenance waits a few seconds for pending sign-ins. */
  const retiredSince = (agoMs: number) =>
    knex('sso_providers')
      .where({ slug: 'acme' })
      .update({ retire_at: new Date(Date.now() - agoMs).toISOString() })
  async function events(kind: EventKind): Promise<{ actor: string; detail: unknown }[]> {
    const rows = await knex('sso_events').where({ kind }).orderBy('at')
    return rows.map(({ actor, detail }) => ({ actor, detail: JSON.parse(detail) }))
  }

  describe('with a retirement date', () => {
    it('shows the date on the login page, in the language of the browser, and works until then', async () => {
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
      expect(await isSignedIn(await signIn())).toBe(true)
      expect(await events('provider-retiring')).toEqual([{ actor: 'root', detail: { at: at.toISOString() } }])
    })

    it('is disabled from that date on every instance, even before its row changes', async () => {
      const another = await instance()
      await portal.sso.providers.retire('acme', inHours(1))
      expect(await isSignedIn(await signIn('acme', another), another)).toBe(true)
      await retiredSince(1)
      expect((await row()).enabled).toBeTruthy()
      for (const each of [portal, another]) {
        expect((await new Visitor().get(`${each.url}/login`)).body).not.toContain('/login/acme')
        expect((await new Visitor().get(`${each.url}/login/acme`)).status).toBe(404)
        expect(await each.sso.providers.find('acme')).toMatchObject({ enabled: false })
      }
      await knex('sso_providers').where({ slug: 'other' }).delete()
      expect((await new Visitor().get(`${portal.url}/login`)).status).toBe(404)
    })

    it('refuses a sign-in that began before the date', async () => {
      const visitor = new Visitor()
      const start = await visitor.get(`${portal.url}/login/acme`)
      const response = await visitor.get(start.location!)
      await retiredSince(1)
      await visitor.follow(response)
      expect(await isSignedIn(visitor)).toBe(false)
    })

    it('loses its sessions, and no others, and is disabled permanently by one of the instances', async () => {
      const another = await instance()
      const users = await Promise.all([signIn(), signIn()])
      const otherUser = await signIn('other')
      await portal.sso.providers.retire('acme', inHours(1))
      await retiredSince(60_000)
      await Promise.all([portal.sso.runMaintenance(), another.sso.runMaintenance()])
      await portal.sso.runMaintenance()
      for (const visitor of users) expect(await isSignedIn(visitor)).toBe(false)
      expect(await isSignedIn(otherUser)).toBe(true)
      expect(await events('provider-retired')).toEqual([{ actor: 'maintenance', detail: { sessions: 2 } }])
      const { enabled, retire_at } = await row()
      expect([Boolean(enabled), retire_at]).toEqual([false, null])
    })

    it('loses its sessions even if the instance has had no request and has no session store', async () => {
      const visitor = await signIn()
      const idle = await instance()
      await retiredSince(60_000)
      await idle.sso.runMaintenance()
      expect(await isSignedIn(visitor)).toBe(false)
      expect(await knex('sso_sessions')).toEqual([])
    })

    it('keeps its sessions for a few seconds after the date, so that no pending sign-in is missed', async () => {
      await retiredSince(1000)
      await portal.sso.runMaintenance()
      expect((await row()).retire_at).not.toBeNull()
      expect(await events('provider-retired')).toEqual([])
    })

    it('stays enabled if the retirement is cancelled before the date', async () => {
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
      await retiredSince(1)
      await expect(portal.sso.providers.cancelRetirement('acme')).rejects.toThrow(
        'if it is disabled, enable it',
      )
    })

    it('works again if it is enabled after the date, and its sessions remain valid', async () => {
      const visitor = await signIn()
      await retiredSince(60_000)
      await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
      await portal.sso.runMaintenance()
      expect(await isSignedIn(visitor)).toBe(true)
      expect(await isSignedIn(await signIn())).toBe(true)
      expect((await row()).retire_at).toBeNull()
    })

    it('keeps a future date when it is disabled and enabled', async () => {
      const at = inHours(1)
      await portal.sso.providers.retire('acme', at)
      await portal.sso.providers.disable('acme')
      await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
      expect((await row()).retire_at).toBe(at.toISOString())
    })

    it.each([
      ['in the past', () => inHours(-1)],
      ['in more than a year', () => inHours(24 * 367)],
      ['that is invalid', () => new Date('x')],
    ])('refuses a date %s', async (_what, at) => {
      await expect(portal.sso.providers.retire('acme', at())).rejects.toThrow(
        'at: choose a date in the future, within a year',
      )
    })

    it('must be enabled and exist when the date is set', async () => {
      await portal.sso.providers.disable('acme')
      await expect(portal.sso.providers.retire('acme', inHours(1))).rejects.toThrow('already disabled')
      await expect(portal.sso.providers.retire('nope', inHours(1))).rejects.toThrow('no provider is called')
    })
  })

  describe('that is disabled', () => {
    it('loses its sessions only on request, and then immediately', async () => {
      const visitor = await signIn()
      await portal.sso.providers.disable('acme')
      expect(await isSignedIn(visitor)).toBe(true)
      await portal.sso.providers.disable('acme', { endSessions: true, actor: 'root' })
      expect(await isSignedIn(visitor)).toBe(false)
      expect((await events('provider-changed')).at(-1)).toEqual({
        actor: 'root',
        detail: { change: 'disabled, its sessions end' },
      })
    })

    it('also loses the sessions that started while it was being disabled', async () => {
      await portal.sso.providers.disable('acme', { endSessions: true })
      const late = await signIn('other')
      const { id, retire_at } = await row()
      await knex('sso_sessions').update({ provider_id: id, provider: 'acme' })
      expect(retire_at).not.toBeNull()
      await retiredSince(60_000)
      await portal.sso.runMaintenance()
      expect(await isSignedIn(late)).toBe(false)
    })

    it('starts no session for a response that was accepted just before its sessions ended', async () => {
      const ada = { id: 'ada', email: 'ada@example.com', name: 'Ada', active: true }
      let disabled: Promise<void> | undefined
      const findAda = async () => {
        disabled ??= portal.sso.providers.disable('acme', { endSessions: true })
        await disabled
        return ada
      }
      const users = { findById: findAda, findByEmail: findAda, create: findAda }
      const hosts = await instance({ users })
      const visitor = await signIn('acme', hosts)
      expect(disabled).toBeDefined()
      expect([await isSignedIn(visitor, hosts), await knex('sso_sessions')]).toEqual([false, []])
    })

    it('also loses its sessions on a request by a command, which has no session store', async () => {
      const visitor = await signIn()
      const command = await instance()
      await command.sso.providers.disable('acme', { endSessions: true })
      expect(await isSignedIn(visitor)).toBe(false)
    })

    it('loses its sessions in the host’s own session store', async () => {
      const store = new MemoryStore()
      const hosts = await instance({ mount: withStoreOf(store) })
      const visitor = await signIn('acme', hosts)
      expect(await isSignedIn(visitor, hosts)).toBe(true)
      await hosts.sso.providers.disable('acme', { endSessions: true })
      expect(await isSignedIn(visitor, hosts)).toBe(false)
    })

    it('loses its sessions in Redis on a request to any instance', async () => {
      const redis = await connectRedis()
      open.unshift({ close: async () => void (await redis.close()) })
      const [north, south] = [await instance({ redis }), await instance({ redis })]
      const visitor = await signIn('acme', north)
      // In production, all instances share one host name.
      visitor.cookies.set(south.url, visitor.cookies.get(north.url)!)
      expect(await isSignedIn(visitor, south)).toBe(true)
      await south.sso.providers.disable('acme', { endSessions: true })
      expect(await isSignedIn(visitor, north)).toBe(false)
    })

    it('loses its sessions even while the session store is unavailable, which is logged', async () => {
      const store = new MemoryStore()
      const hosts = await instance({ mount: withStoreOf(store) })
      const visitor = await signIn('acme', hosts)
      store.destroy = (_sid, done) => done?.(new Error('the store is away'))
      await hosts.sso.providers.disable('acme', { endSessions: true })
      expect(hosts.logs.some(({ message }) => message.includes('they admit nobody'))).toBe(true)
      expect(await isSignedIn(visitor, hosts)).toBe(false)
    })

    it('loses a thousand sessions at once', async () => {
      const visitor = await signIn()
      const [indexed] = await knex('sso_sessions')
      const more = Array.from({ length: 1000 }, (_, n) => ({ ...indexed, id: `another-${n}` }))
      await knex.batchInsert('sso_sessions', more, 50)
      await portal.sso.providers.disable('acme', { endSessions: true })
      expect(await isSignedIn(visitor)).toBe(false)
    })
  })

  describe('that is removed', () => {
    it('is hidden everywhere, but can be restored as disabled, with its secret and its users', async () => {
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
      expect(await isSignedIn(await signIn())).toBe(true)
      expect((await events('provider-changed')).map(({ detail }) => detail)).toContainEqual({
        change: 'restored, disabled',
      })
    })

    it('loses its sessions on request', async () => {
      const visitor = await signIn()
      await portal.sso.providers.remove('acme', { endSessions: true })
      expect(await isSignedIn(visitor)).toBe(false)
    })

    it('frees its slug for a new provider, and can then not be restored', async () => {
      const { id } = await row()
      await portal.sso.providers.remove('acme')
      await portal.connect(acme)
      const all = await knex('sso_providers').where({ slug: 'acme' })
      expect(all).toHaveLength(1)
      expect(all[0].id).not.toBe(id)
      await expect(portal.sso.providers.restore('acme')).rejects.toThrow(
        'a provider called "acme" is connected',
      )
      expect(await isSignedIn(await signIn())).toBe(true)
    })

    it('stays removed if a new provider with its slug fails to connect', async () => {
      await portal.sso.providers.remove('acme')
      acme.faults.discoveryResponse = { status: 500 }
      await expect(portal.connect(acme)).rejects.toThrow()
      expect(await portal.sso.providers.listRemoved()).toHaveLength(1)
    })

    it('cannot be restored in another portal, or if it never existed', async () => {
      await portal.sso.providers.remove('acme')
      await expect(portal.sso.providers.restore('acme', { portal: 'north' })).rejects.toThrow(
        'no removed provider is called "acme" in the portal "north"',
      )
      await expect(portal.sso.providers.restore('nope')).rejects.toThrow('no removed provider')
      expect(await portal.sso.providers.listRemoved({ portal: 'north' })).toEqual([])
    })
  })

  describe('to be removed', () => {
    async function signInUser(email: string, ...slugs: string[]): Promise<void> {
      for (const slug of slugs) {
        const person = { sub: `${email}@${slug}`, email, email_verified: true }
        Object.assign(slug === 'other' ? other : acme, { person })
        expect(await isSignedIn(await signIn(slug))).toBe(true)
      }
    }
    const usage = () => portal.sso.providers.usage('acme')

    it('reports its number of users, and how many have no other sign-in method', async () => {
      expect(await usage()).toEqual({ people: 0, withoutAlternative: 0 })
      await signInUser('ada@example.com', 'acme', 'other')
      await signInUser('bob@example.com', 'acme')
      expect(await usage()).toEqual({ people: 2, withoutAlternative: 1 })
      expect(await portal.sso.providers.usage('other')).toEqual({ people: 1, withoutAlternative: 0 })
    })

    it('does not count a disabled, retired or removed provider as another sign-in method', async () => {
      await signInUser('ada@example.com', 'acme', 'other')
      expect(await usage()).toMatchObject({ withoutAlternative: 0 })
      await portal.sso.providers.disable('other')
      expect(await usage()).toMatchObject({ withoutAlternative: 1 })
      await portal.sso.providers.enable('other', { withoutTestSignIn: true })
      expect(await usage()).toMatchObject({ withoutAlternative: 0 })
      await knex('sso_providers')
        .where({ slug: 'other' })
        .update({ retire_at: inHours(-1).toISOString() })
      expect(await usage()).toMatchObject({ withoutAlternative: 1 })
      await portal.sso.providers.remove('other')
      expect(await usage()).toMatchObject({ withoutAlternative: 1 })
    })

    it('counts a user once for all rows of its issuer, including removed ones', async () => {
      await signInUser('ada@example.com', 'acme')
      acme.person = { sub: 'a second account', email: 'ada@example.com', email_verified: true }
      await signIn()
      await portal.sso.providers.remove('acme')
      await portal.connect(acme)
      expect(await usage()).toEqual({ people: 1, withoutAlternative: 1 })
    })

    it('counts another row of its issuer as a sign-in method only for users of that row', async () => {
      await portal.connect(acme, { slug: 'acme-two' })
      await signInUser('ada@example.com', 'acme')
      await signInUser('bob@example.com', 'acme-two')
      expect(await usage()).toEqual({ people: 2, withoutAlternative: 1 })
    })

    it('counts no users of other portals', async () => {
      await signInUser('ada@example.com', 'acme')
      const [link] = await knex('sso_identities')
      await knex('sso_identities').insert({ ...link, id: 'north', portal: 'north', user_id: 'bob' })
      expect(await usage()).toEqual({ people: 1, withoutAlternative: 1 })
    })
  })
})
