/** @slow runs several processes */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { type FreshDatabase, freshPostgres } from '../support/databases.ts'
import { type LoadBalancer, startLoadBalancer } from '../support/load-balancer.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { newerVersion } from '../support/newer-version.ts'
import { acmeInput } from '../support/portal.ts'
import { responseUrl, useProvider } from '../support/scene.ts'
import { type Instance, startInstance } from '../support/start-instance.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

type Version = 'this version' | 'the newer one'

const provider = await useProvider()
let database: FreshDatabase
let knex: Knex
let balancer: LoadBalancer
let instances: Record<Version, Instance>
/** signed in before the newer version started */
let earlier: Visitor
let visitor: Visitor

beforeAll(async () => {
  database = await freshPostgres()
  knex = knexModule(database.config)
  balancer = await startLoadBalancer()
  const older = await startInstance(balancer.url, database)
  await older.act('connect', acmeInput(provider))
  earlier = new Visitor()
  visitor = earlier
  await balancer.on(older, () => register('ada'))
  // It adds its columns while the older one is running.
  const newer = await startInstance(balancer.url, database, newerVersion)
  instances = { 'this version': older, 'the newer one': newer }
})
afterAll(async () => {
  await Promise.all(Object.values(instances).map((each) => each.kill()))
  balancer.close()
  await knex.destroy()
  await database.drop()
})
beforeEach(() => {
  visitor = new Visitor()
})

const on = (version: Version, send: () => Promise<Seen>) => balancer.on(instances[version], send)

/** Signs a new person in, up to the end of the registration. */
async function register(sub: string): Promise<Seen> {
  provider.person = { sub, email: `${sub}@example.com`, email_verified: true, name: sub }
  const form = await visitor.open(`${balancer.url}/login/acme`)
  expect(form.url).toBe(`${balancer.url}/register`)
  return await visitor.follow(await visitor.post(form.url, { name: sub }))
}

const signIn = (version: Version, slug = 'acme') =>
  on(version, () => visitor.open(`${balancer.url}/login/${slug}`))

/** The address of the user who is signed in on both. */
async function signedIn(): Promise<string | undefined> {
  const pages = []
  for (const version of Object.keys(instances) as Version[])
    pages.push(await on(version, () => visitor.get(`${balancer.url}/portal`)))
  const [email, other] = pages.map(({ status, body }) =>
    status === 200 ? (JSON.parse(body) as { user: { email: string } }).user.email : undefined,
  )
  expect(other).toBe(email)
  return email
}

const bothWays: [one: Version, other: Version][] = [
  ['this version', 'the newer one'],
  ['the newer one', 'this version'],
]

describe('this version beside a newer one with more columns', () => {
  it('keeps its sessions while the newer one starts, and starts again on the newer tables', async () => {
    expect(await knex('sso_migrations').orderBy('id', 'desc').first('name')).toEqual({ name: '999-newer' })
    visitor = earlier
    expect(await signedIn()).toBe('ada@example.com')
    await instances['this version'].kill()
    instances['this version'] = await startInstance(balancer.url, database)
    expect(await signedIn()).toBe('ada@example.com')
  })

  describe.each(bothWays)('a visitor who starts on %s and continues on %s', (one, other) => {
    it('signs in, has a session on both, and signs out', async () => {
      provider.person = { sub: 'ada', email: 'ada@example.com', email_verified: true, name: 'Ada' }
      const started = await on(one, () => visitor.get(`${balancer.url}/login/acme?returnTo=/portal/deep`))
      const response = await responseUrl(visitor, started)
      const landed = await on(other, () => visitor.open(response))
      expect(landed.url).toBe(`${balancer.url}/portal/deep`)
      expect(await signedIn()).toBe('ada@example.com')
      for (const version of [one, other])
        expect((await on(version, () => visitor.get(`${balancer.url}/account/security`))).status).toBe(200)
      const before = visitor.clone()
      await on(one, () => visitor.post(`${balancer.url}/logout`))
      visitor = before
      expect(await signedIn()).toBeUndefined()
    })

    it('registers, and is found by a logout token', async () => {
      const sub = `grace-${one.length}`
      provider.person = { sub, email: `${sub}@example.com`, email_verified: true, name: 'Grace' }
      const form = await signIn(one)
      await on(other, () => visitor.post(form.url, { name: 'Grace' }))
      expect(await signedIn()).toBe(`${sub}@example.com`)
      const logout_token = await signLogoutToken(provider, { sub })
      const url = `${balancer.url}/logout/acme/backchannel`
      expect((await on(one, () => new Visitor().post(url, { logout_token }))).status).toBe(200)
      expect(await signedIn()).toBeUndefined()
    })

    it('uses a provider that the first has connected and the second has changed', async () => {
      const slug = `from-${one.length}`
      await instances[one].act('connect', acmeInput(provider, { slug }))
      await instances[other].act('update', slug, { prompt: 'select_account' })
      for (const version of [one, other])
        expect((await on(version, () => visitor.get(`${balancer.url}/login/${slug}`))).location).toContain(
          'prompt=select_account',
        )
      await signIn(one, slug)
      expect(await signedIn()).toBe('ada@example.com')
    })
  })

  it('keeps the values that only the newer one knows, and writes the default of their columns', async () => {
    const { 'this version': older, 'the newer one': newer } = instances
    await newer.act('update', 'acme', { newer: 'set' })
    await older.act('update', 'acme', { prompt: 'login' })
    expect(await newer.act('get', 'acme')).toMatchObject({ newer: 'set', prompt: 'login' })
    expect(await older.act('get', 'acme')).not.toHaveProperty('newer')
    await older.act('connect', acmeInput(provider, { slug: 'plain' }))
    expect(await newer.act('get', 'plain')).toMatchObject({ newer: 'unset' })
    for (const slug of ['acme', 'plain'])
      for (const version of Object.keys(instances) as Version[]) {
        visitor = new Visitor()
        await signIn(version, slug)
        expect(await signedIn()).toBe('ada@example.com')
      }
    const written = await knex('sso_sessions').distinct('newer').orderBy('newer').pluck('newer')
    expect(written).toEqual(['set', 'unset'])
  })
})
