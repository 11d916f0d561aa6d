import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import session, { MemoryStore } from 'express-session'
import knexModule from 'knex'
import type { EventKind, User } from '../../lib/index.ts'
import { IdentitiesTable } from '../../lib/users/identities-table.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { databases, type FreshDatabase } from '../support/databases.ts'
import { contoso, type EntraLookAlike, fabrikam, startEntraLookAlike } from '../support/entra-look-alike.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { rehearse, textOf } from '../support/rehearse.ts'
import { Visitor } from '../support/visitor.ts'

const bobsOid = 'bbbbbbbb-0000-4000-8000-000000000b0b'
const oldRegistration = '6731de76-14a6-49ae-97bc-6eba6914391e'
const newRegistration = '99999999-14a6-49ae-97bc-6eba69143999'

describe.each(databases)('a new app registration, which changes every subject, on %s', (_name, fresh) => {
  let entra: EntraLookAlike
  let database: FreshDatabase
  let portal: TestPortal
  let ada: User

  beforeAll(async () => {
    entra = await startEntraLookAlike()
    database = await fresh()
  })
  afterAll(async () => {
    await entra.close()
    await database.drop()
  })
  beforeEach(async () => {
    entra.reset()
    entra.clientId = oldRegistration
    const knex = knexModule(database.config)
    portal = await startPortal({ database: knex })
    for (const table of ['sso_providers', 'sso_identities', 'sso_users', 'sso_events', 'sso_sessions'])
      await knex(table).delete()
    await portal.connect(entra, { ...entra.row(`${contoso} ${fabrikam}`), trustsEmail: true })
    ada = await user('ada@contoso.example')
    entra.signsIn({ email: ada.email })
    expect(await signIn()).toContain(ada.id)
  })
  afterEach(async () => {
    await portal.close()
    await portal.knex.destroy()
  })

  const providers = () => portal.sso.providers
  const user = (email: string) => portal.sso.users.create({ email, name: email, fields: {} }, 'default')

  /** Whom the guarded page greets, or the text of the page at the end. */
  async function signIn(visitor = new Visitor()): Promise<string> {
    return (await visitor.open(`${portal.url}/login/acme?returnTo=/portal`)).body
  }

  /** The administrator enters the new registration; nobody vouches for addresses, as is usual with Entra. */
  async function moved({ rebinding = true } = {}): Promise<void> {
    entra.clientId = newRegistration
    await providers().update('acme', { clientId: newRegistration, trustsEmail: null })
    // Moments are told apart by milliseconds.
    await portal.knex('sso_identities').update({ linked_at: '2026-01-01T00:00:00.000Z' })
    if (rebinding) await providers().startRebinding('acme', { actor: 'root' })
  }

  async function events(kind: EventKind): Promise<Record<string, unknown>[]> {
    return await portal.knex('sso_events').where({ kind }).orderBy('at')
  }

  it('has a person found again at the next sign-in, signed in, and known from then on', async () => {
    await moved()
    entra.signsIn()
    expect(await signIn()).toContain(ada.id)
    expect(await signIn()).toContain(ada.id)
    expect(await events('identity-relinked')).toMatchObject([{ user_id: ada.id, provider: 'acme' }])
    const links = await portal.knex('sso_identities').where({ user_id: ada.id }).orderBy('linked_at')
    expect(links).toMatchObject([
      { relinked_at: null },
      { relinked_at: expect.any(String), tenant_id: contoso, issuer: entra.issuerOf(contoso) },
    ])
  })

  it('finds nobody unless an administrator has begun it, nor after he has stopped it', async () => {
    await moved({ rebinding: false })
    entra.signsIn()
    expect(await signIn()).not.toContain(ada.id)
    await providers().startRebinding('acme')
    await providers().stopRebinding('acme')
    expect(await signIn()).not.toContain(ada.id)
    expect(await events('identity-relinked')).toEqual([])
  })

  describe('finds nobody', () => {
    it.each<[string, Parameters<EntraLookAlike['signsIn']>[0]]>([
      ['with the same address, but another object id', { oid: bobsOid, email: 'ada@contoso.example' }],
      ['with the same UPN, but another object id', { oid: bobsOid }],
      ['with the same object id in another tenant', { tid: fabrikam }],
      ['without an object id', { oid: undefined as never }],
      ['with an object id that is none', { oid: '%' }],
    ])('%s', async (_what, claims) => {
      await moved()
      entra.signsIn(claims)
      expect(await signIn()).not.toContain(ada.id)
      expect(await events('identity-relinked')).toEqual([])
      expect(await portal.knex('sso_identities')).toHaveLength(1)
    })

    it('when two users have the tenant and object id: it is not certain who it is', async () => {
      const bob = await user('bob@contoso.example')
      const [row] = await portal.knex('sso_identities')
      await portal.knex('sso_identities').insert({ ...row, id: randomUUID(), subject: 'x', user_id: bob.id })
      await moved()
      entra.signsIn()
      const page = await signIn()
      expect(page).not.toContain(ada.id)
      expect(page).not.toContain(bob.id)
    })

    it('who was linked only after it began', async () => {
      await moved()
      await portal.knex('sso_identities').update({ linked_at: new Date(Date.now() + 1000).toISOString() })
      entra.signsIn()
      expect(await signIn()).not.toContain(ada.id)
    })

    it('by a link of another issuer, or in another portal', async () => {
      await moved()
      const [row] = await portal.knex('sso_identities')
      await portal.knex('sso_identities').update({ issuer: 'https://elsewhere.example' })
      await portal.knex('sso_identities').insert({ ...row, id: randomUUID(), portal: 'north' })
      entra.signsIn()
      expect(await signIn()).not.toContain(ada.id)
    })

    it('by a link that stands beside another tenant', async () => {
      await moved()
      await portal.knex('sso_identities').update({ tenant_id: fabrikam })
      entra.signsIn()
      expect(await signIn()).not.toContain(ada.id)
    })

    it('whose subject is linked to a user who is gone', async () => {
      await moved()
      const [row] = await portal.knex('sso_identities')
      entra.signsIn()
      await portal.knex('sso_identities').insert({
        ...row,
        id: randomUUID(),
        user_id: 'gone',
        subject: entra.nextPerson().sub,
        tenant_id: null,
        object_id: null,
      })
      expect(await signIn()).not.toContain(ada.id)
    })
  })

  it('refuses the person who was switched off, and links nothing', async () => {
    await moved()
    await portal.knex('sso_users').where({ id: ada.id }).update({ active: false })
    entra.signsIn()
    expect(await signIn()).not.toContain(ada.id)
    expect(await portal.knex('sso_identities')).toHaveLength(1)
    expect((await events('sign-in-failed')).map(({ detail }) => JSON.parse(String(detail)).code)).toEqual([
      'user_inactive',
    ])
  })

  describe('the plan', () => {
    it('says who would be found and who would not, and changes nothing', async () => {
      const bob = await user('bob@contoso.example')
      const identities = new IdentitiesTable(portal)
      const [{ provider_id: providerId }] = await portal.knex('sso_identities')
      const link = { portal: 'default', providerId, issuer: entra.issuerOf(contoso) }
      await identities.link({ ...link, userId: bob.id, subject: 'bob', email: bob.email })
      const before = await portal.knex('sso_providers')
      expect(await providers().rebindingPlan('acme')).toEqual({
        people: 2,
        findable: 1,
        orphans: [{ userId: bob.id, email: bob.email }],
        relinked: 0,
        since: undefined,
      })
      expect(await portal.knex('sso_providers')).toEqual(before)
    })

    it('counts who was found, and has no orphan any more who came in another way', async () => {
      const bob = await user('bob@contoso.example')
      const identities = new IdentitiesTable(portal)
      const [{ provider_id: providerId }] = await portal.knex('sso_identities')
      const link = { portal: 'default', providerId, issuer: entra.issuerOf(contoso) }
      await identities.link({ ...link, userId: bob.id, subject: 'bob', email: bob.email })
      await moved()
      entra.signsIn()
      await signIn()
      expect(await providers().rebindingPlan('acme')).toMatchObject({
        people: 2,
        findable: 1,
        orphans: [{ userId: bob.id }],
        relinked: 1,
        since: expect.any(String),
      })
      await identities.link({ ...link, userId: bob.id, subject: 'bob anew', email: bob.email })
      expect(await providers().rebindingPlan('acme')).toMatchObject({ people: 2, orphans: [] })
    })
  })

  it('is what a rehearsal says, and it finds nobody for good', async () => {
    await moved()
    entra.signsIn()
    const { body } = await rehearse({ portal, visitor: new Visitor() }, 'acme')
    expect(textOf(body)).toContain('has a new subject: this account would be linked anew and come in as ada@')
    expect(await portal.knex('sso_identities')).toHaveLength(1)
  })

  describe('taken back', () => {
    it('leaves no link that it made, no session of who came by one, and stops', async () => {
      const before = new Visitor()
      await signIn(before)
      await moved()
      entra.signsIn()
      const after = new Visitor()
      expect(await signIn(after)).toContain(ada.id)
      await providers().stopRebinding('acme')
      // Told also when it is over: it can still be taken back.
      expect(await providers().rebindingPlan('acme')).toMatchObject({ relinked: 1, since: undefined })
      expect(await providers().undoRebinding('acme', { actor: 'root' })).toBe(1)
      expect((await after.get(`${portal.url}/portal`)).status).toBe(302)
      // Who came by a link of before is not meant.
      expect((await before.get(`${portal.url}/portal`)).status).toBe(200)
      expect(await portal.knex('sso_identities')).toHaveLength(1)
      expect(await signIn()).not.toContain(ada.id)
      expect(await providers().undoRebinding('acme')).toBe(0)
    })

    it('leaves none of who was just coming in either, whose user a host takes long to find', async () => {
      await moved()
      entra.signsIn()
      const users = new UsersTable(portal)
      let undone: number | undefined
      const slow = await startPortal({
        database: portal.knex,
        users: {
          findByEmail: (...asked) => users.findByEmail(...asked),
          create: (...asked) => users.create(...asked),
          async findById(...asked) {
            undone ??= await providers().undoRebinding('acme')
            return await users.findById(...asked)
          },
        },
      })
      const visitor = new Visitor()
      const seen = await visitor.open(`${slow.url}/login/acme`)
      expect([undone, seen.status]).toEqual([0, 409])
      expect((await visitor.get(`${slow.url}/portal`)).status).toBe(302)
      await slow.close()
      expect(await portal.knex('sso_identities').whereNotNull('relinked_at')).toEqual([])
      expect(await portal.knex('sso_sessions').where({ user_id: ada.id })).toHaveLength(1)
    })

    it('while somebody comes in by such a link leaves him no session', async () => {
      let undone: Promise<number> | undefined
      /** As the session is written, a moment before it can be found. */
      class Gate extends MemoryStore {
        override set(sid: string, data: session.SessionData, done?: (error?: unknown) => void): void {
          if ('passport' in data) undone ??= providers().undoRebinding('acme')
          void Promise.resolve(undone).finally(() => super.set(sid, data, done))
        }
      }
      await moved()
      entra.signsIn()
      // A host's own sessions: the store is one that can be watched.
      const other = await startPortal({
        database: portal.knex,
        mount(app, sso) {
          app.use(session({ store: new Gate(), secret: 'x', resave: false, saveUninitialized: false }))
          app.use(sso.router())
          app.use('/portal', sso.guard(), (_req, res) => res.send('in'))
        },
      })
      const visitor = new Visitor()
      const seen = await visitor.open(`${other.url}/login/acme?returnTo=/portal`)
      expect(await undone).toBe(1)
      expect(seen.status).toBe(409)
      expect((await visitor.get(`${other.url}/portal`)).status).toBe(302)
      await other.close()
    })

    it('or begun, or stopped, is an event that says who did it and how many it is about', async () => {
      await moved()
      entra.signsIn()
      await signIn()
      await providers().stopRebinding('acme', { actor: 'root' })
      await providers().undoRebinding('acme', { actor: 'root' })
      const told = await events('provider-rebinding')
      expect(told.map(({ actor, detail }) => [actor, JSON.parse(String(detail))])).toEqual([
        ['root', { step: 'started', people: 1 }],
        ['root', { step: 'stopped', people: 1 }],
        ['root', { step: 'undone', people: 1 }],
      ])
    })
  })

  it('refuses with a sentence what makes no sense', async () => {
    await expect(providers().stopRebinding('acme')).rejects.toThrow('there is nothing to stop')
    await expect(providers().undoRebinding('acme')).rejects.toThrow('there is nothing to take back')
    await providers().startRebinding('acme')
    await expect(providers().startRebinding('acme')).rejects.toThrow('are found again already')
    await expect(providers().rebindingPlan('nope')).rejects.toThrow('no provider is called "nope"')
  })

  it('of two administrators who begin it at once one has begun it', async () => {
    const both = await Promise.allSettled([
      providers().startRebinding('acme'),
      providers().startRebinding('acme'),
    ])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await events('provider-rebinding')).toHaveLength(1)
  })
})
