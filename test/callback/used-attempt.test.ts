import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { RedisClientType } from 'redis'
import { Seal } from '../../lib/shared/seal.ts'
import { PortalUrls } from '../../lib/web/urls.ts'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { arrived } from '../support/http-requests.ts'
import { mountDefault, type TestPortal, type TestPortalOptions, testSecret } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { postResponse, startPortalWithAda, useProvider } from '../support/scene.ts'
import { signal } from '../support/signal.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const other = await useProvider({ clientId: 'other' })
const open = closedAfterEach()
let redis: RedisClientType

beforeAll(async () => {
  redis = await connectRedis()
})
afterAll(() => redis.close())

async function portalWithAda(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortalWithAda(provider, options)
  open.push(portal)
  // Connecting it also sent codes.
  provider.requests.length = 0
  return portal
}

/** Starts a sign-in and returns the URL of the authorization response, which the browser has not opened yet. */
async function responseUrl(portal: TestPortal, visitor: Visitor, query = ''): Promise<string> {
  const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep${query}`)
  return (await visitor.get(start.location!)).location!
}

async function signedInAs(portal: TestPortal, visitor: Visitor): Promise<string | undefined> {
  const seen = await visitor.get(`${portal.url}/portal`)
  return seen.status === 200 ? (JSON.parse(seen.body) as { user: { email: string } }).user.email : undefined
}

/** The codes that the portal has sent to the provider. */
const sentCodes = () =>
  provider.requests
    .filter(({ path }) => path === '/token')
    .map(({ body }) => new URLSearchParams(body).get('code'))

/** The reasons of all refused sign-ins, from the events. */
async function refusals(portal: TestPortal): Promise<string[]> {
  const details: string[] = await portal
    .knex('sso_events')
    .where({ kind: 'sign-in-failed' })
    .orderBy('at')
    .pluck('detail')
  return details.map((detail) =>
    (JSON.parse(detail) as { reason: string }).reason.replace(/ \(attempt_expired\)$/, ''),
  )
}

const restartOf = (portal: TestPortal) => ({
  status: 303,
  location: `${portal.url}/login/acme?returnTo=%2Fportal%2Fdeep&restarted=1`,
})

const setsSession = (seen: Seen) => seen.headers.getSetCookie().some((line) => line.startsWith('portal-sso='))

/** Makes the provider hold each token response. @returns resolves with the first token request */
function holdTokens(): { asked: Promise<IncomingMessage>; release: () => void } {
  const slow = signal()
  provider.faults.tokenWaitsFor = slow.given
  return { asked: arrived('/token'), release: slow.give }
}

/** Opens a URL in a browser that closes the connection before it has read the response. */
async function openAndClose(visitor: Visitor, url: string): Promise<{ close: () => Promise<void> }> {
  const { origin, pathname, search } = new URL(url)
  const cookie = [...visitor.cookies.get(origin)!].map(([name, value]) => `${name}=${value}`).join('; ')
  const received = arrived(pathname + search)
  const sent = http.get(url, { agent: false, headers: { accept: 'text/html', cookie } })
  sent.on('error', () => {})
  const { socket } = await received
  return {
    async close() {
      sent.destroy()
      if (!socket.closed) await once(socket, 'close')
    },
  }
}

describe.each(['the database', 'Redis'])('a code that is marked as redeemed in %s', (store) => {
  const portalWithStore = () => portalWithAda(store === 'Redis' ? { redis } : {})

  it('is sent once if two requests arrive at the same time; the second one restarts the sign-in', async () => {
    const portal = await portalWithStore()
    const visitor = new Visitor()
    const url = await responseUrl(portal, visitor)
    const twin = visitor.clone()
    const { asked, release } = holdTokens()
    const first = visitor.open(url)
    await asked
    const second = await twin.get(url)
    expect(second).toMatchObject(restartOf(portal))
    expect(setsSession(second)).toBe(false)
    expect(sentCodes()).toHaveLength(1)
    release()
    expect((await first).url).toBe(`${portal.url}/portal/deep`)
    expect((await twin.follow(second)).url).toBe(`${portal.url}/portal/deep`)
    expect(new Set(sentCodes()).size).toBe(2)
  })

  it('gives a thief with a copy of the cookie no session of the victim', async () => {
    const portal = await portalWithStore()
    const visitor = new Visitor()
    const url = await responseUrl(portal, visitor)
    const thief = visitor.clone()
    await visitor.open(url)
    // At the provider, the thief is signed in with an account of their own.
    provider.person = { sub: 'mallory', email: 'mallory@example.com', email_verified: true }
    const seen = await thief.get(url)
    expect(seen).toMatchObject(restartOf(portal))
    expect((await thief.follow(seen)).url).toBe(`${portal.url}/register`)
    expect(await signedInAs(portal, thief)).toBeUndefined()
    expect(await signedInAs(portal, visitor)).toBe('ada@example.com')
  })

  it('lets a copied cookie try no further code, from any address', async () => {
    const portal = await portalWithStore()
    const visitor = new Visitor()
    const url = new URL(await responseUrl(portal, visitor))
    const statuses: number[] = []
    for (let n = 0; n < 5; n++) {
      url.searchParams.set('code', `guess-${n}`)
      statuses.push((await visitor.clone().get(url.href)).status)
    }
    expect(statuses).toEqual([400, 303, 303, 303, 303])
    expect(sentCodes()).toEqual(['guess-0'])
    const posted = await visitor.post(`${portal.url}/login/acme/callback`, [...url.searchParams])
    expect(posted.status).toBe(400)
    expect(sentCodes()).toEqual(['guess-0'])
    expect((await refusals(portal)).at(-1)).toBe(
      'another request has redeemed the code of this attempt; no restart: the request is no GET',
    )
  })

  it('leads to one session if the user reloads while the provider is slow', async () => {
    const portal = await portalWithStore()
    const visitor = new Visitor()
    const url = await responseUrl(portal, visitor)
    const { asked, release } = holdTokens()
    const first = await openAndClose(visitor, url)
    await asked
    const reloaded = visitor.open(url)
    await first.close()
    release()
    expect((await reloaded).url).toBe(`${portal.url}/portal/deep`)
    expect(await signedInAs(portal, visitor)).toBe('ada@example.com')
    for (let n = 0; n < 500 && (await refusals(portal)).length === 0; n++) await sleep(5)
    expect(await refusals(portal)).toEqual(['the connection closed before the response was sent'])
    expect(await portal.knex('sso_sessions')).toHaveLength(1)
    expect(await portal.knex('sso_events').where({ kind: 'signed-in' })).toHaveLength(1)
  })
})

describe('a session whose response was not sent', () => {
  it('ends if the connection closes while the response is being written', async () => {
    const closed = signal()
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use('/login/acme/callback', (req, res, proceed) => {
          const location = res.location.bind(res)
          Object.assign(res, {
            location(url: string) {
              req.socket.destroy()
              return location(url)
            },
          })
          res.once('close', closed.give)
          proceed()
        })
        mountDefault(app, sso)
      },
    })
    const visitor = new Visitor()
    await openAndClose(visitor, await responseUrl(portal, visitor))
    await closed.given
    for (let n = 0; n < 500 && (await portal.knex('sso_sessions')).length > 0; n++) await sleep(5)
    expect(await portal.knex('sso_sessions')).toEqual([])
    expect(await portal.knex('sso_events').where({ kind: 'signed-in' })).toHaveLength(1)
    expect(portal.logs.at(-1)).toMatchObject({
      message: 'the connection closed before the response was sent; the new session was ended',
      fields: { portal: 'default', provider: 'acme' },
    })
  })

  it('does not end if the connection closes after it', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor({ connection: 'close' })
    await visitor.open(await responseUrl(portal, visitor))
    expect(await signedInAs(portal, visitor)).toBe('ada@example.com')
  })
})

describe('a callback that starts no session', () => {
  it.each<[outcome: string, send: (portal: TestPortal, visitor: Visitor) => Promise<unknown>]>([
    [
      'another request has redeemed the code of this attempt; it starts again',
      async (portal, visitor) => {
        const url = await responseUrl(portal, visitor)
        const twin = visitor.clone()
        await visitor.open(url)
        await twin.get(url)
      },
    ],
    [
      'the response of this attempt was received before; a user is signed in',
      async (portal, visitor) => {
        const url = await responseUrl(portal, visitor)
        await visitor.open(url)
        await visitor.get(url)
      },
    ],
    [
      'the attempt is unknown, but a user is signed in',
      async (portal, visitor) => {
        await visitor.open(await responseUrl(portal, visitor))
        await visitor.get(`${portal.url}/login/acme/callback?state=made-up&code=made-up`)
      },
    ],
    [
      'our own page posts the response again',
      async (portal) =>
        await new Visitor().post(`${portal.url}/login/acme/callback`, { state: 'made-up', code: 'made-up' }),
    ],
    [
      'its purpose was sign-in; the user continues',
      async (portal, visitor) => {
        provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true }
        await visitor.get(await responseUrl(portal, visitor))
      },
    ],
  ])('leaves a log line: %s', async (outcome, send) => {
    const portal = await portalWithAda()
    await send(portal, new Visitor())
    const lines = portal.logs.filter(({ message }) => message === 'a callback started no session')
    expect(lines).toEqual([
      {
        level: 'info',
        message: 'a callback started no session',
        fields: { reference: expect.any(String), portal: 'default', provider: 'acme', outcome },
      },
    ])
  })
})

describe('an expired attempt', () => {
  async function afterEleven(
    portal: TestPortal,
    visitor: Visitor,
    query = '',
  ): Promise<{ url: string; seen: Seen }> {
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    const url = await responseUrl(portal, visitor, query)
    clock.pass(11 * 60_000)
    return { url, seen: await visitor.get(url) }
  }

  it('is restarted without a click, and signs in', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    const { seen } = await afterEleven(portal, visitor)
    expect(seen).toMatchObject(restartOf(portal))
    expect(sentCodes()).toEqual([])
    expect((await visitor.follow(seen)).url).toBe(`${portal.url}/portal/deep`)
    expect(await signedInAs(portal, visitor)).toBe('ada@example.com')
    expect(await refusals(portal)).toEqual([])
  })

  it('is restarted with the same demands on the provider', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    // Otherwise the user would sign out at the provider first.
    await portal.sso.providers.update('acme', { logout: 'portal' })
    const { seen } = await afterEleven(portal, visitor, '&max_age=60&acr_values=gold&account=other')
    expect(Object.fromEntries(new URL(seen.location!).searchParams)).toEqual({
      returnTo: '/portal/deep',
      max_age: '60',
      acr_values: 'gold',
      account: 'other',
      restarted: '1',
    })
  })

  it('is restarted once: a second one that expires shows a page with a button', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    const { seen } = await afterEleven(portal, visitor)
    const restarted = await visitor.get(seen.location!)
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    clock.pass(22 * 60_000)
    const last = await visitor.open(restarted.location!)
    expect([last.status, last.body]).toEqual([400, expect.stringContaining('href="/login/acme?returnTo=')])
    expect(await refusals(portal)).toEqual(['the attempt has expired; no restart: it was restarted before'])
  })

  it('is restarted once: the second one is not restarted after its sign-in either', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    const { seen } = await afterEleven(portal, visitor)
    const second = (await visitor.get((await visitor.get(seen.location!)).location!)).location!
    await visitor.open(second)
    await portal.knex('sso_sessions').delete()
    expect((await visitor.get(second)).status).toBe(400)
    expect(await refusals(portal)).toEqual([
      'the response of this attempt was received before; no restart: it was restarted before',
    ])
  })

  it('is not restarted again by a provider that repeats its response', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    const { url } = await afterEleven(portal, visitor)
    expect((await visitor.get(url)).status).toBe(400)
    expect(await refusals(portal)).toEqual([
      'the response of this attempt was received before; no restart: it was restarted before',
    ])
  })

  it.each([
    ['HEAD', {}, 400],
    ['POST', {}, 400],
    ['GET', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }, 403],
    ['GET', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }, 403],
  ])('is not restarted by a request that is no top-level GET: %s %j', async (method, headers, status) => {
    const portal = await portalWithAda()
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    const visitor = new Visitor()
    const url = new URL(await responseUrl(portal, visitor))
    clock.pass(11 * 60_000)
    const cookie = [...visitor.cookies.get(portal.url)!].map(([name, value]) => `${name}=${value}`).join('; ')
    const sent = http.request(method === 'POST' ? url.origin + url.pathname : url, {
      method,
      headers: {
        accept: 'text/html',
        cookie,
        'content-type': 'application/x-www-form-urlencoded',
        ...headers,
      },
    })
    sent.end(method === 'POST' ? url.searchParams.toString() : undefined)
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    response.resume()
    expect([response.statusCode, response.headers.location]).toEqual([status, undefined])
    // A subresource is refused before the attempt is read.
    const reason =
      status === 400 ? 'the attempt has expired; no restart: the request is no GET' : /^no navigation/
    expect(await refusals(portal)).toEqual([expect.stringMatching(reason)])
  })

  it('is not restarted by an error response', async () => {
    const portal = await portalWithAda()
    provider.faults.authorizeError = { error: 'login_required' }
    const { seen } = await afterEleven(portal, new Visitor())
    expect([seen.status, seen.location]).toEqual([400, undefined])
    expect(await refusals(portal)).toEqual(['the attempt has expired; no restart: the response is an error'])
  })

  it('is not restarted after a sign-out, because the next person at a shared computer would be signed in', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    await visitor.open(await responseUrl(portal, visitor))
    const url = await responseUrl(portal, visitor)
    await visitor.post(`${portal.url}/logout`)
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    clock.pass(11 * 60_000)
    expect((await visitor.get(url)).status).toBe(400)
    expect(await refusals(portal)).toEqual([
      'the attempt has expired; no restart: a user signed out in this browser',
    ])
    expect(await signedInAs(portal, visitor)).toBeUndefined()
  })

  it('is not restarted at another provider’s callback, nor at a disabled provider', async () => {
    const portal = await portalWithAda()
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    const visitor = new Visitor()
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    const [mixedUp, disabled] = [await responseUrl(portal, visitor), await responseUrl(portal, visitor)]
    clock.pass(11 * 60_000)
    expect((await visitor.get(mixedUp.replace('/login/acme/', '/login/other/'))).status).toBe(400)
    await portal.sso.providers.disable('acme')
    expect((await visitor.get(disabled)).status).toBe(400)
    expect(await refusals(portal)).toEqual([
      'the attempt has expired; no restart: it belongs to another provider',
      'the attempt has expired; no restart: the provider is disabled',
    ])
  })

  it('to link an account is not restarted as a sign-in; the page leads back to the account', async () => {
    const portal = await portalWithAda()
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    const visitor = new Visitor()
    provider.faults.claims = { auth_time: Math.floor(Date.now() / 1000) }
    await visitor.open(await responseUrl(portal, visitor))
    const page = await visitor.post(`${portal.url}/account/security/link`, { provider: 'other' })
    const url = (await visitor.get(next(page)!)).location!
    await portal.knex('sso_sessions').delete()
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    clock.pass(11 * 60_000)
    const seen = await visitor.get(url)
    expect([seen.status, seen.body]).toEqual([400, expect.stringContaining('href="/account/security"')])
    expect(await refusals(portal)).toEqual([
      'the attempt has expired; no restart: its purpose is link-account',
    ])
  })
})

describe('a used attempt', () => {
  it('is restarted after the session has ended, but not after a sign-out (back button)', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    const url = await responseUrl(portal, visitor)
    await visitor.open(url)
    const before = visitor.clone()
    await visitor.post(`${portal.url}/logout`)
    expect((await visitor.get(url)).status).toBe(400)
    expect(await signedInAs(portal, visitor)).toBeUndefined()
    expect(await refusals(portal)).toEqual([
      'the response of this attempt was received before; no restart: a user signed out in this browser',
    ])
    // Without the marker of a sign-out, the session may have expired.
    expect(await before.get(url)).toMatchObject(restartOf(portal))
  })

  it('is unknown in another browser, which never restarts it', async () => {
    const portal = await portalWithAda()
    const url = await responseUrl(portal, new Visitor())
    const seen = await new Visitor().get(url)
    expect([seen.status, seen.location]).toEqual([400, undefined])
    expect(await refusals(portal)).toEqual(['this browser has no such attempt (any more)'])
  })

  it('whose response is posted (form_post) shows a page with a button', async () => {
    const portal = await portalWithAda()
    await portal.sso.providers.update('acme', { responseMode: 'form_post' })
    provider.requests.length = 0
    const visitor = new Visitor()
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
    const form = await visitor.get(start.location!)
    const twin = visitor.clone()
    expect((await postResponse({ portal, visitor }, form)).url).toBe(`${portal.url}/portal/deep`)
    const seen = await postResponse({ portal, visitor: twin }, form)
    expect([seen.status, seen.body]).toEqual([400, expect.stringContaining('href="/login/acme?returnTo=')])
    expect(sentCodes()).toHaveLength(1)
  })

  it('to prove an account is restarted for the same purpose', async () => {
    const portal = await portalWithAda()
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    const visitor = new Visitor()
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true }
    expect((await visitor.open(`${portal.url}/login/acme`)).url).toBe(`${portal.url}/register`)
    const url = await responseUrl(portal, visitor, '&proving=1')
    clock.pass(11 * 60_000)
    expect((await visitor.get(url)).location).toContain('&proving=1&restarted=1')
  })
})

describe('an attempt that a newer version started for an unknown purpose', () => {
  it('is refused with a page, and signs nobody in', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    const response = await responseUrl(portal, visitor)
    const jar = visitor.cookies.get(portal.url)!
    const [name, sealed] = [...jar].find(([each]) => each.startsWith('sso-attempt-'))!
    const seal = new Seal([testSecret], 'attempt')
    const context = `${name} ${new PortalUrls(portal.url, '/').base('default')}`
    const cookie = (await seal.open(sealed, context)) as { value: { attempt: object } }
    const attempt = { ...cookie.value.attempt, purpose: { kind: 'newer' } }
    jar.set(name, await seal.close({ ...cookie, value: { ...cookie.value, attempt } }, context))
    const seen = await visitor.get(response)
    expect(seen.status).toBe(400)
    expect(seen.body).toContain('href="/login/acme')
    expect(setsSession(seen)).toBe(false)
  })
})
