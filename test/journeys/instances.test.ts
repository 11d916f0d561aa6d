/** @slow runs several processes */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { UsersTable } from '../../lib/users/users-table.ts'
import { type FreshDatabase, freshPostgres } from '../support/databases.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { type Instance, startInstance } from '../support/start-instance.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let database: FreshDatabase
let knex: Knex
let front: http.Server
/** What the browsers see, whichever instance answers. */
let url: string
let north: Instance
let south: Instance
let serving: Instance
let visitor: Visitor

beforeAll(async () => {
  provider = await startFaultyProvider()
  database = await freshPostgres()
  knex = knexModule(database.config)
  front = http.createServer(passOn).listen(0, '127.0.0.1')
  await once(front, 'listening')
  url = `http://127.0.0.1:${(front.address() as AddressInfo).port}`
  // Both at once, on an empty database.
  ;[north, south] = await Promise.all([startInstance(url, database), startInstance(url, database)])
  await new UsersTable({ knex }).create(
    { email: 'ada@example.com', name: 'Ada Lovelace', fields: {} },
    'default',
  )
})
afterAll(async () => {
  await Promise.all([north, south].map((each) => each.kill()))
  front.closeAllConnections()
  front.close()
  await knex.destroy()
  await database.drop()
  await provider.close()
})
beforeEach(async () => {
  provider.reset()
  visitor = new Visitor()
  await knex('sso_providers').delete()
  await north.act('connect', acme())
})

/** A reverse proxy in one function: to the instance that is serving. */
function passOn(req: http.IncomingMessage, res: http.ServerResponse): void {
  const { method, url: target, headers } = req
  const onward = http.request({ host: '127.0.0.1', port: serving.port, method, path: target, headers })
  onward.on('response', (answer) => {
    res.writeHead(answer.statusCode!, answer.headers)
    answer.pipe(res)
  })
  onward.on('error', (error) => res.writeHead(504).end(String(error)))
  req.pipe(onward)
}

const acme = (more: object = {}) => ({
  slug: 'acme',
  displayName: 'Acme',
  issuer: provider.issuer,
  clientId: provider.clientId,
  clientSecret: provider.clientSecret,
  ...more,
})

/** What a browser gets when this instance is the one that answers. */
async function on(instance: Instance, see: () => Promise<Seen>): Promise<Seen> {
  serving = instance
  const seen = await see()
  expect(seen.headers.get('x-instance')).toBe(String(instance.port))
  return seen
}

/** Who is signed in, as this instance says. */
async function signedInOn(instance: Instance): Promise<string | undefined> {
  const seen = await on(instance, () => visitor.get(`${url}/portal`))
  return seen.status === 200 ? (JSON.parse(seen.body) as { user: { email: string } }).user.email : undefined
}

const click = (instance: Instance, slug = 'acme') => on(instance, () => visitor.get(`${url}/login/${slug}`))

/** On to the provider; its answer, on its way back to the portal. */
const answerTo = async (started: Seen): Promise<string> => (await visitor.get(started.location!)).location!

const signIn = (instance: Instance) => on(instance, () => visitor.open(`${url}/login/acme`))

describe('two instances with one Redis and one database', () => {
  it('start at once on an empty database', async () => {
    expect(await knex('sso_migrations_lock').pluck('is_locked')).toEqual([0])
    const ran: string[] = await knex('sso_migrations').pluck('name')
    expect(ran.length).toBeGreaterThan(0)
    expect(new Set(ran).size).toBe(ran.length)
    for (const instance of [north, south])
      expect((await on(instance, () => visitor.get(`${url}/login`))).status).toBe(200)
  })

  it('a sign-in begun on one is finished on the other, back to the deep link', async () => {
    serving = north
    const started = await visitor.get(`${url}/login/acme?returnTo=/portal/deep`)
    const answer = await answerTo(started)
    const landed = await on(south, () => visitor.open(answer))
    expect(landed).toMatchObject({ status: 200, url: `${url}/portal/deep` })
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('an answer is taken once, also when it comes again at the other', async () => {
    const answer = await answerTo(await click(north))
    const stolen = visitor.clone()
    await on(north, () => visitor.open(answer))
    // Even from a copy of the cookies from before: the provider gives nothing for a code that is spent.
    const seen = await on(south, () => stolen.open(answer))
    expect(seen.status).toBe(400)
  })

  it('somebody who signed in on one is signed in on the other', async () => {
    await signIn(north)
    expect(await signedInOn(north)).toBe('ada@example.com')
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('somebody who goes to and fro between them with each request signs in all the same', async () => {
    let at = await on(north, () => visitor.get(`${url}/portal/reports`))
    at = await on(south, () => visitor.get(at.location!))
    const [, href] = /href="(\/login\/acme[^"]*)"/.exec(at.body) ?? []
    at = await on(north, () => visitor.get(url + href!.replaceAll('&amp;', '&')))
    const answer = await answerTo(at)
    at = await on(south, () => visitor.get(answer))
    at = await on(north, () => visitor.get(at.location!))
    expect(at).toMatchObject({ status: 200, url: `${url}/portal/reports` })
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('a provider connected through one is on the picker of the other at the next request, and works there', async () => {
    const pickerOnSouth = () => on(south, () => visitor.get(`${url}/login`))
    expect((await pickerOnSouth()).body).not.toContain('/login/second')
    await north.act('connect', acme({ slug: 'second', displayName: 'Second' }))
    expect((await pickerOnSouth()).body).toContain('href="/login/second"')
    await on(south, () => visitor.open(`${url}/login/second`))
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('a provider edited through one counts at the next click at the other, which had it ready', async () => {
    const promptOnSouth = async () => new URL((await click(south)).location!).searchParams.get('prompt')
    expect(await promptOnSouth()).toBeNull()
    await north.act('update', 'acme', { prompt: 'select_account' })
    expect(await promptOnSouth()).toBe('select_account')
  })

  it('a provider disabled through one is refused at the next click at the other, an attempt under way too', async () => {
    const answer = await answerTo(await click(south))
    await north.act('disable', 'acme')
    expect((await click(south)).status).toBe(404)
    expect((await on(south, () => visitor.open(answer))).status).toBe(404)
    expect(await signedInOn(south)).toBeUndefined()
    await north.act('enable', 'acme', { withoutTestSignIn: true })
    expect((await click(south)).status).toBe(302)
  })

  it('a provider removed through one and connected anew elsewhere is the new one at the other', async () => {
    const clientOnSouth = async () => new URL((await click(south)).location!).searchParams.get('client_id')
    expect(await clientOnSouth()).toBe(provider.clientId)
    await north.act('remove', 'acme')
    const another = await startFaultyProvider({ clientId: 'another-client' })
    await north.act('connect', acme({ issuer: another.issuer, clientId: another.clientId }))
    expect(await clientOnSouth()).toBe('another-client')
    await another.close()
  })

  it('signing out on one ends the session on the other', async () => {
    await signIn(north)
    expect(await signedInOn(south)).toBe('ada@example.com')
    const before = visitor.clone()
    await on(north, () => visitor.post(`${url}/logout`))
    expect(await signedInOn(south)).toBeUndefined()
    // Not only this browser's cookie is gone: the session is.
    visitor = before
    expect(await signedInOn(south)).toBeUndefined()
  })

  it('a provider that tells one of them that somebody has left ends the session on the other, once', async () => {
    await signIn(north)
    const logout_token = await signLogoutToken(provider, { sub: 'ada' })
    const tell = (instance: Instance) =>
      on(instance, () => new Visitor().post(`${url}/logout/acme/backchannel`, { logout_token }))
    expect((await tell(south)).status).toBe(200)
    expect(await signedInOn(north)).toBeUndefined()
    await signIn(south)
    expect((await tell(north)).status).toBe(400)
    expect(await signedInOn(south)).toBe('ada@example.com')
  })

  it('when one dies nobody is signed out, and what was begun on it is finished on the other', async () => {
    await signIn(north)
    const other = new Visitor()
    serving = north
    const answer = await answerTo(await other.get(`${url}/login/acme`))
    await north.kill()
    try {
      expect(await signedInOn(south)).toBe('ada@example.com')
      visitor = other
      await on(south, () => visitor.open(answer))
      expect(await signedInOn(south)).toBe('ada@example.com')
    } finally {
      north = await startInstance(url, database)
    }
    expect(await signedInOn(north)).toBe('ada@example.com')
  })
})
