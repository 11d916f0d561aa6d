import { setImmediate as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import type { EventKind, User } from '../../lib/index.ts'
import { takeClock } from '../support/clock.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import { type MailServer, startMailServer } from '../support/mail-server.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { ada, signIn, useProvider } from '../support/scene.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const other = await useProvider({ clientId: 'other' })
const day = 24 * 3_600_000

describe.each(everyDatabase)('Ada’s address at a provider that she uses (%s)', (_name, fresh) => {
  let mailServer: MailServer
  let database: FreshDatabase
  let portal: TestPortal
  let user: User

  beforeAll(async () => {
    mailServer = await startMailServer()
    database = await fresh()
  })
  afterAll(async () => {
    await mailServer.close()
    await database.drop()
  })
  beforeEach(async () => {
    mailServer.reset()
    portal = await startPortal({
      database: knexModule(database.config),
      mailer: mailServer.transport,
      mailFrom: 'Portal <no-reply@portal.example>',
      mount(app, sso) {
        mountDefault(app, sso)
        app.use('/admin/sso', sso.admin({ authorize: (req) => req.get('x-admin') === 'yes' }))
      },
    })
    const { knex } = portal
    for (const table of ['providers', 'identities', 'blocked_identities', 'users', 'events', 'sessions'])
      await knex(`sso_${table}`).delete()
    await portal.connect(provider)
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    user = await portal.sso.users.create(ada)
    await enter('ada')
  })
  afterEach(async () => {
    await portal.close()
    await portal.knex.destroy()
  })

  const subjects = async () =>
    (await portal.sso.identities.list(user.id)).map(({ subject }) => subject).sort()
  const waiting = () => portal.sso.identities.listBlocked(user.id)
  const events = async (kind: EventKind) => await portal.knex('sso_events').where({ kind }).orderBy('at')
  const admin = new Visitor({ 'x-admin': 'yes' })

  /** Signs in with the account `sub`, which has Ada's address. */
  async function enter(sub: string, visitor = new Visitor()): Promise<Seen> {
    provider.person = { sub, email: ada.email, email_verified: true, name: ada.name }
    return await signIn({ portal, visitor }, 'acme')
  }

  const isIn = ({ body }: Seen) => body.includes(user.id)

  async function adminDoes(action: string): Promise<Seen> {
    const [block] = await waiting()
    const form = { user: user.id, id: block!.id, action }
    return await admin.follow(await admin.post(`${portal.url}/admin/sso/sessions/identity`, form))
  }

  describe('under another subject', () => {
    it('does not sign in, does not reveal her sign-in methods, and waits for an administrator', async () => {
      const seen = await enter('new-owner')
      expect(seen.body).toContain('Is this your account?')
      expect(seen.body).toContain('Another account at Acme')
      expect(seen.body).toMatch(/sso-button-primary"[^>]*>Sign in with /)
      expect(await subjects()).toEqual(['ada'])
      expect(await waiting()).toMatchObject([{ subject: 'new-owner', email: ada.email, reason: 'waiting' }])
      expect(await events('identity-blocked')).toMatchObject([{ user_id: user.id, provider: 'acme' }])
      await enter('new-owner')
      expect(await events('identity-blocked')).toHaveLength(1)
    })

    it('does not sign in after its new owner has entered a code either', async () => {
      const visitor = new Visitor()
      provider.person = { sub: 'new-owner', email: ada.email, email_verified: false }
      await signIn({ portal, visitor }, 'acme')
      await visitor.post(`${portal.url}/register/code`, { email: ada.email })
      const code = mailServer.codeTo(ada.email)
      const seen = await visitor.follow(await visitor.post(`${portal.url}/register/verify`, { code }))
      expect(seen.body).toContain('Is this your account?')
      expect(seen.body).not.toContain('not confirmed')
      expect(await visitor.open(`${portal.url}/register`)).toMatchObject({ body: seen.body })
      const form = { name: 'Ada', terms: 'yes' }
      expect((await visitor.post(`${portal.url}/register`, form)).location).toContain('/register')
      expect(await subjects()).toEqual(['ada'])
      expect(await portal.knex('sso_users')).toHaveLength(1)
    })

    it('is linked after one sign-in with the account used before', async () => {
      const visitor = new Visitor()
      const seen = await enter('ada-too', visitor)
      const [, href] = /href="(\/login\/acme[^"]*proving[^"]*)"/.exec(seen.body)!
      provider.person = { ...provider.person, sub: 'ada' }
      const asked = await visitor.open(portal.url + href!.replaceAll('&amp;', '&'))
      const fields = [...formIn(asked.body).fields, ['answer', 'link']] as [string, string][]
      expect(isIn(await visitor.follow(await visitor.post(`${portal.url}/register/link`, fields)))).toBe(true)
      expect(await subjects()).toEqual(['ada', 'ada-too'])
      expect(await waiting()).toEqual([])
      expect(isIn(await enter('ada-too'))).toBe(true)
    })

    it('is not asked for at a provider that she has not used', async () => {
      other.person = { sub: 'ada-there', email: ada.email, email_verified: true }
      expect(isIn(await signIn({ portal, visitor: new Visitor() }, 'other'))).toBe(true)
    })

    it('is accepted by an administrator: it replaces the earlier account and ends its sessions', async () => {
      const before = new Visitor()
      await enter('ada', before)
      await enter('new-subject')
      const page = await admin.get(`${portal.url}/admin/sso/sessions?user=${user.id}`)
      expect(page.body).toContain('A new account waits for your decision')
      expect((await adminDoes('accept')).body).toContain('The new account is accepted.')
      expect((await before.get(`${portal.url}/portal`)).status).toBe(302)
      expect(await subjects()).toEqual(['new-subject'])
      expect(await events('identity-replaced')).toMatchObject([{ user_id: user.id, actor: 'admin' }])
      expect(isIn(await enter('new-subject'))).toBe(true)
      expect((await enter('ada')).body).toContain('Is this your account?')
    })

    it('is kept separate by an administrator, also after Ada removed her account', async () => {
      await enter('new-owner')
      expect((await adminDoes('keepSeparate')).body).toContain('Kept separate.')
      expect(await waiting()).toMatchObject([{ reason: 'separate' }])
      await portal.knex('sso_identities').delete()
      expect((await enter('new-owner')).body).toContain('Is this your account?')
      expect(await subjects()).toEqual([])
    })

    it('still waits after Ada has removed the account used before', async () => {
      const visitor = new Visitor()
      const authTime = Math.floor(Date.now() / 1000)
      for (const each of [provider, other]) each.faults.claims = { auth_time: authTime }
      other.person = { sub: 'ada-there', email: ada.email, email_verified: true }
      await signIn({ portal, visitor }, 'other')
      const [method] = (await portal.sso.identities.list(user.id)).filter(({ subject }) => subject === 'ada')
      await visitor.post(`${portal.url}/account/security/unlink`, { method: method!.id })
      expect(await subjects()).toEqual(['ada-there'])
      expect((await enter('new-owner')).body).toContain('Is this your account?')
      expect((await enter('newer-owner')).body).toContain('Is this your account?')
    })

    it('is the first proof of the address if it is accepted in place of an unproven account', async () => {
      await portal.knex('sso_identities').update({ proven_email: null })
      await portal.sso.providers.update('acme', { trustsEmail: false })
      provider.person = { sub: 'new-subject', email: ada.email, email_verified: true }
      await portal.knex('sso_blocked_identities').insert({
        id: '00000000-0000-4000-8000-000000000001',
        portal: 'default',
        user_id: user.id,
        provider_id: (await portal.sso.providers.get('acme'))!.id,
        issuer: provider.issuer,
        subject: 'new-subject',
        reason: 'waiting',
        blocked_at: new Date().toISOString(),
      })
      await adminDoes('accept')
      expect(await portal.sso.identities.list(user.id)).toMatchObject([{ provenEmail: undefined }])
      await enter('new-subject')
      expect(await portal.sso.identities.list(user.id)).toMatchObject([{ provenEmail: ada.email }])
    })

    it('cannot be accepted twice, nor by an id of another portal', async () => {
      await enter('new-owner')
      const [block] = await waiting()
      await expect(portal.sso.identities.accept(block!.id, { portal: 'other' })).rejects.toMatchObject({
        code: 'not_found',
      })
      await portal.sso.identities.accept(block!.id)
      await expect(portal.sso.identities.accept(block!.id)).rejects.toMatchObject({ code: 'not_found' })
    })
  })

  describe('while the relinking window is open', () => {
    const open = (days = 7) =>
      portal.sso.providers.update('acme', { relinkUntil: new Date(Date.now() + days * day).toISOString() })

    it('replaces her account once, ends its sessions and sends her a mail', async () => {
      const before = new Visitor()
      await enter('ada', before)
      await open()
      expect(isIn(await enter('new-subject'))).toBe(true)
      expect((await before.get(`${portal.url}/portal`)).status).toBe(302)
      expect(await subjects()).toEqual(['new-subject'])
      expect(await events('identity-replaced')).toMatchObject([{ user_id: user.id, provider: 'acme' }])
      const isMailed = () =>
        mailServer.mails.some(({ text }) => text.includes('The earlier one can no longer be used.'))
      while (!isMailed()) await pause()
      expect((await enter('ada')).body).toContain('Is this your account?')
      expect(isIn(await enter('new-subject'))).toBe(true)
    })

    it('is replaced by one of two new subjects that arrive at the same time', async () => {
      await open()
      const people = ['first', 'second'].map((sub) => ({ ...provider.person, sub }))
      provider.nextPerson = () => people.shift() ?? provider.person
      await Promise.all(['a', 'b'].map(() => signIn({ portal, visitor: new Visitor() }, 'acme')))
      expect(await subjects()).toHaveLength(1)
    })

    it('needs a provider that vouches for it: a code is not enough', async () => {
      await open()
      const visitor = new Visitor()
      provider.person = { sub: 'new-owner', email: ada.email, email_verified: false }
      await signIn({ portal, visitor }, 'acme')
      await visitor.post(`${portal.url}/register/code`, { email: ada.email })
      const code = mailServer.codeTo(ada.email)
      const seen = await visitor.follow(await visitor.post(`${portal.url}/register/verify`, { code }))
      expect(seen.body).toContain('Is this your account?')
      expect(await subjects()).toEqual(['ada'])
    })

    it('is not replaced if it was linked after the window opened', async () => {
      await portal.knex('sso_identities').delete()
      await open()
      await enter('ada')
      expect((await enter('new-subject')).body).toContain('Is this your account?')
    })

    it('is not replaced after the window has ended', async () => {
      await open(1)
      const clock = takeClock()
      try {
        clock.pass(day + 1000)
        expect((await enter('new-subject')).body).toContain('Is this your account?')
      } finally {
        clock.back()
      }
    })

    it('is replaced by nobody once the window is closed, even by a sign-in that is running', async () => {
      await open()
      const closing: PromiseLike<unknown>[] = []
      const closeOnce = ({ sql }: { sql: string }) => {
        if (closing.length > 0 || !/update .?sso_identities.? set .*relinked_at/.test(sql)) return
        const version = portal.knex.raw('version + 1')
        closing.push(
          portal.knex('sso_providers').where({ slug: 'acme' }).update({ relink_until: null, version }).then(),
        )
      }
      portal.knex.on('query', closeOnce)
      const seen = await enter('new-subject')
      await Promise.all(closing)
      portal.knex.removeListener('query', closeOnce)
      expect(closing).toHaveLength(1)
      const [left, ...others] = await subjects()
      expect(others).toEqual([])
      // The window and the identity are one statement: either it came first and the session is refused, or nothing changed.
      expect(isIn(seen)).toBe(false)
      expect((await enter(left === 'ada' ? 'new-subject' : 'ada')).body).toContain('Is this your account?')
    })

    it('lasts 30 days at most, and an extension does not include newer links', async () => {
      await expect(open(31)).rejects.toThrow('choose a date within the next 30 days')
      await open(7)
      const { relinkSince } = (await portal.sso.providers.get('acme'))!
      await open(14)
      expect((await portal.sso.providers.get('acme'))!.relinkSince).toBe(relinkSince)
      const [changed] = await events('provider-changed')
      expect(changed.detail).toContain('relinkUntil')
    })
  })
})
