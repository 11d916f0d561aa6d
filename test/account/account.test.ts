import assert from 'node:assert'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import type { FaultyProvider } from '../support/faulty-provider.ts'
import { holdPost } from '../support/held-post.ts'
import { type MailServer, startMailServer } from '../support/mail-server.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { copyProvider } from '../support/providers.ts'
import { useProvider } from '../support/scene.ts'
import { textOf } from '../support/test-sign-in.ts'
import { formIn, next, type Seen, Visitor } from '../support/visitor.ts'

const firefox = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0'
const page = '/account/security'
const provider = await useProvider()
const other = await useProvider({ clientId: 'other' })
let mailServer: MailServer
const open = closedAfterEach()

beforeAll(async () => {
  mailServer = await startMailServer()
})
afterAll(() => mailServer.close())
beforeEach(() => {
  mailServer.reset()
  for (const each of [provider, other]) each.faults.claims = { auth_time: Math.floor(Date.now() / 1000) }
})

async function portalWithPeople(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortal({
    mailer: mailServer.transport,
    mailFrom: 'Portal <no-reply@portal.example>',
    ...options,
  })
  open.push(portal)
  await portal.connect(provider)
  await portal.connect(other, { slug: 'other', displayName: 'Other' })
  for (const name of ['ada', 'grace'])
    await portal.sso.users.create({ email: `${name}@example.com`, name, fields: {} })
  return portal
}

/** Sets the user whom a provider signs in next. */
function setPerson(at: FaultyProvider, name: string, subject = name): void {
  at.person = { sub: subject, email: `${name}@example.com`, email_verified: true }
}

async function signIn(portal: TestPortal, visitor = new Visitor(), slug = 'acme'): Promise<Visitor> {
  await visitor.open(`${portal.url}/login/${slug}`)
  expect(await isIn(portal, visitor)).toBe(true)
  return visitor
}

const isIn = async (portal: TestPortal, visitor: Visitor) =>
  (await visitor.get(`${portal.url}/portal`)).status === 200
const signedInAs = async (portal: TestPortal, visitor: Visitor) =>
  (JSON.parse((await visitor.get(`${portal.url}/portal`)).body) as { user: { email: string } }).user.email

const account = (portal: TestPortal, visitor: Visitor) => visitor.get(portal.url + page)
const act = (portal: TestPortal, visitor: Visitor, what: string, fields: Record<string, string> = {}) =>
  visitor.post(`${portal.url}${page}/${what}`, fields)
const noticeOf = ({ location }: Seen) => new URL(location!).searchParams.get('notice')

/** The values of the hidden fields of this name on the account page. */
async function valuesOf(portal: TestPortal, visitor: Visitor, name: 'method' | 'session'): Promise<string[]> {
  const { body } = await account(portal, visitor)
  return [...body.matchAll(new RegExp(`name="${name}" value="([^"]*)"`, 'g'))].map(([, value = '']) => value)
}

/** Starts to add a method, up to the confirmation page. */
async function beginLink(portal: TestPortal, visitor: Visitor, slug = 'other'): Promise<Seen> {
  return await visitor.follow(await act(portal, visitor, 'link', { provider: slug }))
}

async function link(portal: TestPortal, visitor: Visitor, slug = 'other'): Promise<Seen> {
  const asked = await beginLink(portal, visitor, slug)
  expect(asked.url).toBe(`${portal.url}/register/link`)
  return await visitor.follow(await visitor.post(`${portal.url}/register/link`, { answer: 'link' }))
}

const linkedTo = async (portal: TestPortal) =>
  (await portal
    .knex('sso_identities')
    .join('sso_users', 'sso_users.id', 'sso_identities.user_id')
    .select('issuer', 'subject', 'sso_users.email')) as {
    issuer: string
    subject: string
    email: string
  }[]

describe('the account page', () => {
  it('requires a signed-in user, and leads others to the picker and back', async () => {
    const portal = await portalWithPeople()
    const visitor = new Visitor()
    const redirected = await account(portal, visitor)
    expect([redirected.status, redirected.location]).toEqual([
      302,
      `${portal.url}/login?returnTo=%2Faccount%2Fsecurity`,
    ])
    for (const what of ['link', 'unlink', 'end', 'end-others'])
      expect((await act(portal, visitor, what)).location).toBe(`${portal.url}/login`)
  })

  it('shows the sign-in methods, and the sessions with this one marked', async () => {
    const portal = await portalWithPeople({ session: { userCacheSeconds: 0, location: () => 'Antwerp' } })
    const before = await signIn(portal, new Visitor({ 'user-agent': firefox }))
    const visitor = await signIn(portal)
    const seen = await account(portal, visitor)
    expect(seen.headers.get('cache-control')).toBe('no-store')
    const text = textOf(seen.body)
    const time = String.raw`\w+ \d+, \d{4}, [\d:]+.[AP]M UTC`
    expect(text).toMatch(new RegExp(`Acme ada@example.com Last used ${time} · Connected ${time} `))
    expect(text).toMatch(/Unknown device This session Active now · Antwerp Signed in .* · with Acme/)
    expect(text).toMatch(
      new RegExp(`Firefox on Windows Last active ${time} · Antwerp Signed in ${time} · with Acme`),
    )
    expect(text.indexOf('Where you are signed in')).toBeLessThan(text.indexOf('Sign-in methods'))
    // The list of providers has a page of its own.
    expect(text).not.toContain('Other')
    // The current session is first, although it started earlier.
    expect(textOf((await account(portal, before)).body)).toMatch(
      /Firefox on Windows This session.*Unknown device/,
    )
    const [session] = await portal.knex('sso_sessions')
    // The page contains no session ID, sealed or not.
    expect(seen.body).not.toContain(session.session)
  })

  it('shows no client address, which the rows hold without the option `session.location`', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    expect(await portal.knex('sso_sessions').pluck('location')).toEqual(['127.0.0.0/24'])
    const own = textOf((await account(portal, visitor)).body)
    expect(own).toMatch(/Active now Signed in/)
    for (const location of ['203.0.113.7', '2001:db8::/48', '::1']) {
      await portal.knex('sso_sessions').update({ location })
      expect((await account(portal, visitor)).body).not.toContain(location)
    }
    await portal.knex('sso_sessions').update({ location: 'Cafe: Bad Abbach' })
    expect((await account(portal, visitor)).body).toContain('Cafe: Bad Abbach')
  })

  it('leads to a list of the providers to add, those that the user has linked last, with a search above eight', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    const list = async (query = '') => {
      const { body } = await visitor.get(`${portal.url}${page}/add${query}`)
      return {
        body,
        labels: [...body.matchAll(/<button[^>]* aria-label="([^"]*)"/g)].map(([, label]) => label),
      }
    }
    expect((await account(portal, visitor)).body).toContain(`href="${page}/add">Add sign-in method</a>`)
    const few = await list()
    expect(few.labels).toEqual(['Add Other', 'Add another account at Acme'])
    expect(few.body).not.toContain('type="search"')
    await copyProvider(portal.knex, 'other', 60)
    const many = await list()
    expect(many.labels).toHaveLength(50)
    expect(textOf(many.body)).toContain('Not all sign-in methods are shown.')
    expect((await list('?q=company+59')).labels).toEqual(['Add Company 59'])
    expect(textOf((await list('?q=nobody')).body)).toContain('Nothing found.')
    expect((await new Visitor().get(`${portal.url}${page}/add`)).location).toContain('/login?returnTo=')
  })

  it('is in the user’s language', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal, new Visitor({ 'accept-language': 'de' }))
    expect((await account(portal, visitor)).body).toContain('Wo Sie angemeldet sind')
  })

  it('shows only known notices from the query', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    expect((await visitor.get(`${portal.url}${page}?notice=ended`)).body).toContain(
      'Signed out on that device.',
    )
    for (const notice of ['constructor', '<b>', '', 'ended&notice=ended'])
      expect((await visitor.get(`${portal.url}${page}?notice=${notice}`)).body).not.toContain('role="status"')
  })

  it('refuses posts from another site (CSRF)', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    const second = await signIn(portal)
    for (const what of ['link', 'unlink', 'end', 'end-others']) {
      const fields = { provider: 'other' }
      const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
      expect((await visitor.post(`${portal.url}${page}/${what}`, fields, headers)).status).toBe(403)
    }
    expect(await isIn(portal, second)).toBe(true)
  })
})

describe('a failing location function of the host', () => {
  it.each<[what: string, location: () => unknown, shown: unknown]>([
    ['throws', () => assert.fail('no city here'), null],
    ['rejects', async () => assert.fail('no city here'), null],
    ['returns undefined', () => undefined, null],
    ['returns an object', () => ({ city: 'Antwerp' }), null],
    ['returns a long text', () => 'a\n'.repeat(500), expect.stringMatching(/^.{100}$/)],
  ])('does not prevent a sign-in if it %s', async (_what, location, shown) => {
    const portal = await portalWithPeople({
      session: { userCacheSeconds: 0, location: location as () => string },
    })
    await signIn(portal)
    expect(await portal.knex('sso_sessions').pluck('location')).toEqual([shown])
  })
})

describe('on the account page, sessions of the user', () => {
  it('can be ended one by one', async () => {
    const portal = await portalWithPeople()
    const other = await signIn(portal)
    const third = await signIn(portal)
    const visitor = await signIn(portal)
    const [, oldest = ''] = await valuesOf(portal, visitor, 'session')
    const ended = await act(portal, visitor, 'end', { session: oldest })
    expect([ended.status, noticeOf(ended)]).toEqual([303, 'ended'])
    expect(await Promise.all([other, third, visitor].map((each) => isIn(portal, each)))).toEqual([
      false,
      true,
      true,
    ])
    const [event] = await portal.knex('sso_events').where({ kind: 'sessions-ended' })
    expect([event.user_id, event.actor, event.detail]).toEqual([
      event.user_id,
      event.user_id,
      '{"sessions":1}',
    ])
  })

  it('can all be ended, except the current one', async () => {
    const portal = await portalWithPeople()
    const others = [await signIn(portal), await signIn(portal)]
    const visitor = await signIn(portal)
    await act(portal, visitor, 'end-others')
    for (const each of others) expect(await isIn(portal, each)).toBe(false)
    expect(await isIn(portal, visitor)).toBe(true)
    expect(await valuesOf(portal, visitor, 'session')).toEqual([])
  })

  it('cannot be ended if they belong to another user or portal', async () => {
    const portal = await portalWithPeople({ portal: (req) => req.get('x-portal') ?? 'default' })
    await portal.connect(provider, { portal: 'south' })
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} }, { portal: 'south' })
    const south = new Visitor({ 'x-portal': 'south' })
    await signIn(portal, south)
    setPerson(provider, 'grace')
    const grace = await signIn(portal)
    setPerson(provider, 'ada')
    const ada = await signIn(portal)
    for (const { id } of await portal.knex('sso_sessions').whereNot({
      user_id: (await portal.knex('sso_users').where({ email: 'ada@example.com', portal: 'default' }).first())
        .id,
    }))
      await act(portal, ada, 'end', { session: id })
    for (const session of ['', '%', 'a'.repeat(500), '\0'])
      expect((await act(portal, ada, 'end', { session })).status).toBe(303)
    await act(portal, ada, 'end-others')
    for (const each of [grace, south, ada]) expect(await isIn(portal, each)).toBe(true)
  })
})

describe('another sign-in method', () => {
  it('is added after a sign-in with it and a confirmation; both methods sign in the same user, who is notified by mail', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal, new Visitor({ 'user-agent': firefox }))
    setPerson(other, 'lovelace', 'countess')
    const asked = await beginLink(portal, visitor)
    expect(textOf(asked.body)).toContain('lovelace@example.com')
    expect(textOf(asked.body)).toContain('You have just signed in with this account')
    expect(await linkedTo(portal)).toHaveLength(1)
    const done = await visitor.follow(await visitor.post(`${portal.url}/register/link`, { answer: 'link' }))
    expect(done.url).toBe(`${portal.url}${page}?notice=linked`)
    expect(await linkedTo(portal)).toEqual(
      expect.arrayContaining([{ issuer: other.issuer, subject: 'countess', email: 'ada@example.com' }]),
    )
    expect(await signedInAs(portal, await signIn(portal, new Visitor(), 'other'))).toBe('ada@example.com')
    expect(await portal.knex('sso_events').where({ kind: 'linked' }).pluck('provider')).toEqual([
      'acme',
      'other',
    ])
    const { recipients, text, html } = await mailed(portal, 'with Other.')
    expect(recipients).toEqual(['ada@example.com'])
    for (const part of [text, html]) {
      expect(part).toContain('You can now sign in to Portal with Other.')
      expect(part).toContain('Firefox on Windows')
      expect(part).toContain(portal.url + page)
      expect(part).not.toContain('lovelace')
    }
  })

  it('makes the provider ask for the account, because it may know another user', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    const there = new URL(next(await act(portal, visitor, 'link', { provider: 'other' }))!)
    expect(there.origin).toBe(new URL(other.issuer).origin)
    expect(there.searchParams.get('prompt')).toBe('login')
  })

  it('is added once, with one mail, if the user confirms it twice', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    setPerson(other, 'lovelace', 'countess')
    await beginLink(portal, visitor)
    const confirm = (browser: Visitor) => browser.post(`${portal.url}/register/link`, { answer: 'link' })
    const answers = await Promise.all([visitor, visitor.clone()].map(confirm))
    expect(answers.map(noticeOf)).toEqual(['linked', 'linked'])
    expect(await linkedTo(portal)).toHaveLength(2)
    expect(await portal.knex('sso_events').where({ kind: 'linked', provider: 'other' })).toHaveLength(1)
    await mailed(portal, 'with Other.')
    await pause()
    expect(mailsOf(portal).filter(({ text }) => text.includes('with Other.'))).toHaveLength(1)
  })

  it('is the one on the confirmed page, even if another tab has replaced the pending one', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    setPerson(other, 'lovelace', 'countess')
    const first = await beginLink(portal, visitor)
    setPerson(other, 'colleague', 'colleague')
    const second = await beginLink(portal, visitor)
    const confirm = ({ body }: Seen) =>
      visitor.post(`${portal.url}/register/link`, [...formIn(body).fields, ['answer', 'link']])
    const asked = await visitor.follow(await confirm(first))
    expect(textOf(asked.body)).toContain('colleague@example.com')
    expect(await linkedTo(portal)).toHaveLength(1)
    expect(noticeOf(await confirm(second))).toBe('linked')
    expect((await linkedTo(portal)).map(({ subject }) => subject).sort()).toEqual(['ada', 'colleague'])
  })

  it('is not added if the user declines', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    setPerson(other, 'grace', 'colleague')
    await beginLink(portal, visitor)
    const no = await visitor.follow(await visitor.post(`${portal.url}/register/link`, { answer: 'later' }))
    expect(no.url).toBe(portal.url + page)
    expect(await linkedTo(portal)).toHaveLength(1)
    // A later confirmation does not add it either.
    await visitor.post(`${portal.url}/register/link`, { answer: 'link' })
    expect(await linkedTo(portal)).toHaveLength(1)
  })

  it('may have an unverified address, because the user has signed in with both methods', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    other.person = { sub: 'countess', email: 'grace@example.com', email_verified: false }
    await link(portal, visitor)
    expect(await signedInAs(portal, await signIn(portal, new Visitor(), 'other'))).toBe('ada@example.com')
  })

  it('is refused if it is linked to another user, without revealing to whom', async () => {
    const portal = await portalWithPeople()
    setPerson(other, 'grace')
    await signIn(portal, new Visitor(), 'other')
    const visitor = await signIn(portal)
    const refused = await beginLink(portal, visitor)
    expect(refused.status).toBe(409)
    expect(refused.body).toContain('belongs to another user here')
    expect(refused.body).not.toContain('grace')
    expect(await signedInAs(portal, visitor)).toBe('ada@example.com')
  })

  it('is not added if the user already has it', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    const seen = await beginLink(portal, visitor, 'acme')
    expect(seen.body).toContain('You can already sign in with this account.')
    expect(await linkedTo(portal)).toHaveLength(1)
  })

  it('is added only after a recent authentication, so that a stolen session cannot add one', async () => {
    const portal = await portalWithPeople()
    provider.faults.claims = { auth_time: Math.floor(Date.now() / 1000) - 3600 }
    const visitor = await signIn(portal)
    const sent = await act(portal, visitor, 'link', { provider: 'other' })
    expect(next(sent)).toContain(
      '/login/acme?returnTo=%2Faccount%2Fsecurity%2Fadd%3Fnotice%3Dconfirmed&max_age=900',
    )
    provider.faults.claims = { auth_time: Math.floor(Date.now() / 1000) }
    const back = await visitor.follow(sent)
    expect(back.body).toContain('Please repeat what you wanted to do.')
    setPerson(other, 'lovelace')
    await link(portal, visitor)
    expect(await linkedTo(portal)).toHaveLength(2)
  })

  it('can be added only by the user who started it', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    const there = next(await act(portal, visitor, 'link', { provider: 'other' }))!
    const answer = (await visitor.get(there)).location!
    // Grace signs in in the browser, which still has the attempt.
    setPerson(provider, 'grace')
    await signIn(portal, visitor)
    expect((await visitor.get(answer)).status).toBe(400)
    // Nobody is signed in.
    setPerson(provider, 'ada')
    await signIn(portal, visitor)
    const again = (await visitor.get(next(await act(portal, visitor, 'link', { provider: 'other' }))!))
      .location!
    await visitor.post(`${portal.url}/logout`)
    expect((await visitor.get(again)).status).toBe(400)
    expect(await isIn(portal, visitor)).toBe(false)
    expect((await linkedTo(portal)).filter(({ issuer }) => issuer === other.issuer)).toEqual([])
  })

  it('can register and sign in nobody after its session has ended', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    setPerson(other, 'somebody-new')
    await beginLink(portal, visitor)
    await portal.knex('sso_sessions').delete()
    const to = (path: string) => visitor.post(portal.url + path, { name: 'Eve', answer: 'link' })
    expect((await visitor.get(`${portal.url}/register`)).status).toBe(400)
    for (const path of ['/register', '/register/code', '/register/verify'])
      expect((await to(path)).status).toBe(400)
    expect((await to('/register/link')).location).toBe(portal.url + page)
    expect((await linkedTo(portal)).map(({ email }) => email)).toEqual(['ada@example.com'])
    expect(await isIn(portal, visitor)).toBe(false)
  })

  it('is not offered to the next user of the browser', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    setPerson(other, 'somebody-new')
    await beginLink(portal, visitor)
    await portal.knex('sso_sessions').delete()
    setPerson(provider, 'grace')
    expect((await visitor.open(`${portal.url}/login/acme?proving=1`)).url).toBe(`${portal.url}/`)
    await visitor.post(`${portal.url}/register/link`, { answer: 'link' })
    expect((await linkedTo(portal)).filter(({ issuer }) => issuer === other.issuer)).toEqual([])
  })

  it('leads back to the account page if it is refused: “try again” would sign in as another user', async () => {
    const portal = await portalWithPeople()
    setPerson(other, 'grace')
    await signIn(portal, new Visitor(), 'other')
    const seen = await beginLink(portal, await signIn(portal))
    expect(seen.status).toBe(409)
    expect(seen.body).not.toMatch(/href="\/login(?!\/assets)/)
    expect(seen.body).toContain(`href="${page}"`)
  })

  it('leads back to the account page if its provider was disabled before the confirmation', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    setPerson(other, 'lovelace')
    await beginLink(portal, visitor)
    await portal.sso.providers.disable('other')
    for (const seen of [
      await visitor.get(`${portal.url}/register/link`),
      await visitor.post(`${portal.url}/register/link`, { answer: 'link' }),
    ]) {
      expect(seen.status).toBe(409)
      expect(seen.body).not.toMatch(/href="\/login(?!\/assets)/)
      expect(seen.body).toContain(`href="${page}"`)
    }
  })

  it('is never added by an ordinary sign-in, and never signs in another user', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    setPerson(other, 'grace')
    // A sign-in of a signed-in user starts a new session.
    await visitor.open(`${portal.url}/login/other?linking=1`)
    expect(await signedInAs(portal, visitor)).toBe('grace@example.com')
    // Adding a method signs nobody else in.
    setPerson(other, 'somebody-new')
    await beginLink(portal, visitor)
    expect(await signedInAs(portal, visitor)).toBe('grace@example.com')
  })

  it.each(['', 'nowhere', 'acme\0', '../admin'])(
    'cannot be added with the unknown provider %j',
    async (slug) => {
      const portal = await portalWithPeople()
      const visitor = await signIn(portal)
      expect((await act(portal, visitor, 'link', { provider: slug })).status).toBe(404)
    },
  )

  it('cannot be added with a disabled provider', async () => {
    const portal = await portalWithPeople()
    await portal.sso.providers.disable('other')
    const visitor = await signIn(portal)
    expect((await act(portal, visitor, 'link', { provider: 'other' })).status).toBe(404)
    expect((await account(portal, visitor)).body).not.toContain('Add Other')
  })
})

describe('a removed sign-in method', () => {
  const userWithTwoMethods = async (options: TestPortalOptions = {}) => {
    const portal = await portalWithPeople(options)
    const visitor = await signIn(portal)
    setPerson(other, 'lovelace')
    await link(portal, visitor)
    return { portal, visitor }
  }
  const methodId = async (portal: TestPortal, at: FaultyProvider): Promise<string> =>
    (await portal.knex('sso_identities').where({ issuer: at.issuer }).first('id'))!.id

  it('can no longer sign in the user, ends their other sessions, and causes a mail', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    const elsewhere = await signIn(portal, new Visitor(), 'other')
    const removed = await act(portal, visitor, 'unlink', { method: await methodId(portal, other) })
    expect([removed.status, noticeOf(removed)]).toEqual([303, 'unlinked'])
    expect(await isIn(portal, elsewhere)).toBe(false)
    expect(await isIn(portal, visitor)).toBe(true)
    const there = await new Visitor().open(`${portal.url}/login/other`)
    expect([there.status, there.body]).toEqual([
      403,
      expect.stringContaining('This sign-in method was removed'),
    ])
    expect(await portal.knex('sso_events').where({ kind: 'unlinked' }).pluck('provider')).toEqual(['other'])
    expect(await mailed(portal, 'An account at Other can no longer be used')).toBeDefined()
  })

  it('may be the one that started this session, which stays valid', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    expect(noticeOf(await act(portal, visitor, 'unlink', { method: await methodId(portal, provider) }))).toBe(
      'unlinked',
    )
    expect(await isIn(portal, visitor)).toBe(true)
  })

  it('that started this session is not used for a re-authentication, which would add it again', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    const [acme, elsewhere] = [await methodId(portal, provider), await methodId(portal, other)]
    await act(portal, visitor, 'unlink', { method: acme })
    const clock = takeClock()
    try {
      clock.pass(20 * 60_000)
      const sent = await act(portal, visitor, 'unlink', { method: elsewhere })
      expect(sent.location).toContain(`${portal.url}/login?returnTo=`)
    } finally {
      clock.back()
    }
  })

  it('is never the last one', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    await act(portal, visitor, 'unlink', { method: await methodId(portal, other) })
    expect(await valuesOf(portal, visitor, 'method')).toEqual([])
    const kept = await act(portal, visitor, 'unlink', { method: await methodId(portal, provider) })
    expect(noticeOf(kept)).toBe('last')
    expect((await visitor.follow(kept)).body).toContain('This is your only sign-in method.')
    expect(await linkedTo(portal)).toHaveLength(1)
  })

  it.each<[what: string, change: (portal: TestPortal) => Promise<unknown>]>([
    ['disabled', ({ sso }) => sso.providers.disable('other')],
    ['removed', ({ sso }) => sso.providers.remove('other')],
    [
      'led to another issuer',
      ({ knex }) => knex('sso_providers').where({ slug: 'other' }).update({ issuer: 'https://id.example' }),
    ],
  ])('is not the last one that works, where the other’s provider is %s', async (_what, change) => {
    const { portal, visitor } = await userWithTwoMethods()
    await change(portal)
    expect(textOf((await account(portal, visitor)).body)).toContain('Currently unavailable')
    expect(noticeOf(await act(portal, visitor, 'unlink', { method: await methodId(portal, provider) }))).toBe(
      'last',
    )
    // The unusable method can be removed.
    expect(noticeOf(await act(portal, visitor, 'unlink', { method: await methodId(portal, other) }))).toBe(
      'unlinked',
    )
  })

  it('is not the last one that keeps working, if the other’s provider retires', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    await portal.sso.providers.retire('other', new Date(Date.now() + 86_400_000))
    const [way, retiring] = [await methodId(portal, provider), await methodId(portal, other)]
    expect(await valuesOf(portal, visitor, 'method')).toEqual([retiring])
    expect(noticeOf(await act(portal, visitor, 'unlink', { method: way }))).toBe('last')
    expect(noticeOf(await act(portal, visitor, 'unlink', { method: retiring }))).toBe('unlinked')
  })

  it('is not the last one that works, if the other came from a replaced registration with other subjects', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    await portal.sso.providers.remove('other')
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    const way = { method: await methodId(portal, provider) }
    expect(noticeOf(await act(portal, visitor, 'unlink', way))).toBe('last')
    // A sign-in with the other method proves that it works.
    await signIn(portal, new Visitor(), 'other')
    expect(noticeOf(await act(portal, visitor, 'unlink', way))).toBe('unlinked')
  })

  it('is not the last one that works, if the other is the same account with an older subject', async () => {
    const portal = await portalWithPeople()
    const visitor = await signIn(portal)
    // The provider has changed the subject, and Ada has linked it, too.
    const row = await portal.knex('sso_identities').first()
    await portal.knex('sso_identities').insert({ ...row, id: randomUUID(), subject: 'ada-new' })
    setPerson(provider, 'ada', 'ada-new')
    await signIn(portal, new Visitor())
    const ways = await portal.knex('sso_identities').orderBy('subject').pluck('id')
    expect(ways).toHaveLength(2)
    const [older, newer] = ways as [string, string]
    expect(await valuesOf(portal, visitor, 'method')).toEqual([older])
    expect(noticeOf(await act(portal, visitor, 'unlink', { method: newer }))).toBe('last')
    expect(noticeOf(await act(portal, visitor, 'unlink', { method: older }))).toBe('unlinked')
  })

  it('can be removed only by its user, and only once', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    setPerson(provider, 'grace')
    const grace = await signIn(portal)
    const method = await methodId(portal, other)
    expect(noticeOf(await act(portal, grace, 'unlink', { method }))).toBe('gone')
    expect(noticeOf(await act(portal, visitor, 'unlink', { method }))).toBe('unlinked')
    for (const again of [method, '', 'a'.repeat(500)])
      expect(noticeOf(await act(portal, visitor, 'unlink', { method: again }))).toBe('gone')
  })

  it('requires a recent authentication', async () => {
    const { portal, visitor } = await userWithTwoMethods()
    provider.faults.claims = { auth_time: Math.floor(Date.now() / 1000) - 3600 }
    await signIn(portal, visitor)
    const sent = await act(portal, visitor, 'unlink', { method: await methodId(portal, other) })
    expect(next(sent)).toContain('/login/acme?')
    expect(await linkedTo(portal)).toHaveLength(2)
  })

  describe.each(everyDatabase)('on %s', (_name, fresh) => {
    let database: FreshDatabase
    beforeEach(async () => {
      database = await fresh()
      open.push({ close: () => database.drop() })
    })

    it('is not found by an ID that the database cannot store; neither is a session', async () => {
      const knex = knexModule(database.config)
      open.push({ close: () => knex.destroy() })
      const { portal, visitor } = await userWithTwoMethods({ database: knex })
      for (const text of ['\0', '\ud800', '%00', "'"])
        for (const [what, name] of [
          ['unlink', 'method'],
          ['end', 'session'],
        ] as const)
          expect((await act(portal, visitor, what, { [name]: text })).status).toBe(303)
    })

    it('is never the last one, even if two browsers remove both methods at the same time', async () => {
      const knex = knexModule(database.config)
      open.push({ close: () => knex.destroy() })
      const { portal, visitor } = await userWithTwoMethods({ database: knex })
      const second = await signIn(portal)
      const methods = [await methodId(portal, provider), await methodId(portal, other)]
      const responses = await Promise.all([
        act(portal, visitor, 'unlink', { method: methods[0]! }),
        act(portal, second, 'unlink', { method: methods[1]! }),
      ])
      const left = await knex('sso_identities').select('id')
      expect(left).toHaveLength(1)
      // The other browser may already be signed out.
      expect(responses.filter(({ location }) => location?.endsWith('notice=unlinked'))).toHaveLength(1)
    })
  })
})

describe('a request that a thief holds open until the owner has ended the stolen session', () => {
  it('removes no sign-in method, and adds none', async () => {
    const portal = await portalWithPeople()
    const owner = await signIn(portal)
    setPerson(other, 'lovelace')
    const thief = await signIn(portal)
    await beginLink(portal, thief)
    const sendLink = await holdPost(portal, thief, '/register/link', 'answer=link')
    await act(portal, owner, 'end-others')
    // The thief is no longer signed in.
    expect((await sendLink()).headers.location).toBe(page)
    expect(await linkedTo(portal)).toHaveLength(1)

    await link(portal, owner)
    const second = await signIn(portal)
    const way = await portal.knex('sso_identities').where({ issuer: other.issuer }).first('id')
    const sendUnlink = await holdPost(portal, second, `${page}/unlink`, `method=${way!.id}`)
    await act(portal, owner, 'end-others')
    expect((await sendUnlink()).headers.location).toMatch(/^\/login/)
    expect(await linkedTo(portal)).toHaveLength(2)
  })
})

describe('the mail about a new sign-in method', () => {
  it('is logged if it cannot be sent, and does not prevent the sign-in', async () => {
    mailServer.faults.refuse = true
    const portal = await portalWithPeople()
    await signIn(portal)
    const isLogged = () =>
      portal.logs.some(({ message }) => message === 'no mail was sent about a changed sign-in method')
    while (!isLogged()) await pause()
  })

  it('does not delay the sign-in', async () => {
    mailServer.faults.hang = true
    const portal = await portalWithPeople()
    await signIn(portal)
  })

  it('is not sent for a registration or an ordinary sign-in', async () => {
    const portal = await portalWithPeople()
    await signIn(portal)
    await mailed(portal, 'with Acme.')
    await signIn(portal)
    setPerson(provider, 'katherine')
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    await visitor.post(`${portal.url}/register`, { name: 'Katherine' })
    expect(await isIn(portal, visitor)).toBe(true)
    await pause()
    expect(mailsOf(portal)).toHaveLength(1)
  })

  it('contains no text of the user agent, except names of known browsers', async () => {
    const portal = await portalWithPeople()
    await signIn(portal, new Visitor({ 'user-agent': 'win-at-evil.example/1.0 now' }))
    const { text, html } = await mailed(portal, 'with Acme.')
    expect(text + html).not.toContain('evil')
  })

  it('has a button, the address as text, and no client address', async () => {
    const portal = await portalWithPeople()
    await signIn(portal, new Visitor({ 'user-agent': firefox }))
    const { text, html } = await mailed(portal, 'with Acme.')
    const address = `${portal.url}${page}`
    expect(html).toContain(`<a href="${address}"`)
    expect(textOf(html)).toContain(
      `Review your account If the button does not work, open this address: ${address}`,
    )
    expect(text).toMatch(new RegExp(`review your account:\\s+${address}\\s`))
    expect(text).toMatch(/^From: Firefox on Windows\r?$/m)
    expect(text + html).not.toContain('/24')
  })

  it.each([
    ['https://cdn.example/logo.png', true],
    ['http://cdn.example/logo.png', false],
    ['/logo.png', false],
    [undefined, false],
  ])('shows the logo %s: %s; otherwise the name of the portal', async (logo, isShown) => {
    const portal = await portalWithPeople({ branding: { name: 'Equipment', ...(logo && { logo }) } })
    await signIn(portal)
    const { html } = await mailed(portal, 'with Acme.')
    expect(html.includes('<img')).toBe(isShown)
    expect(html).toContain(isShown ? `<img src="${logo}" alt="Equipment"` : '<bdi>Equipment</bdi>')
  })

  it('is not sent without a mailer', async () => {
    const portal = await portalWithPeople({ mailer: undefined, mailFrom: undefined })
    await signIn(portal)
    await pause()
    expect(mailsOf(portal)).toEqual([])
  })
})

const pause = () => new Promise((resolve) => setTimeout(resolve, 20))

/** Ignores late mails of earlier tests. */
const mailsOf = (portal: TestPortal) => mailServer.mails.filter(({ text }) => text.includes(portal.url))

async function mailed(portal: TestPortal, sentence: string) {
  const found = () => mailsOf(portal).find(({ text }) => text.includes(sentence))
  while (!found()) await pause()
  return found()!
}
