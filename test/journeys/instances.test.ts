/** @slow runs several processes */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { UsersTable } from '../../lib/users/users-table.ts'
import { type FreshDatabase, freshPostgres } from '../support/databases.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { arrived } from '../support/http-requests.ts'
import { type LoadBalancer, startLoadBalancer } from '../support/load-balancer.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { acmeInput } from '../support/portal.ts'
import { responseUrl, useProvider } from '../support/scene.ts'
import { signal } from '../support/signal.ts'
import { type Instance, startInstance } from '../support/start-instance.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let database: FreshDatabase
let knex: Knex
let balancer: LoadBalancer
/** public URL of both instances */
let url: string
let north: Instance
let south: Instance
let visitor: Visitor

beforeAll(async () => {
  database = await freshPostgres()
  knex = knexModule(database.config)
  balancer = await startLoadBalancer()
  url = balancer.url
  // Both start simultaneously on an empty database.
  ;[north, south] = await Promise.all([startInstance(url, database), startInstance(url, database)])
  await new UsersTable({ knex }).create(
    { email: 'ada@example.com', name: 'Ada Lovelace', fields: {} },
    'default',
  )
})
afterAll(async () => {
  await Promise.all([north, south].map((each) => each.kill()))
  balancer.close()
  await knex.destroy()
  await database.drop()
})
beforeEach(async () => {
  visitor = new Visitor()
  await knex('sso_providers').delete()
  await north.act('connect', acmeInput(provider))
})

const on = (instance: Instance, send: () => Promise<Seen>) => balancer.on(instance, send)

/** The address of the user who is signed in on this instance. */
async function signedInOn(instance: Instance): Promise<string | undefined> {
  const seen = await on(instance, () => visitor.get(`${url}/portal`))
  return seen.status === 200 ? (JSON.parse(seen.body) as { user: { email: string } }).user.email : undefined
}

const click = (instance: Instance, slug = 'acme') => on(instance, () => visitor.get(`${url}/login/${slug}`))

const signIn = (instance: Instance) => on(instance, () => visitor.open(`${url}/login/acme`))

describe('two instances with one Redis and one database', () => {
  it('can start simultaneously on an empty database', async () => {
    expect(await knex('sso_migrations_lock').pluck('is_locked')).toEqual([0])
    const ran: string[] = await knex('sso_migrations').pluck('name')
    expect(ran.length).toBeGreaterThan(0)
    expect(new Set(ran).size).toBe(ran.length)
    for (const instance of [north, south])
      expect((await on(instance, () => visitor.get(`${url}/login`))).status).toBe(200)
  })

  it('finish each other’s sign-ins, and keep the deep link', async () => {
    balancer.serving = north
    const started = await visitor.get(`${url}/login/acme?returnTo=/portal/deep`)
    const response = await responseUrl(visitor, started)
    const landed = await on(south, () => visitor.open(response))
    expect(landed).toMatchObject({ status: 200, url: `${url}/portal/deep` })
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('end the session of an attacker who registered Ada’s address, once a provider vouches for her', async () => {
    await knex('sso_identities').delete()
    const attacker = visitor
    await on(south, () => visitor.post(`${url}/test/password-login`))
    const [before] = await knex('sso_sessions').where({ issuer: null })
    expect(before).toBeDefined()
    visitor = new Visitor()
    await signIn(north)
    expect(await signedInOn(south)).toBe('ada@example.com')
    visitor = attacker
    // The instance that started it may cache it for five seconds.
    expect(await signedInOn(north)).toBeUndefined()
    expect(await knex('sso_sessions').where({ id: before.id })).toEqual([])
  })

  /** The codes that both instances have sent to the provider, except those of connection tests. */
  const sentCodes = () =>
    provider.requests
      .filter(({ path }) => path === '/token')
      .map(({ body }) => new URLSearchParams(body).get('code'))

  const restart = { status: 303, location: expect.stringMatching(/\/login\/acme\?restarted=1$/) }

  it('accept an authorization response once, even if it is replayed on the other instance', async () => {
    const response = await responseUrl(visitor, await click(north))
    const stolen = visitor.clone()
    provider.requests.length = 0
    await on(north, () => visitor.open(response))
    // The thief has a copy of the attempt's cookie, and has to sign in at the provider.
    expect(await on(south, () => stolen.get(response))).toMatchObject(restart)
    expect(sentCodes()).toHaveLength(1)
  })

  it('send a code once, even if two requests arrive at the same time', async () => {
    const response = await responseUrl(visitor, await click(north))
    const twin = visitor.clone()
    const slow = signal()
    provider.faults.tokenWaitsFor = slow.given
    provider.requests.length = 0
    const asked = arrived('/token')
    const first = on(north, () => visitor.get(response))
    await asked
    const second = await on(south, () => twin.get(response))
    expect(second).toMatchObject(restart)
    expect(second.headers.getSetCookie().join()).not.toContain('portal-sso=')
    expect(sentCodes()).toHaveLength(1)
    slow.give()
    await first
    expect(await signedInOn(south)).toBe('ada@example.com')
    visitor = twin
    expect(await signedInOn(north)).toBeUndefined()
    await on(south, () => twin.follow(second))
    expect(await signedInOn(north)).toBe('ada@example.com')
  })

  it('share sessions', async () => {
    await signIn(north)
    expect(await signedInOn(north)).toBe('ada@example.com')
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('sign a user in even if each request goes to the other instance', async () => {
    let at = await on(north, () => visitor.get(`${url}/portal/reports`))
    at = await on(south, () => visitor.get(at.location!))
    const [, href] = /href="(\/login\/acme[^"]*)"/.exec(at.body) ?? []
    at = await on(north, () => visitor.get(url + href!.replaceAll('&amp;', '&')))
    const response = await responseUrl(visitor, at)
    at = await on(south, () => visitor.get(response))
    at = await on(north, () => visitor.get(at.location!))
    expect(at).toMatchObject({ status: 200, url: `${url}/portal/reports` })
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('show a provider on the picker as soon as the other instance has connected it', async () => {
    const pickerOnSouth = () => on(south, () => visitor.get(`${url}/login`))
    expect((await pickerOnSouth()).body).not.toContain('/login/second')
    await north.act('connect', acmeInput(provider, { slug: 'second', displayName: 'Second' }))
    expect((await pickerOnSouth()).body).toContain('href="/login/second"')
    await on(south, () => visitor.open(`${url}/login/second`))
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('use changed settings of a provider from the next sign-in on, despite their caches', async () => {
    const promptOnSouth = async () => new URL((await click(south)).location!).searchParams.get('prompt')
    expect(await promptOnSouth()).toBeNull()
    await north.act('update', 'acme', { prompt: 'select_account' })
    expect(await promptOnSouth()).toBe('select_account')
  })

  it('refuse a provider as soon as the other instance has disabled it, even for an attempt in progress', async () => {
    const response = await responseUrl(visitor, await click(south))
    await north.act('disable', 'acme')
    expect((await click(south)).status).toBe(404)
    expect((await on(south, () => visitor.open(response))).status).toBe(404)
    expect(await signedInOn(south)).toBeUndefined()
    await north.act('enable', 'acme', { withoutTestSignIn: true })
    expect((await click(south)).status).toBe(302)
  })

  it('use the new provider after the other instance has replaced one with the same slug', async () => {
    const clientOnSouth = async () => new URL((await click(south)).location!).searchParams.get('client_id')
    expect(await clientOnSouth()).toBe(provider.clientId)
    await north.act('remove', 'acme')
    const another = await startFaultyProvider({ clientId: 'another-client' })
    await north.act('connect', acmeInput(provider, { issuer: another.issuer, clientId: another.clientId }))
    expect(await clientOnSouth()).toBe('another-client')
    await another.close()
  })

  it('end the session on both when a user signs out on one', async () => {
    await signIn(north)
    expect(await signedInOn(south)).toBe('ada@example.com')
    const before = visitor.clone()
    await on(north, () => visitor.post(`${url}/logout`))
    expect(await signedInOn(south)).toBeUndefined()
    // The session itself has ended, not only the cookie.
    visitor = before
    expect(await signedInOn(south)).toBeUndefined()
  })

  it('apply a logout token on both, once', async () => {
    await signIn(north)
    const logout_token = await signLogoutToken(provider, { sub: 'ada' })
    const deliver = (instance: Instance) =>
      on(instance, () => new Visitor().post(`${url}/logout/acme/backchannel`, { logout_token }))
    expect((await deliver(south)).status).toBe(200)
    expect(await signedInOn(north)).toBeUndefined()
    await signIn(south)
    expect((await deliver(north)).status).toBe(400)
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('finish a sign-in on a reload, after one of them crashed while it sent the code', async () => {
    const response = await responseUrl(visitor, await click(north))
    const slow = signal()
    provider.faults.tokenWaitsFor = slow.given
    const asked = arrived('/token')
    balancer.serving = north
    const interrupted = visitor.get(response)
    await asked
    await north.kill()
    slow.give()
    expect((await interrupted).status).toBe(504)
    try {
      expect((await on(south, () => visitor.open(response))).url).toBe(`${url}/`)
      expect(await signedInOn(south)).toBe('ada@example.com')
    } finally {
      north = await startInstance(url, database)
    }
  })

  it('finish 40 sign-ins on a reload, after one of them crashed during their callbacks', async () => {
    balancer.serving = north
    const visitors = Array.from({ length: 40 }, () => new Visitor())
    const responses = await Promise.all(
      visitors.map(async (each) => await responseUrl(each, await each.get(`${url}/login/acme`))),
    )
    const slow = signal()
    provider.faults.tokenWaitsFor = slow.given
    provider.requests.length = 0
    const callbacks = visitors.map((each, n) => each.get(responses[n]!).catch(() => undefined))
    // As many as one address may have in flight at a provider; the others have not sent their code yet.
    while (sentCodes().length < 8) await sleep(5)
    slow.give()
    while (sentCodes().length < 20) await sleep(1)
    await north.kill()
    const received = await Promise.all(callbacks)
    balancer.serving = south
    try {
      const cutOff = received.flatMap((seen, n) => (seen?.status === 303 ? [] : [n]))
      expect(cutOff.length).toBeGreaterThan(10)
      const landed = await Promise.all(cutOff.map((n) => visitors[n]!.open(responses[n]!)))
      expect(landed.map(({ status }) => status)).toEqual(cutOff.map(() => 200))
      expect(landed.map((seen) => seen.url)).toEqual(cutOff.map(() => `${url}/`))
      for (const each of visitors) expect((await each.get(`${url}/portal`)).status).toBe(200)
    } finally {
      north = await startInstance(url, database)
    }
  })

  it('keep all sessions and attempts when one of them crashes', async () => {
    await signIn(north)
    const other = new Visitor()
    balancer.serving = north
    const response = await responseUrl(visitor, await other.get(`${url}/login/acme`))
    await north.kill()
    try {
      expect(await signedInOn(south)).toBe('ada@example.com')
      visitor = other
      await on(south, () => visitor.open(response))
      expect(await signedInOn(south)).toBe('ada@example.com')
    } finally {
      north = await startInstance(url, database)
    }
    expect(await signedInOn(north)).toBe('ada@example.com')
  })

  it('finish ending a provider’s sessions when one of them crashes in the middle, and the event names the actor', async () => {
    await signIn(north)
    expect(await signedInOn(north)).toBe('ada@example.com')
    await knex('sso_sessions').update({ created_at: '2026-01-01T00:00:00.000Z' })
    const [row] = await knex('sso_sessions').where({ provider: 'acme' })
    const others = Array.from({ length: 2000 }, (_, at) => ({ ...row, id: `session-${at}` }))
    await knex.batchInsert('sso_sessions', others, 100)
    const left = async () => (await knex('sso_sessions').where({ provider: 'acme' }).pluck('id')).length
    const before = await left()
    // It cannot delete the batch of the last row.
    const held = await knex.transaction()
    await held('sso_sessions').where({ id: 'session-1999' }).forUpdate()
    const ending = north.call('sessions', 'endAll', { provider: 'acme' }, { actor: 'ada' })
    const failed = expect(ending).rejects.toThrow()
    while ((await left()) === before) await sleep(10)
    await north.kill()
    await failed
    await held.rollback()
    try {
      expect(await left()).toBeGreaterThan(0)
      const [event] = await knex('sso_events').where({ kind: 'sessions-ended', actor: 'ada' })
      expect(event).toMatchObject({ provider: 'acme', detail: JSON.stringify({ sessions: before }) })
      // As if half a minute had passed: until then, the instance might still be at work.
      await knex('sso_session_endings').update({ requested_at: new Date(Date.now() - 31_000).toISOString() })
      await south.call('portal', 'runMaintenance')
      expect([await left(), await knex('sso_session_endings')]).toEqual([0, []])
      expect(await signedInOn(south)).toBeUndefined()
    } finally {
      north = await startInstance(url, database)
    }
  })
})
