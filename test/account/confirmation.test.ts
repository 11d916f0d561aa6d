import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { type MailServer, startMailServer } from '../support/mail-server.ts'
import { mountDefault, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { textOf } from '../support/test-sign-in.ts'
import { formIn, next, type Seen, Visitor } from '../support/visitor.ts'

const page = '/account/security'
const confirmation = `${page}/confirm`
const provider = await useProvider()
const other = await useProvider({ clientId: 'other' })
const open = closedAfterEach()
let mailServer: MailServer
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  mailServer = await startMailServer()
})
afterAll(() => mailServer.close())
beforeEach(() => {
  mailServer.reset()
  visitor = new Visitor()
})

/** Ada signs in with a provider whose test sign-in found this. The other one has always been able to prove it. */
async function start(
  reauthentication: 'proven' | 'ignored' | 'unreported' | null = 'unreported',
  options: TestPortalOptions = {},
): Promise<void> {
  portal = await startPortalWithAda(provider, {
    mailer: mailServer.transport,
    mailFrom: 'Portal <no-reply@portal.example>',
    mount(app, sso) {
      app.use(sso.session())
      app.use('/recent', sso.guard({ maxAge: '15m' }), (_req, res) => void res.send('in'))
      mountDefault(app, sso)
    },
    ...options,
  })
  open.push(portal)
  await portal.connect(other, { slug: 'other', displayName: 'Other' })
  await portal.knex('sso_providers').where({ slug: 'acme' }).update({ reauthentication })
  await visitor.open(`${portal.url}/login/acme`)
}

/** Links the account at the other provider, whose address is Ada's. */
async function linkOther(): Promise<void> {
  await new Visitor().open(`${portal.url}/login/other`)
  expect(await portal.knex('sso_identities')).toHaveLength(2)
}

const post = (path: string, fields: Record<string, string> = {}, who = visitor) =>
  who.post(portal.url + path, fields)
const link = (who = visitor) => post(`${page}/link`, { provider: 'other' }, who)

/** Sends a code, and returns the page on which it is entered. */
const sendCode = (who = visitor) => post(`${confirmation}/code`, {}, who)

/** Asks for a code after the wait for another mail. */
async function sendCodeLater(seconds = 31): Promise<Seen> {
  const clock = takeClock()
  try {
    clock.pass(seconds * 1000)
    return await sendCode()
  } finally {
    clock.back()
  }
}

function enter(code: string, at: Seen, who = visitor): Promise<Seen> {
  return post(`${confirmation}/verify`, { ...Object.fromEntries(formIn(at.body).fields), code }, who)
}

async function confirmByCode(): Promise<void> {
  const sent = await sendCode()
  await enter(mailedCode(), sent)
}

const mailedCode = () => mailServer.codeTo('ada@example.com')
const isConfirmed = async (who = visitor) => next(await link(who))!.startsWith(other.issuer)

describe('a user whose provider can never prove a re-authentication', () => {
  it('is not sent there again, and may add a sign-in method after a code from a mail', async () => {
    await start()
    const asked = await link()
    expect([asked.status, asked.location]).toEqual([303, portal.url + confirmation])
    const offered = await visitor.follow(asked)
    expect(textOf(offered.body)).toContain('Acme does not tell us when you last signed in there.')
    const sent = await sendCode()
    const { text, html } = mailServer.codes.at(-1)!
    for (const part of [text, html]) {
      expect(part).toContain('to confirm to Portal that it')
      expect(part).not.toContain('Acme')
    }
    const confirmed = await visitor.follow(await enter(mailedCode(), sent))
    expect(confirmed.url).toBe(`${portal.url}${page}?notice=confirmed`)
    expect(await isConfirmed()).toBe(true)
    const kinds = await portal.knex('sso_events').where('kind', 'like', 'email-%').orderBy('at').pluck('kind')
    expect(kinds).toEqual(['email-code-sent', 'email-verified'])
  })

  it('gets one mail after a double click, and both responses accept its code', async () => {
    await start()
    const [first, second] = await Promise.all([sendCode(), sendCode()])
    expect([mailServer.codes.length, formIn(second.body).fields]).toEqual([1, formIn(first.body).fields])
    expect(await enter(mailedCode(), second)).toMatchObject({ status: 303 })
  })

  it('may also sign in with another linked provider', async () => {
    await start()
    expect((await visitor.get(portal.url + confirmation)).body).not.toContain('Sign in with Other')
    await linkOther()
    const { body } = await visitor.get(portal.url + confirmation)
    const [, href = ''] = /href="([^"]+)">Sign in with Other</.exec(body)!
    other.faults.claims = { auth_time: Math.floor(Date.now() / 1000) }
    const confirmed = await visitor.open(portal.url + href.replaceAll('&amp;', '&'))
    expect(confirmed.url).toBe(`${portal.url}${page}?notice=confirmed`)
    const [method] = await portal.knex('sso_identities').where({ issuer: provider.issuer }).pluck('id')
    const unlinked = await post(`${page}/unlink`, { method })
    expect(unlinked.location).toBe(`${portal.url}${page}?notice=unlinked`)
  })

  it('is referred to an administrator if there is neither', async () => {
    await start('unreported', { mailer: undefined, mailFrom: undefined })
    const seen = await visitor.follow(await link())
    expect(textOf(seen.body)).toContain('Please contact your administrator.')
    expect(seen.body).not.toContain(`${confirmation}/code`)
    expect((await sendCode()).status).toBe(200)
  })

  it('needs no other proof for 15 minutes, in this session only', async () => {
    await start()
    const second = new Visitor()
    await second.open(`${portal.url}/login/acme`)
    await confirmByCode()
    expect([await isConfirmed(), await isConfirmed(second)]).toEqual([true, false])
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    clock.pass(16 * 60_000)
    expect(await link()).toMatchObject({ location: portal.url + confirmation })
  })

  it('needs no code after the host has checked the password again', async () => {
    await start('unreported', {
      mount(app, sso) {
        app.use(sso.session())
        app.post('/password', (req, res) => {
          sso.markAuthenticated(req)
          res.send('marked')
        })
        mountDefault(app, sso)
      },
    })
    await post('/password')
    expect(await isConfirmed()).toBe(true)
  })

  it('sees the page in German', async () => {
    await start()
    const seen = await visitor.get(portal.url + confirmation, { 'accept-language': 'de' })
    expect(seen.body).toContain('Bitte bestätigen Sie, dass Sie es sind')
  })
})

describe('a thief of the session', () => {
  it.each([null, 'proven', 'ignored'] as const)(
    'cannot choose a code where the provider can prove it (%s)',
    async (reauthentication) => {
      await start(reauthentication)
      expect(next(await link())).toContain('/login/acme?')
      for (const seen of [
        await visitor.get(portal.url + confirmation),
        await sendCode(),
        await post(`${confirmation}/verify`, { code: 'ABCD-2345', sent: crypto.randomUUID() }),
      ])
        expect([seen.status, seen.location]).toEqual([303, portal.url + page])
      expect(mailServer.codes).toEqual([])
    },
  )

  it('does not pass a guard with maxAge after a code', async () => {
    await start()
    await confirmByCode()
    expect(await isConfirmed()).toBe(true)
    expect((await visitor.get(`${portal.url}/recent`)).location).toContain('/login/acme?')
  })

  it('cannot use a code that was sent for another session of the same user', async () => {
    await start()
    const thief = new Visitor()
    await thief.open(`${portal.url}/login/acme`)
    const sent = await sendCode()
    expect((await enter(mailedCode(), sent, thief)).status).toBe(422)
    expect(await isConfirmed(thief)).toBe(false)
    expect((await enter(mailedCode(), sent)).status).toBe(303)
  })

  it('does not profit from a copy of the cookie when its user enters a code', async () => {
    await start()
    const thief = visitor.clone()
    expect((await thief.get(`${portal.url}/portal`)).status).toBe(200)
    await confirmByCode()
    expect((await link(thief)).location).toContain('/login')
    expect((await thief.get(`${portal.url}/portal`)).location).toContain('/login')
    // The user keeps the session, and the portal's row of it.
    expect(await isConfirmed()).toBe(true)
    expect(await portal.knex('sso_sessions')).toHaveLength(1)
  })

  it('has five attempts for a code, and three codes', async () => {
    await start()
    const sent = await sendCode()
    for (let attempt = 0; attempt < 5; attempt++) expect((await enter('AAAA-2222', sent)).status).toBe(422)
    const seen = await enter(mailedCode(), sent)
    expect([seen.status, textOf(seen.body)]).toEqual([422, expect.stringContaining('This code has expired.')])
    await sendCode()
    await sendCodeLater()
    expect((await sendCodeLater(62)).status).toBe(429)
    expect(mailServer.codes).toHaveLength(3)
    expect(await isConfirmed()).toBe(false)
  })

  it.each([
    ['no id', { sent: '' }],
    ['an id that a database cannot store', { sent: '\0'.repeat(36) }],
    ['an unknown id', { sent: '00000000-0000-4000-8000-000000000000' }],
  ])('cannot confirm with %s', async (_what, fields) => {
    await start()
    await sendCode()
    await post(`${confirmation}/verify`, { ...fields, code: mailedCode() })
    expect(await isConfirmed()).toBe(false)
  })

  it('cannot make another site send a mail (CSRF)', async () => {
    await start()
    const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
    for (const what of ['code', 'verify'])
      expect((await visitor.post(`${portal.url}${confirmation}/${what}`, {}, headers)).status).toBe(403)
    expect((await post(`${confirmation}/code`, {}, new Visitor())).location).toContain('/login')
    expect(mailServer.codes).toEqual([])
  })

  it('is slowed down by the rate limit of codes', async () => {
    await start('unreported', { rateLimits: { code: 2 } })
    expect((await sendCode()).status).toBe(200)
    expect((await sendCodeLater()).status).toBe(200)
    expect((await sendCodeLater()).status).toBe(429)
    expect(mailServer.codes).toHaveLength(2)
  })
})
