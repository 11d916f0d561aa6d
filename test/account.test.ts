import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import { migrate } from '../lib/database/migrate.ts'
import { createIdentitiesTable } from '../lib/users/identities-table.ts'
import { createSignInMethods } from '../lib/users/sign-in-methods.ts'
import { databases } from './support/databases.ts'
import { type Claims, type FaultyProvider, startFaultyProvider } from './support/faulty-provider.ts'
import { type MailServer, startMailServer } from './support/mail-server.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from './support/portal.ts'
import { textOf } from './support/rehearse.ts'
import { next, type Seen, Visitor } from './support/visitor.ts'

const page = '/account/security'
const firefox = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0'
let acme: FaultyProvider
let other: FaultyProvider
let post: MailServer
let portal: TestPortal

beforeAll(async () => {
  ;[acme, other, post] = await Promise.all([
    startFaultyProvider(),
    startFaultyProvider({ clientId: 'other' }),
    startMailServer(),
  ])
})
afterAll(async () => {
  await Promise.all([acme.close(), other.close(), post.close()])
})
beforeEach(async () => {
  acme.reset()
  other.reset()
  other.person = { sub: 'ada-elsewhere', email: 'ada@home.example', name: 'Ada at home' }
  post.reset()
  portal = await withPeople()
})
afterEach(() => portal.close())

async function withPeople(options: TestPortalOptions = {}): Promise<TestPortal> {
  const started = await startPortal({ mailer: post.transport, ...options })
  await started.connect(acme)
  await started.connect(other, { slug: 'other', displayName: 'Other' })
  for (const name of ['ada', 'grace'])
    await started.sso.users.create({ email: `${name}@example.com`, name, fields: {} }, 'default')
  return started
}

const now = () => Math.floor(Date.now() / 1000)

/** As somebody whose address acme vouches for. */
async function signIn(name = 'ada', claims: Claims = { auth_time: now() }, visitor = new Visitor()) {
  acme.person = { sub: name, email: `${name}@example.com`, email_verified: true, name }
  acme.faults.claims = claims
  await visitor.open(`${portal.url}/login/acme`)
  expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  return visitor
}

const see = (visitor: Visitor) => visitor.get(portal.url + page)
const act = (visitor: Visitor, name: string, form: Record<string, string> = {}) =>
  visitor.post(`${portal.url}${page}/${name}`, form)
const answerLink = (visitor: Visitor, answer: string) =>
  visitor.post(`${portal.url}/register/link`, { answer })

/** Up to the question whether the account is theirs. */
async function beginLink(visitor: Visitor, provider = 'other'): Promise<Seen> {
  return await visitor.open(next(await act(visitor, 'link', { provider }))!)
}

async function linkOther(visitor: Visitor): Promise<void> {
  await beginLink(visitor)
  expect((await answerLink(visitor, 'link')).location).toBe(`${portal.url}${page}?done=linked`)
}

const whoIs = async (visitor: Visitor) => {
  const seen = await visitor.get(`${portal.url}/portal`)
  return seen.status === 200 ? (JSON.parse(seen.body) as { user: { name: string } }).user.name : undefined
}
const linkedNow = (): Promise<string[]> => portal.knex('sso_identities').orderBy('subject').pluck('subject')
const idOfMethod = async (subject: string): Promise<string> => {
  const row: { id: string } = await portal.knex('sso_identities').where({ subject }).first()
  return row.id
}
const kinds = (): Promise<string[]> => portal.knex('sso_events').pluck('kind')
const causeOf = () => portal.logs.at(-1)!.fields.cause

/** Mails are sent after the answer. */
async function mailed(count: number) {
  // Of the portal of this test: one from before may be on its way still.
  const ours = () => post.mails.filter(({ text }) => text.includes(portal.url))
  for (let tries = 0; ours().length < count && tries < 200; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10))
  expect(ours()).toHaveLength(count)
  return ours().at(-1)!
}

describe('/account/security', () => {
  it('leads who is not signed in to the login, and back', async () => {
    const seen = await see(new Visitor())
    expect([seen.status, seen.location]).toEqual([302, `${portal.url}/login?returnTo=%2Faccount%2Fsecurity`])
    expect((await act(new Visitor(), 'unlink', { id: 'x' })).location).toBe(`${portal.url}/login`)
  })

  it('shows how the person signs in and where', async () => {
    const ada = await signIn('ada', { auth_time: now() }, new Visitor({ 'user-agent': firefox }))
    const text = textOf((await see(ada)).body)
    expect(text).toContain('Acme ada@example.com Connected:')
    expect(text).toContain('Firefox on Windows This one Acme · 127.0.0.0/24 Started:')
    const [time] = /<time datetime="([^"]+)">/.exec((await see(ada)).body)!.slice(1)
    expect(Date.now() - Date.parse(time!)).toBeLessThan(60_000)
  })

  it('speaks German, too, and is kept by nobody', async () => {
    const ada = await signIn()
    const seen = await ada.get(portal.url + page, { 'accept-language': 'de' })
    expect(textOf(seen.body)).toContain('Anmeldung und Sicherheit')
    expect(seen.headers.get('cache-control')).toContain('no-store')
  })

  it('shows nobody else’s methods and sessions', async () => {
    await signIn('grace')
    expect((await see(await signIn())).body).not.toContain('grace')
  })

  it('says of a provider that it is switched off, removed, or forgotten', async () => {
    const ada = await signIn()
    await linkOther(ada)
    await portal.sso.providers.disable('other')
    expect(textOf((await see(ada)).body)).toContain('Other Switched off at the moment')
    await portal.sso.providers.remove('other')
    expect(textOf((await see(ada)).body)).toContain('Other No longer available')
    await portal.knex('sso_providers').where({ slug: 'other' }).delete()
    expect(textOf((await see(ada)).body)).toContain(`${new URL(other.issuer).host} No longer available`)
  })

  it('says only what we say of an act, whatever stands in its address', async () => {
    const ada = await signIn()
    for (const done of ['call-0800-1234', 'constructor', '__proto__', '<script>'])
      expect((await ada.get(`${portal.url}${page}?done=${encodeURIComponent(done)}`)).body).not.toContain(
        'class="sso-notice',
      )
    expect((await ada.get(`${portal.url}${page}?done=linked`)).body).toContain('Connected. You can now')
  })

  it('leaves a host’s own pages beside it alone', async () => {
    portal.app.get('/account/orders', (_req, res) => void res.send('orders'))
    expect((await new Visitor().get(`${portal.url}/account/orders`)).body).toBe('orders')
  })
})

describe('sessions on /account/security', () => {
  const sessionsOf = async (name: string): Promise<string[]> => {
    const user = await portal.sso.users.findByEmail(`${name}@example.com`, 'default')
    return await portal.knex('sso_sessions').where({ user_id: user!.id }).orderBy('created_at').pluck('id')
  }

  it('end one by one: it is out at its next request', async () => {
    const [phone, desk] = [await signIn(), await signIn()]
    const [first] = await sessionsOf('ada')
    expect((await act(desk, 'end', { id: first! })).location).toBe(`${portal.url}${page}?done=ended`)
    expect([await whoIs(phone), await whoIs(desk)]).toEqual([undefined, 'ada'])
    expect(await kinds()).toContain('sessions-ended')
  })

  it('end all but this one', async () => {
    const others = [await signIn(), await signIn()]
    const desk = await signIn()
    await act(desk, 'end-others')
    expect(await Promise.all(others.map(whoIs))).toEqual([undefined, undefined])
    expect(await whoIs(desk)).toBe('ada')
    const [event] = await portal.knex('sso_events').where({ kind: 'sessions-ended' })
    expect(JSON.parse(event.detail)).toEqual({ sessions: 2 })
  })

  it('of somebody else cannot be ended, by whatever id', async () => {
    const grace = await signIn('grace')
    const ada = await signIn()
    const [theirs] = await sessionsOf('grace')
    for (const id of [theirs!, '', 'x']) await act(ada, 'end', { id })
    await act(ada, 'end-others')
    expect([await whoIs(grace), await whoIs(ada)]).toEqual(['grace', 'ada'])
    expect(await kinds()).not.toContain('sessions-ended')
  })
})

describe('linking another provider', () => {
  it('asks first, and then both come in as one user', async () => {
    const ada = await signIn()
    const asked = await beginLink(ada)
    expect(asked.url).toBe(`${portal.url}/register/link`)
    expect(textOf(asked.body)).toContain('Other answered with this account')
    expect(textOf(asked.body)).toContain('Ada at home')
    expect(await linkedNow()).toEqual(['ada'])
    await answerLink(ada, 'link')
    expect(await linkedNow()).toEqual(['ada', 'ada-elsewhere'])

    const elsewhere = new Visitor()
    await elsewhere.open(`${portal.url}/login/other`)
    expect(await whoIs(elsewhere)).toBe('ada')
    const user = await portal.sso.users.findByEmail('ada@example.com', 'default')
    expect(user).toMatchObject({ email: 'ada@example.com', name: 'ada' })
  })

  it('links nothing without a clear yes', async () => {
    const ada = await signIn()
    for (const answer of ['later', '', 'yes']) {
      await beginLink(ada)
      expect((await answerLink(ada, answer)).location).toBe(portal.url + page)
    }
    expect(await linkedNow()).toEqual(['ada'])
  })

  it('takes a second account of the same provider, which is asked for another one', async () => {
    const ada = await signIn()
    acme.person = { sub: 'ada-2', email: 'ada@example.com', email_verified: true, name: 'Ada 2' }
    await beginLink(ada, 'acme')
    await answerLink(ada, 'link')
    expect(await linkedNow()).toEqual(['ada', 'ada-2'])
    const asked = acme.requests.findLast(({ path }) => path.endsWith('/authorize'))
    expect(asked?.query.get('prompt')).toBe('login')
  })

  it('says so when it is linked already', async () => {
    const ada = await signIn()
    const seen = await beginLink(ada, 'acme')
    expect(seen.url).toBe(`${portal.url}${page}?done=already`)
    expect(await whoIs(ada)).toBe('ada')
  })

  it('refuses an account that is linked to somebody else, and does not say to whom', async () => {
    await linkOther(await signIn('grace'))
    const ada = await signIn()
    const seen = await beginLink(ada)
    expect([seen.status, causeOf()]).toEqual([
      409,
      expect.stringContaining('the identity is linked to another user'),
    ])
    expect(seen.body).not.toMatch(/grace/i)
    expect(seen.body).toContain(`href="${page}"`)
    expect(await whoIs(ada)).toBe('ada')
  })

  it('needs a sign-in of just now: who came in long ago, or without a word of when, confirms first', async () => {
    for (const claims of [{ auth_time: now() - 20 * 60 }, {}]) {
      const ada = await signIn('ada', claims)
      expect((await act(ada, 'link', { provider: 'other' })).location).toBe(
        `${portal.url}${page}?done=confirm`,
      )
      expect((await see(ada)).body).not.toContain(`${page}/link`)
      acme.faults.claims = { auth_time: now() }
      const back = await ada.open(`${portal.url}${page}/confirm`)
      expect(back.url).toBe(`${portal.url}${page}?done=confirmed`)
      expect(back.body).toContain(`action="${page}/link"`)
    }
  })

  it('is not begun, finished or agreed to by another site (CSRF)', async () => {
    const ada = await signIn()
    const crossSite = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
    for (const name of ['link', 'unlink', 'end', 'end-others'])
      expect((await ada.post(`${portal.url}${page}/${name}`, { provider: 'other' }, crossSite)).status).toBe(
        403,
      )
    expect(ada.cookieNames(portal.url).filter((name) => name.includes('attempt'))).toHaveLength(1)

    // The attacker's own answer, for an attempt of the attacker's browser.
    const grace = await signIn('grace')
    const start = next(await act(grace, 'link', { provider: 'other' }))!
    const answer = (await grace.get(start)).location!
    expect((await ada.open(answer)).url).toBe(`${portal.url}/`)
    await beginLink(ada)
    expect((await ada.post(`${portal.url}/register/link`, { answer: 'link' }, crossSite)).status).toBe(403)
    expect(await linkedNow()).toEqual(['ada', 'grace'])
  })

  it('is worth nothing to the next person in this browser', async () => {
    const visitor = await signIn()
    const start = next(await act(visitor, 'link', { provider: 'other' }))!
    const answer = (await visitor.get(start)).location!
    await visitor.post(`${portal.url}/logout`, { here: '1' })
    await signIn('grace', { auth_time: now() }, visitor)
    expect((await visitor.open(answer)).status).toBe(400)
    expect(causeOf()).toContain('the user who began to link is not signed in here')
    expect(await whoIs(visitor)).toBe('grace')
    expect(await linkedNow()).toEqual(['ada', 'grace'])
  })

  it('signs nobody in, and registers nobody, once its session is over', async () => {
    const visitor = await signIn()
    const start = next(await act(visitor, 'link', { provider: 'other' }))!
    const answer = (await visitor.get(start)).location!
    const late = visitor.clone()
    await visitor.open(answer)
    await portal.knex('sso_sessions').delete()
    expect((await late.open(answer)).status).toBe(400)

    expect((await visitor.get(`${portal.url}/register`)).status).toBe(400)
    for (const path of ['/register', '/register/code', '/register/verify'])
      expect((await visitor.post(portal.url + path, { email: 'ada@home.example' })).status).toBe(400)
    expect((await visitor.post(`${portal.url}/register/link`, { answer: 'link' })).status).not.toBe(200)
    expect(await linkedNow()).toEqual(['ada'])
    expect([await whoIs(visitor), await whoIs(late)]).toEqual([undefined, undefined])
    expect(await portal.knex('sso_proofs')).toEqual([])
  })

  it('is not offered to the next person who signs in, by the way of proving an address', async () => {
    const visitor = await signIn()
    await beginLink(visitor)
    await portal.knex('sso_sessions').delete()
    acme.person = { sub: 'grace', email: 'grace@example.com', email_verified: true, name: 'grace' }
    const seen = await visitor.open(`${portal.url}/login/acme?proving=1`)
    expect(seen.url).toBe(`${portal.url}/`)
    await answerLink(visitor, 'link')
    expect(await linkedNow()).toEqual(['ada', 'grace'])
  })

  it('never comes of an ordinary sign-in, whatever stands in its address', async () => {
    const ada = await signIn()
    const user = await portal.sso.users.findByEmail('ada@example.com', 'default')
    const seen = await ada.open(`${portal.url}/login/other?linking=${user!.id}&returnTo=${page}`)
    expect(seen.url).not.toBe(`${portal.url}/register/link`)
    expect(await linkedNow()).toEqual(['ada'])
  })

  it('is refused with a way back when the provider says no, or is not there', async () => {
    const ada = await signIn()
    other.faults.authorizeError = { error: 'access_denied' }
    const seen = await beginLink(ada)
    expect([seen.status, await whoIs(ada)]).toEqual([403, 'ada'])
    expect(seen.body).toContain(`href="${page}"`)
    expect(seen.body).not.toContain('/login/other')
    await portal.sso.providers.disable('other')
    for (const provider of ['other', 'nobody', ''])
      expect((await act(ada, 'link', { provider })).location).toBe(`${portal.url}${page}?done=unavailable`)
  })
})

describe('taking a sign-in method away', () => {
  it('ends the sessions of who came by it, and nobody comes in by it any more', async () => {
    const ada = await signIn()
    await linkOther(ada)
    const elsewhere = new Visitor()
    await elsewhere.open(`${portal.url}/login/other`)
    expect(await whoIs(elsewhere)).toBe('ada')

    const unlinked = await act(ada, 'unlink', { id: await idOfMethod('ada-elsewhere') })
    expect(unlinked.location).toBe(`${portal.url}${page}?done=unlinked`)
    expect([await whoIs(elsewhere), await whoIs(ada)]).toEqual([undefined, 'ada'])
    await elsewhere.open(`${portal.url}/login/other`)
    expect(await whoIs(elsewhere)).toBeUndefined()
    expect(await kinds()).toContain('unlinked')
  })

  it('keeps the last one that lets its user in: one of a provider that is switched off does not count', async () => {
    const ada = await signIn()
    const id = await idOfMethod('ada')
    expect((await see(ada)).body).not.toContain(`${page}/unlink`)
    expect((await act(ada, 'unlink', { id })).location).toBe(`${portal.url}${page}?done=last`)
    await linkOther(ada)
    await portal.sso.providers.disable('other')
    expect((await act(ada, 'unlink', { id })).location).toBe(`${portal.url}${page}?done=last`)
    await portal.sso.providers.remove('other')
    expect((await act(ada, 'unlink', { id })).location).toBe(`${portal.url}${page}?done=last`)
    // What lets nobody in may go.
    await act(ada, 'unlink', { id: await idOfMethod('ada-elsewhere') })
    expect(await linkedNow()).toEqual(['ada'])
  })

  it('needs a sign-in of just now: a thief of a session takes nothing away', async () => {
    const ada = await signIn()
    await linkOther(ada)
    const thief = await signIn('ada', { auth_time: now() - 20 * 60 })
    const stopped = await act(thief, 'unlink', { id: await idOfMethod('ada-elsewhere') })
    expect(stopped.location).toBe(`${portal.url}${page}?done=confirm`)
    expect(await linkedNow()).toEqual(['ada', 'ada-elsewhere'])
  })

  it('reaches nobody else’s, by whatever id', async () => {
    const grace = await signIn('grace')
    await linkOther(grace)
    const ada = await signIn()
    for (const id of [await idOfMethod('ada-elsewhere'), await idOfMethod('grace'), ''])
      await act(ada, 'unlink', { id })
    expect(await linkedNow()).toEqual(['ada', 'ada-elsewhere', 'grace'])
    expect(await whoIs(grace)).toBe('grace')
  })
})

describe.each(databases)('of two who take away the last two at once, on %s', (name, freshDatabase) => {
  it('one is told no, each time', async () => {
    const { config, drop } = await freshDatabase()
    const knex = knexModule(config)
    // Two on one SQLite file in one process would wait for each other: there it is one with one connection.
    const instances = [knex, name === 'SQLite' ? knex : knexModule(config)]
    try {
      await migrate(knex)
      await knex('sso_providers').insert(providerRow())
      const link = createIdentitiesTable(knex).link
      for (let round = 0; round < 10; round++) {
        const about = {
          portal: 'default',
          userId: `user-${round}`,
          providerId: 'acme',
          issuer: 'i',
          email: undefined,
        }
        await link({ ...about, subject: `${round}-1` })
        await link({ ...about, subject: `${round}-2` })
        const ids: string[] = await knex('sso_identities').where({ user_id: about.userId }).pluck('id')
        const gone = await Promise.allSettled(
          instances.map((each, at) => createSignInMethods(each).unlink('default', about.userId, ids[at]!)),
        )
        expect(
          gone.map((each) => (each.status === 'fulfilled' ? typeof each.value : each.reason)).sort(),
        ).toEqual(['object', 'string'])
        expect(await knex('sso_identities').where({ user_id: about.userId }).pluck('id')).toHaveLength(1)
      }
    } finally {
      await Promise.all([...new Set(instances)].map((each) => each.destroy()))
      await drop()
    }
  })
})

function providerRow() {
  const text = { portal: 'default', slug: 'acme', display_name: 'Acme', preset: 'generic', issuer: 'i' }
  return {
    ...text,
    id: 'acme',
    client_id: 'c',
    client_authentication: 'none',
    signing_algorithm: 'RS256',
    authorization_parameters: '{}',
    email_claim: 'email',
    email_domains: '[]',
    trusts_email: false,
    enabled: true,
    recommended: false,
    position: 0,
    version: 1,
    created_at: new Date().toISOString(),
    updated_at: new Date().toISOString(),
  }
}

describe('the mail about a sign-in method', () => {
  it('goes to the user’s own address when one is linked, and when one is taken away', async () => {
    const ada = await signIn('ada', { auth_time: now() }, new Visitor({ 'user-agent': firefox }))
    await mailed(1)
    await linkOther(ada)
    const linked = await mailed(2)
    expect(linked.recipients).toEqual(['ada@example.com'])
    expect(linked.text).toContain('An account at Other was connected with your user of Portal.')
    expect(linked.text).toContain('Firefox, Windows')
    expect(linked.text).toContain('127.0.0.0/24')
    expect(linked.text).toContain(portal.url + page)
    expect(linked.html).not.toMatch(/href=|src=/)
    await act(ada, 'unlink', { id: await idOfMethod('ada-elsewhere') })
    expect((await mailed(3)).text).toContain('An account at Other is no longer connected')
  })

  it('is sent when a vouched address was enough, in the reader’s language; not at the next sign-in', async () => {
    await signIn('ada', { auth_time: now() }, new Visitor({ 'accept-language': 'de' }))
    expect((await mailed(1)).headers).toContainEqual(['subject', 'Portal: ein neuer Anmeldeweg'])
    await signIn()
    await signIn('grace')
    expect((await mailed(2)).recipients).toEqual(['grace@example.com'])
  })

  it('says nothing that a stranger could write: no name, no address, no browser that nobody knows', async () => {
    const ada = await signIn(
      'ada',
      { auth_time: now() },
      new Visitor({ 'user-agent': 'win-at-evil.example/1.0 now' }),
    )
    await mailed(1)
    other.person = { sub: 'x', email: 'call@evil.example', name: 'Win at https://evil.example' }
    await linkOther(ada)
    const { text, html } = await mailed(2)
    expect(text + html).not.toContain('evil')
  })

  it('stops nothing when it cannot be sent, and keeps nobody waiting', async () => {
    post.faults.hang = true
    const ada = await signIn()
    await linkOther(ada)
    expect(await linkedNow()).toEqual(['ada', 'ada-elsewhere'])
    post.faults.hang = undefined as never
    post.faults.refuse = true
    await act(ada, 'unlink', { id: await idOfMethod('ada-elsewhere') })
    for (let tries = 0; !portal.logs.some(({ level }) => level === 'error') && tries < 200; tries++)
      await new Promise((resolve) => setTimeout(resolve, 10))
    expect(portal.logs.find(({ level }) => level === 'error')?.message).toMatch(/was not told by mail/)
    expect(JSON.stringify(portal.logs)).not.toContain('no longer connected')
  })
})
