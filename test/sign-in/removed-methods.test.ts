import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import type { User } from '../../lib/index.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import { contoso, type EntraLookAlike, startEntraLookAlike } from '../support/entra-look-alike.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { ada, signIn, useProvider } from '../support/scene.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const other = await useProvider({ clientId: 'other' })
const page = '/account/security'

describe.each(everyDatabase)('a sign-in method that Ada has removed (%s)', (_name, fresh) => {
  let entra: EntraLookAlike
  let database: FreshDatabase
  let portal: TestPortal
  let user: User
  let visitor: Visitor

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
    const authTime = Math.floor(Date.now() / 1000)
    for (const each of [provider, other, entra]) each.faults.claims = { auth_time: authTime }
    portal = await startPortal({
      database: knexModule(database.config),
      mount(app, sso) {
        mountDefault(app, sso)
        app.use('/admin/sso', sso.admin({ authorize: (req) => req.get('x-admin') === 'yes' }))
      },
    })
    for (const table of ['providers', 'identities', 'blocked_identities', 'users', 'events', 'sessions'])
      await portal.knex(`sso_${table}`).delete()
    await portal.connect(provider)
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    user = await portal.sso.users.create(ada)
    visitor = new Visitor()
    await signIn({ portal, visitor }, 'acme')
  })
  afterEach(async () => {
    await portal.close()
    await portal.knex.destroy()
  })

  const isIn = ({ body }: Seen) => body.includes(user.id)
  const enter = (slug: string) => signIn({ portal, visitor: new Visitor() }, slug)

  async function methodOf(slug: string): Promise<string> {
    const { id: providerId } = (await portal.sso.providers.get(slug))!
    const linked = await portal.sso.identities.list(user.id)
    return linked.find((each) => each.providerId === providerId)!.id
  }

  /** Signs in with another provider, and removes the method of the first one. */
  async function remove(slug: string): Promise<void> {
    other.person = { sub: 'ada-there', email: ada.email, email_verified: true }
    await signIn({ portal, visitor }, 'other')
    const form = { method: await methodOf(slug) }
    const seen = await visitor.follow(await visitor.post(`${portal.url}${page}/unlink`, form))
    expect(seen.body).toContain('Removed. It can no longer be used to sign in as you.')
  }

  async function addAgain(slug: string): Promise<void> {
    const asked = await visitor.follow(await visitor.post(`${portal.url}${page}/link`, { provider: slug }))
    const fields = [...formIn(asked.body).fields, ['answer', 'link']] as [string, string][]
    await visitor.follow(await visitor.post(`${portal.url}/register/link`, fields))
  }

  it('stays removed, although the provider vouches for her address', async () => {
    await remove('acme')
    const refused = await enter('acme')
    expect(refused.status).toBe(403)
    expect(refused.body).toContain('This sign-in method was removed')
    expect(refused.body).toContain('Use another account')
    expect(await portal.sso.identities.list(user.id)).toMatchObject([{ subject: 'ada-there' }])
    expect(await portal.knex('sso_events').where({ kind: 'sign-in-failed' })).toMatchObject([
      { detail: expect.stringContaining('method_removed') },
    ])
  })

  it('can be added again by Ada on her account page', async () => {
    await remove('acme')
    await addAgain('acme')
    expect(isIn(await enter('acme'))).toBe(true)
    expect(await portal.sso.identities.listBlocked(user.id)).toEqual([])
  })

  it('can be allowed again by an administrator', async () => {
    await remove('acme')
    const admin = new Visitor({ 'x-admin': 'yes' })
    const [block] = await portal.sso.identities.listBlocked(user.id)
    const form = { user: user.id, id: block!.id, action: 'allow' }
    const seen = await admin.follow(await admin.post(`${portal.url}/admin/sso/sessions/identity`, form))
    expect(seen.body).toContain('The e-mail address may link this account again.')
    expect(isIn(await enter('acme'))).toBe(true)
  })

  it('cannot be added again by a copy of the page from before it was removed', async () => {
    other.person = { sub: 'ada-there', email: ada.email, email_verified: true }
    await signIn({ portal, visitor }, 'other')
    await visitor.post(`${portal.url}${page}/unlink`, { method: await methodOf('acme') })
    const asked = await visitor.follow(await visitor.post(`${portal.url}${page}/link`, { provider: 'acme' }))
    const thief = visitor.clone()
    const form = [...formIn(asked.body).fields, ['answer', 'link']] as [string, string][]
    await visitor.follow(await visitor.post(`${portal.url}/register/link`, form))
    await visitor.post(`${portal.url}${page}/unlink`, { method: await methodOf('acme') })
    expect((await thief.post(`${portal.url}/register/link`, form)).status).toBe(403)
    expect(await portal.sso.identities.list(user.id)).toMatchObject([{ subject: 'ada-there' }])
  })

  it('does not keep its real owner out, who signs in as another user with a trusted address', async () => {
    await remove('acme')
    const grace = await portal.sso.users.create({ email: 'grace@example.com', name: 'Grace', fields: {} })
    provider.person = { sub: 'ada', email: 'grace@example.com', email_verified: true }
    expect((await enter('acme')).body).toContain(grace.id)
  })

  it('does not lock the person out after the user was deleted', async () => {
    await remove('acme')
    await portal.knex('sso_users').delete()
    expect((await enter('acme')).body).toContain('Complete your registration')
  })

  it('stays removed at Entra under the subject of every app registration', async () => {
    await portal.connect(entra, { ...entra.row(contoso), slug: 'contoso', trustsEmail: true })
    entra.signsIn({ email: ada.email })
    expect(isIn(await enter('contoso'))).toBe(true)
    await remove('contoso')
    entra.clientId = '99999999-14a6-49ae-97bc-6eba69143999'
    const { issuer, ...row } = entra.row(contoso)
    await portal.connect(entra, { ...row, issuer, slug: 'second', trustsEmail: true })
    expect((await enter('second')).body).toContain('This sign-in method was removed')
  })
})
