import assert from 'node:assert'
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import session, { MemoryStore } from 'express-session'
import knexModule from 'knex'
import type { EventKind, User } from '../../lib/index.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import { contoso, type EntraLookAlike, fabrikam, startEntraLookAlike } from '../support/entra-look-alike.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { type MailServer, startMailServer } from '../support/mail-server.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { testSignIn, textOf } from '../support/test-sign-in.ts'
import { next, Visitor } from '../support/visitor.ts'

const bobsOid = 'bbbbbbbb-0000-4000-8000-000000000b0b'
const oldRegistration = '6731de76-14a6-49ae-97bc-6eba6914391e'
const newRegistration = '99999999-14a6-49ae-97bc-6eba69143999'

describe.each(everyDatabase)(
  'after a new app registration, which changes every subject (%s),',
  (_name, fresh) => {
    let entra: EntraLookAlike
    let usual: FaultyProvider
    let mailServer: MailServer
    let database: FreshDatabase
    let portal: TestPortal
    let ada: User

    beforeAll(async () => {
      entra = await startEntraLookAlike()
      usual = await startFaultyProvider({ clientId: 'usual' })
      mailServer = await startMailServer()
      database = await fresh()
    })
    afterAll(async () => {
      await Promise.all([entra.close(), usual.close(), mailServer.close()])
      await database.drop()
    })
    beforeEach(async () => {
      entra.reset()
      entra.clientId = oldRegistration
      mailServer.reset()
      usual.reset()
      for (const each of [entra, usual]) each.faults.claims = { auth_time: Math.floor(Date.now() / 1000) }
      const knex = knexModule(database.config)
      portal = await startPortal({
        database: knex,
        mailer: mailServer.transport,
        mailFrom: 'Portal <no-reply@portal.example>',
      })
      for (const table of ['sso_providers', 'sso_identities', 'sso_users', 'sso_events', 'sso_sessions'])
        await knex(table).delete()
      const trust = { trustsEmail: true, emailDomains: [`contoso.example@${contoso}`] }
      await portal.connect(entra, { ...entra.row(`${contoso} ${fabrikam}`), ...trust })
      ada = await user('ada@contoso.example')
      entra.signsIn({ email: ada.email })
      expect(await signIn()).toContain(ada.id)
    })
    afterEach(async () => {
      await portal.close()
      await portal.knex.destroy()
    })

    const providers = () => portal.sso.providers
    const identities = () => portal.knex('sso_identities')
    const user = (email: string) => portal.sso.users.create({ email, name: email, fields: {} })

    /** Returns the guarded page, which contains the user's id, or the page at which the sign-in ended. */
    async function signIn(visitor = new Visitor(), slug = 'acme'): Promise<string> {
      return (await visitor.open(`${portal.url}/login/${slug}?returnTo=/portal`)).body
    }

    /** The administrator enters the new registration. As is usual with Entra, addresses are not trusted. */
    async function changeRegistration(): Promise<void> {
      entra.clientId = newRegistration
      await providers().update('acme', { clientId: newRegistration, trustsEmail: null })
      entra.signsIn()
    }

    async function events(kind: EventKind): Promise<Record<string, unknown>[]> {
      return await portal.knex('sso_events').where({ kind }).orderBy('at')
    }

    async function expectNotRelinked(page: string, links = 1): Promise<void> {
      expect(page).not.toContain(ada.id)
      expect(await events('identity-relinked')).toEqual([])
      expect(await identities()).toHaveLength(links)
    }

    /** Copies Ada's link, as another user's or under another subject. */
    async function insertLink(changes: Record<string, unknown>): Promise<void> {
      const [row] = await identities()
      await identities().insert({ ...row, id: randomUUID(), subject: randomUUID(), ...changes })
    }

    it('the user is found by tenant and object id, linked under the new subject and signed in', async () => {
      await changeRegistration()
      expect(await signIn()).toContain(ada.id)
      expect(await signIn()).toContain(ada.id)
      expect(await events('identity-relinked')).toMatchObject([{ user_id: ada.id, provider: 'acme' }])
      expect(await events('linked')).toHaveLength(1)
      expect(await identities().where({ user_id: ada.id }).orderBy('linked_at')).toMatchObject([
        { relinked_at: null },
        { relinked_at: expect.any(String), tenant_id: contoso, issuer: entra.issuerOf(contoso) },
      ])
    })

    it('the user is found through another provider of the tenant with its own registration', async () => {
      entra.clientId = newRegistration
      const { issuer, ...row } = entra.row(contoso)
      await portal.connect(entra, { ...row, issuer, slug: 'contoso' })
      entra.signsIn()
      expect(await signIn(new Visitor(), 'contoso')).toContain(ada.id)
    })

    it('a test sign-in predicts the new link but does not create it', async () => {
      await changeRegistration()
      const { body } = await testSignIn({ portal, visitor: new Visitor() }, 'acme')
      expect(textOf(body)).toContain('Its new subject would be linked and signed in as ada@')
      expect(await identities()).toHaveLength(1)
    })

    describe('the user is not found', () => {
      it.each<[string, Parameters<EntraLookAlike['signsIn']>[0]]>([
        ['by the same address with another object id', { oid: bobsOid, email: 'ada@contoso.example' }],
        ['by the same UPN with another object id', { oid: bobsOid }],
        ['by the same object id in another tenant', { tid: fabrikam }],
        ['without an object id', { oid: undefined as never }],
        ['by an object id that is not a GUID', { oid: '%' }],
      ])('%s', async (_what, claims) => {
        await changeRegistration()
        entra.signsIn(claims)
        await expectNotRelinked(await signIn())
      })

      it('by the tenant and object id that a foreign tenant signs under its own issuer', async () => {
        await changeRegistration()
        entra.signsIn({ tid: fabrikam })
        entra.faults.claims = { tid: contoso }
        await expectNotRelinked(await signIn())
        expect(await portal.knex('sso_sessions')).toHaveLength(1)
      })

      it('by a provider of another preset that sends the same issuer, tenant and object id', async () => {
        await changeRegistration()
        const [row] = await identities()
        await identities().update({ issuer: usual.issuer })
        await portal.connect(usual, { slug: 'usual' })
        usual.person = { sub: 'mallory', tid: contoso, oid: row.object_id }
        await expectNotRelinked(await signIn(new Visitor(), 'usual'))
      })

      it('if the account is linked to two users', async () => {
        const bob = await user('bob@contoso.example')
        await insertLink({ user_id: bob.id })
        await changeRegistration()
        const page = await signIn()
        expect(page).not.toContain(bob.id)
        await expectNotRelinked(page, 2)
      })

      it('if the user was deleted', async () => {
        await changeRegistration()
        await portal.knex('sso_users').delete()
        await expectNotRelinked(await signIn())
      })

      it('by a link of another issuer or in another portal', async () => {
        await changeRegistration()
        await insertLink({ portal: 'north' })
        await identities().where({ portal: 'default' }).update({ issuer: 'https://elsewhere.example' })
        await expectNotRelinked(await signIn(), 2)
      })

      it('by a link that has another tenant', async () => {
        await changeRegistration()
        await identities().update({ tenant_id: fabrikam })
        await expectNotRelinked(await signIn())
      })

      it('if the new subject is linked to a user who was deleted', async () => {
        await changeRegistration()
        const subject = entra.nextPerson().sub
        await insertLink({ user_id: 'deleted', subject, tenant_id: null, object_id: null })
        await expectNotRelinked(await signIn(), 2)
      })
    })

    it('an inactive user is refused, and nothing is linked', async () => {
      await changeRegistration()
      await portal.knex('sso_users').where({ id: ada.id }).update({ active: false })
      await expectNotRelinked(await signIn())
      expect((await events('sign-in-failed')).map(({ detail }) => JSON.parse(String(detail)).code)).toEqual([
        'user_inactive',
      ])
    })

    it('a mailed code leads to a new sign-in if the account has been linked since', async () => {
      const bob = await user('bob@contoso.example')
      await changeRegistration()
      const [row] = await identities()
      await identities().delete()
      const visitor = new Visitor()
      await signIn(visitor)
      await visitor.follow(await visitor.post(`${portal.url}/register/code`, { email: bob.email }))
      await identities().insert(row)
      const code = mailServer.codeTo(bob.email)
      const entered = await visitor.post(`${portal.url}/register/verify`, { code })
      expect(new URL(String(next(entered))).pathname).toBe('/login/acme')
      expect(await identities()).toHaveLength(1)
      expect((await visitor.follow(entered)).body).toContain(ada.id)
    })

    describe('on the account page', () => {
      /** Ada's browser, signed in with a second provider and with Entra under both subjects. */
      async function signInAfterRelinking(): Promise<Visitor> {
        usual.person = { sub: 'ada', email: ada.email, email_verified: true }
        await portal.connect(usual, { slug: 'usual' })
        await changeRegistration()
        await identities().update({ last_used_at: '2026-01-01T00:00:00.000Z' })
        expect(await signIn()).toContain(ada.id)
        const visitor = new Visitor()
        expect(await signIn(visitor, 'usual')).toContain(ada.id)
        return visitor
      }

      async function methodsOf(visitor: Visitor): Promise<string[]> {
        const { body } = await visitor.get(`${portal.url}/account/security`)
        return [...body.matchAll(/name="method" value="([^"]*)"/g)].map(([, id = '']) => id)
      }

      const unlink = async (visitor: Visitor, method: unknown) => {
        const { location } = await visitor.post(`${portal.url}/account/security/unlink`, {
          method: String(method),
        })
        return new URL(String(location)).searchParams.get('notice')
      }

      it('all links of one account are one method, and its removal deletes them all, so that no link is restored', async () => {
        const visitor = await signInAfterRelinking()
        const other = new Visitor()
        await signIn(other)
        const relinked = await identities().whereNotNull('relinked_at').first('id')
        const methods = await methodsOf(visitor)
        expect(methods).toHaveLength(2)
        assert(methods.includes(relinked.id))
        expect(await unlink(visitor, relinked.id)).toBe('unlinked')
        expect(await identities().pluck('subject')).toEqual(['ada'])
        expect((await other.get(`${portal.url}/portal`)).status).toBe(302)
        await expectNotRelinkedAfterRemoval()
      })

      async function expectNotRelinkedAfterRemoval(): Promise<void> {
        expect(await signIn()).not.toContain(ada.id)
        expect(await events('identity-relinked')).toHaveLength(1)
      }

      it('another link of the same account does not count as a remaining method', async () => {
        const visitor = await signInAfterRelinking()
        await identities().where({ subject: 'ada' }).delete()
        for (const { id } of await identities()) expect(await unlink(visitor, id)).toBe('last')
        expect(await identities()).toHaveLength(2)
      })

      it('another user cannot add the account', async () => {
        await user('bob@contoso.example')
        usual.person = { sub: 'bob', email: 'bob@contoso.example', email_verified: true }
        await portal.connect(usual, { slug: 'usual' })
        await changeRegistration()
        const visitor = new Visitor()
        await signIn(visitor, 'usual')
        const sent = await visitor.post(`${portal.url}/account/security/link`, { provider: 'acme' })
        const page = await visitor.follow(sent)
        expect(page.status).toBe(409)
        expect(await identities()).toHaveLength(2)
      })
    })

    describe('if the provider changes during the sign-in', () => {
      it('the new link and the session are removed, even if the host takes long to find the user', async () => {
        await changeRegistration()
        const users = new UsersTable({ knex: portal.knex })
        const slow = await startPortal({
          database: portal.knex,
          users: {
            findByEmail: (...query) => users.findByEmail(...query),
            create: (...query) => users.create(...query),
            async findById(...query) {
              await providers().update('acme', { prompt: 'login' })
              return await users.findById(...query)
            },
          },
        })
        const visitor = new Visitor()
        const { status } = await visitor.open(`${slow.url}/login/acme`)
        expect(status).toBe(409)
        expect((await visitor.get(`${slow.url}/portal`)).status).toBe(302)
        await slow.close()
        expect(await identities().whereNotNull('relinked_at')).toEqual([])
        expect(await portal.knex('sso_sessions').where({ user_id: ada.id })).toHaveLength(1)
      })

      it.each<[string, () => Promise<unknown>]>([
        ['changed', () => providers().update('acme', { prompt: 'login' })],
        ['disabled', () => providers().disable('acme')],
        ['removed', () => providers().remove('acme')],
      ])(
        'and was %s while the session was being written, the link and the session are removed',
        async (_how, change) => {
          let changed: Promise<unknown> | undefined
          /** Changes the provider while the session is written, just before it can be found. */
          class GateStore extends MemoryStore {
            override set(sid: string, data: session.SessionData, done?: (error?: unknown) => void): void {
              if ('passport' in data) changed ??= change()
              void Promise.resolve(changed).finally(() => super.set(sid, data, done))
            }
          }
          await changeRegistration()
          // The host's own sessions, because the test can intercept their store.
          const other = await startPortal({
            database: portal.knex,
            mount(app, sso) {
              app.use(
                session({ store: new GateStore(), secret: 'x', resave: false, saveUninitialized: false }),
              )
              app.use(sso.router())
              app.use('/portal', sso.guard(), (_req, res) => res.send('in'))
            },
          })
          const visitor = new Visitor()
          const { status } = await visitor.open(`${other.url}/login/acme?returnTo=/portal`)
          await changed
          expect(status).toBe(409)
          expect((await visitor.get(`${other.url}/portal`)).status).toBe(302)
          await other.close()
          expect(await identities().whereNotNull('relinked_at')).toEqual([])
        },
      )
    })
  },
)
