import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import express, { type Express } from 'express'
import knexModule from 'knex'
import type { LinkedAddress, PortalSso, User, UserDirectory } from '../../lib/index.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { takeClock, takeTimers } from '../support/clock.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import { type MailServer, startMailServer } from '../support/mail-server.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { ada, signIn, useProvider } from '../support/scene.ts'
import { signal } from '../support/signal.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

const page = '/account/security'

describe.each(everyDatabase)(
  'an attacker has registered the address of Ada, and now (%s)',
  (_name, fresh) => {
    let mailServer: MailServer
    let database: FreshDatabase
    let portals: TestPortal[]
    let attacker: Visitor
    let passwords: Map<string, string>
    let linked: LinkedAddress[]
    /** replaced by tests in which the host fails */
    let onLinked: NonNullable<UserDirectory['onLinked']>
    const passwordChecked: (() => Promise<void>)[] = []

    beforeAll(async () => {
      mailServer = await startMailServer()
      database = await fresh()
    })
    afterAll(async () => {
      await mailServer.close()
      await database.drop()
    })
    beforeEach(async () => {
      portals = []
      linked = []
      passwordChecked.length = 0
      passwords = new Map([[ada.email, 'guessable']])
      onLinked = (user, { firstLink }) => void (firstLink && passwords.delete(user.email))
      mailServer.reset()
      const portal = await start()
      for (const table of ['sso_providers', 'sso_identities', 'sso_users', 'sso_events', 'sso_sessions'])
        await portal.knex(table).delete()
      await portal.connect(vouching)
      await portal.connect(silent, { slug: 'silent', displayName: 'Silent' })
      await portal.sso.users.create(ada)
      attacker = new Visitor()
      expect((await passwordLogin(attacker)).status).toBe(200)
    })
    afterEach(async () => {
      for (const portal of portals) {
        await portal.close()
        await portal.knex.destroy()
      }
    })

    const portal = () => portals[0]!
    const identities = () => portal().knex('sso_identities')

    /** A host with a classic login of its own, on one more instance. */
    async function start(options: TestPortalOptions = {}): Promise<TestPortal> {
      const knex = knexModule(database.config)
      const table = new UsersTable({ knex })
      const users: UserDirectory = {
        findById: (id, name) => table.findById(id, name),
        findByEmail: (email, name) => table.findByEmail(email, name),
        create: (registration, name) => table.create(registration, name),
        onLinked: async (user, link, name) => {
          linked.push(link)
          await onLinked(user, link, name)
        },
      }
      const started = await startPortal({
        database: knex,
        users,
        mount: mountWithPasswords,
        mailer: mailServer.transport,
        mailFrom: 'Portal <no-reply@portal.example>',
        classicLogin: { allow: () => true },
        ...options,
      })
      portals.push(started)
      return started
    }

    function mountWithPasswords(app: Express, sso: PortalSso): void {
      app.use(sso.session())
      app.post('/password-login', sso.classicLoginGate(), express.urlencoded(), async (req, res, next) => {
        const { email, password } = req.body as Record<string, string>
        const user = passwords.get(email!) === password ? await sso.users.findByEmail(email!) : undefined
        await passwordChecked.shift()?.()
        if (!user) return void res.sendStatus(401)
        req.login(user as Express.User, (error: unknown) => (error ? next(error) : res.send('in')))
      })
      mountDefault(app, sso)
    }

    const passwordLogin = (visitor: Visitor, at = portal()) =>
      visitor.post(`${at.url}/password-login`, { email: ada.email, password: 'guessable' })
    const isIn = async (visitor: Visitor, at = portal()) =>
      (await visitor.get(`${at.url}/portal`)).status === 200
    const adaSignsIn = (slug = 'acme', at = portal()) => signIn({ portal: at, visitor: new Visitor() }, slug)

    /** Signs in with the classic login's session at another provider, up to the page that asks or refuses. */
    async function addMethod(visitor: Visitor, slug: string, at = portal()): Promise<Seen> {
      return await visitor.follow(await visitor.post(`${at.url}${page}/link`, { provider: slug }))
    }

    async function enterCode(visitor: Visitor, code = mailServer.codeTo(ada.email)): Promise<Seen> {
      return await visitor.follow(await visitor.post(`${portal().url}/register/verify`, { code }))
    }

    const accept = async (visitor: Visitor, { body }: Seen, at = portal()) =>
      await visitor.follow(
        await visitor.post(`${at.url}/register/link`, [...formIn(body).fields, ['answer', 'link']]),
      )

    /** The attacker has linked an account of their own, as was possible without a proof of the address. */
    async function linkAttackersAccount(slug = 'silent'): Promise<Visitor> {
      const at = slug === 'acme' ? vouching : silent
      const [user] = (await portal().knex('sso_users')) as User[]
      const { id } = (await portal().sso.providers.get(slug))!
      const now = new Date().toISOString()
      await identities().insert({
        id: 'attackers',
        portal: 'default',
        user_id: user!.id,
        provider_id: id,
        issuer: at.issuer,
        subject: 'mallory',
        linked_at: now,
        last_used_at: now,
      })
      at.person = { sub: 'mallory' }
      const visitor = new Visitor()
      await signIn({ portal: portal(), visitor }, slug)
      expect(await isIn(visitor)).toBe(true)
      return visitor
    }

    it('is signed out on every instance as soon as a provider vouches for Ada, and the password is gone', async () => {
      const second = await start()
      const elsewhere = new Visitor()
      expect((await passwordLogin(elsewhere, second)).status).toBe(200)
      expect((await adaSignsIn()).body).toContain(ada.email)
      expect(await isIn(attacker)).toBe(false)
      expect(await isIn(elsewhere, second)).toBe(false)
      expect((await passwordLogin(attacker)).status).toBe(401)
      expect(linked).toEqual([
        {
          provider: 'acme',
          firstLink: true,
          identity: { issuer: vouching.issuer, subject: 'ada', email: ada.email },
        },
      ])
      expect(await portal().knex('sso_events').where({ kind: 'account-reclaimed' })).toMatchObject([
        { provider: 'acme', detail: JSON.stringify({ identities: 0, sessions: 2 }) },
      ])
    })

    it('is signed out when Ada proves the address by a code', async () => {
      const visitor = new Visitor()
      silent.person = { sub: 'ada-too' }
      await visitor.open(`${portal().url}/login/silent`)
      await visitor.post(`${portal().url}/register/code`, { email: ada.email })
      await enterCode(visitor)
      expect(await isIn(visitor)).toBe(true)
      expect(await isIn(attacker)).toBe(false)
      expect(linked).toMatchObject([{ provider: 'silent', firstLink: true }])
    })

    it('loses an account that was linked without a proof, with its sessions', async () => {
      const withOwnAccount = await linkAttackersAccount()
      await adaSignsIn()
      expect(await isIn(withOwnAccount)).toBe(false)
      expect((await identities()).map(({ subject }) => subject)).toEqual(['ada'])
      expect((await adaSignsIn('silent')).body).not.toContain(ada.email)
    })

    it('is signed out when the provider vouches only later, for an account that was linked before', async () => {
      await adaSignsIn()
      await identities().update({ proven_email: null, proven_at: null })
      linked = []
      passwords.set(ada.email, 'guessable')
      vouching.person = { ...vouching.person, email_verified: false }
      const other = new Visitor()
      await passwordLogin(other)
      await adaSignsIn()
      expect(await isIn(other)).toBe(true)
      vouching.person = { ...vouching.person, email_verified: true }
      await adaSignsIn()
      expect(await isIn(other)).toBe(false)
      expect(linked).toMatchObject([{ firstLink: true }])
    })

    it('loses an account that was linked with a proof of another address', async () => {
      const table = portal().knex('sso_users')
      await table.clone().update({ email: 'mallory@evil.example' })
      vouching.person = { sub: 'mallory', email: 'mallory@evil.example', email_verified: true }
      await signIn({ portal: portal(), visitor: attacker }, 'acme')
      expect(await isIn(attacker)).toBe(true)
      // The host lets a user enter any address.
      await table.clone().update({ email: ada.email })
      passwords.set(ada.email, 'guessable')
      linked = []
      vouching.person = { sub: 'ada', email: ada.email, email_verified: true }
      expect((await adaSignsIn()).body).toContain(ada.email)
      expect(await isIn(attacker)).toBe(false)
      expect((await identities()).map(({ subject }) => subject)).toEqual(['ada'])
      expect(linked).toMatchObject([{ firstLink: true }])
    })

    it('loses an account at the same provider, which does not keep Ada out as an earlier one', async () => {
      const withOwnAccount = await linkAttackersAccount('acme')
      vouching.person = { sub: 'ada', email: ada.email, email_verified: true }
      expect((await adaSignsIn()).body).toContain(ada.email)
      expect(await isIn(withOwnAccount)).toBe(false)
      expect((await identities()).map(({ subject }) => subject)).toEqual(['ada'])
      expect(linked).toMatchObject([{ firstLink: true }])
    })

    it('is not disturbed by a provider that vouches for another address of the linked account', async () => {
      await adaSignsIn()
      await identities().update({ proven_email: null, proven_at: null })
      vouching.person = { ...vouching.person, email: 'countess@example.com' }
      passwords.set(ada.email, 'guessable')
      const other = new Visitor()
      await passwordLogin(other)
      await adaSignsIn()
      expect(await isIn(other)).toBe(true)
      expect(linked).toHaveLength(1)
    })

    it('Ada’s later sign-ins and providers end no session, and say that they are not the first', async () => {
      const clock = takeClock()
      try {
        await adaSignsIn()
        passwords.set(ada.email, 'guessable')
        clock.pass(11_000)
        const withPassword = new Visitor()
        expect((await passwordLogin(withPassword)).status).toBe(200)
        silent.person = { sub: 'ada-too', email: ada.email }
        silent.faults.claims = { email_verified: true }
        await adaSignsIn('silent')
        await adaSignsIn()
        expect(linked.map(({ firstLink }) => firstLink)).toEqual([true, false])
        expect(await isIn(withPassword)).toBe(true)
      } finally {
        clock.back()
      }
    })

    it('signs in with the password, checked before Ada’s sign-in and finished after it, in vain', async () => {
      const held = signal()
      const checked = signal()
      passwordChecked.push(async () => {
        checked.give()
        await held.given
      })
      const late = new Visitor()
      const answer = passwordLogin(late)
      await checked.given
      await adaSignsIn()
      held.give()
      expect((await answer).status).toBe(403)
      expect(await isIn(late)).toBe(false)
    })

    it('keeps everything if the host says that its own registration verifies addresses', async () => {
      const trusting = await start({ linking: { endOtherSessions: false } })
      const withOwnAccount = await linkAttackersAccount()
      await adaSignsIn('acme', trusting)
      expect(await isIn(attacker)).toBe(true)
      expect(await isIn(withOwnAccount)).toBe(true)
      expect(linked).toMatchObject([{ firstLink: true }])
    })

    describe('the host', () => {
      it('throws: Ada is refused, nothing is linked, and the next sign-in asks the host again', async () => {
        const works = onLinked
        onLinked = () => {
          throw new Error('the table of passwords is locked')
        }
        const refused = await adaSignsIn()
        expect(refused.status).toBe(503)
        expect(refused.body).toContain('We could not connect your account')
        expect(await identities()).toEqual([])
        expect(portal().logs.at(-1)!.fields).toMatchObject({
          code: 'linking_failed',
          cause: expect.stringContaining('the table of passwords is locked'),
        })
        onLinked = works
        expect((await adaSignsIn()).body).toContain(ada.email)
        expect(linked).toHaveLength(2)
        expect(await isIn(attacker)).toBe(false)
      })

      it('hangs: Ada is refused after two seconds', async () => {
        const called = signal()
        onLinked = async () => {
          called.give()
          await new Promise(() => {})
        }
        const timers = takeTimers()
        try {
          const refused = adaSignsIn()
          await called.given
          timers.pass(2000)
          expect((await refused).status).toBe(503)
        } finally {
          timers.back()
        }
        expect(await identities()).toEqual([])
      })

      it('dies while it is called: another instance calls it again', async () => {
        const called = signal()
        const works = onLinked
        onLinked = async () => {
          called.give()
          await new Promise(() => {})
        }
        const dying = await start()
        const cut = adaSignsIn('acme', dying).catch((error: Error) => error.message)
        await called.given
        await dying.close()
        expect(await cut).toMatch(/socket hang up|ECONNRESET|aborted/)
        onLinked = works
        expect((await adaSignsIn()).body).toContain(ada.email)
        expect(linked.map(({ firstLink }) => firstLink)).toEqual([true, true])
        expect(await isIn(attacker)).toBe(false)
      })

      it('has deleted the password when the database fails: the next sign-in ends the sessions', async () => {
        const { knex } = portal()
        knex.on('start', (query: { toString(): string }) => {
          if (/insert into .?sso_identities/.test(query.toString())) throw new Error('connection lost')
        })
        expect((await adaSignsIn()).status).toBeGreaterThanOrEqual(500)
        knex.removeAllListeners('start')
        await adaSignsIn()
        expect(linked.map(({ firstLink }) => firstLink)).toEqual([true, true])
        expect(await isIn(attacker)).toBe(false)
      })
    })

    describe('wants to add a sign-in method of their own:', () => {
      beforeEach(() => {
        silent.person = { sub: 'mallory', email: 'mallory@evil.example' }
      })

      it('a code is sent to Ada, and without it nothing is linked', async () => {
        const asked = await addMethod(attacker, 'silent')
        expect(asked.body).toContain(`confirm that ${ada.email} is your address`)
        expect(mailServer.codes).toEqual([])
        await attacker.post(`${portal().url}/register/code`, { email: 'mallory@evil.example' })
        expect(mailServer.codes.map(({ recipients }) => recipients)).toEqual([[ada.email]])
        expect((await enterCode(attacker, '2222-2222')).status).toBe(422)
        for (const answer of ['link', 'later']) {
          const seen = await attacker.post(`${portal().url}/register/link`, { answer })
          expect(seen.location).toContain('/register/link')
        }
        expect(await identities()).toEqual([])
      })

      it('with the code, Ada links the account and stays signed in, and all other sessions end', async () => {
        const owner = new Visitor()
        await passwordLogin(owner)
        await addMethod(owner, 'silent')
        await owner.follow(await owner.post(`${portal().url}/register/code`))
        const asked = await enterCode(owner)
        expect(asked.body).toContain('Connect this account')
        expect((await accept(owner, asked)).body).toContain('Added. You can now sign in with it, too.')
        expect(await isIn(owner)).toBe(true)
        expect(await isIn(attacker)).toBe(false)
        expect(await identities()).toMatchObject([{ subject: 'mallory', proven_email: ada.email }])
      })

      it('without a mailer the method is refused', async () => {
        const mute = await start({ mailer: undefined, mailFrom: undefined })
        const visitor = new Visitor()
        await passwordLogin(visitor, mute)
        const refused = await addMethod(visitor, 'silent', mute)
        expect(refused.status).toBe(403)
        expect(refused.body).toContain(page)
        expect(await identities()).toEqual([])
      })

      it('a provider that vouches for Ada’s address needs no code', async () => {
        const owner = new Visitor()
        await passwordLogin(owner)
        await accept(owner, await addMethod(owner, 'acme'))
        expect(await isIn(owner)).toBe(true)
        expect(await isIn(attacker)).toBe(false)
        expect(linked).toMatchObject([{ provider: 'acme', firstLink: true }])
      })

      it('a session that a provider vouched for needs no code', async () => {
        const owner = new Visitor()
        await signIn({ portal: portal(), visitor: owner }, 'acme')
        await accept(owner, await addMethod(owner, 'silent'))
        expect(await identities()).toHaveLength(2)
        expect(mailServer.codes).toEqual([])
      })
    })
  },
)

const vouching = await useProvider()
const silent = await useProvider({ clientId: 'silent', claimsOf: ({ sub, email }) => ({ sub, email }) })
beforeEach(() => {
  for (const provider of [vouching, silent])
    provider.faults.claims = { auth_time: Math.floor(Date.now() / 1000) }
})
