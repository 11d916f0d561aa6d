import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
beforeEach(async () => {
  portal = await startPortalWithAda(provider, {
    rateLimits: { start: 2, callback: 2, registration: 2, logout: 2 },
  })
})
afterEach(() => portal.close())

type Headers = Record<string, string>
const image: Headers = {
  'sec-fetch-site': 'cross-site',
  'sec-fetch-mode': 'no-cors',
  'sec-fetch-dest': 'image',
}
const navigation: Headers = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
const embedded = (dest: string): Headers => ({ 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': dest })

const get = async (path: string, headers: Headers = {}, visitor = new Visitor()) =>
  await visitor.get(portal.url + path, headers)
const events = () => portal.knex('sso_events').where({ kind: 'sign-in-failed' })

describe('refused: a request that is no navigation (Fetch Metadata)', () => {
  it.each([
    '/login/acme',
    '/LOGIN/acme/',
    '/login/acme/callback?code=x&state=x',
    '/login/acme/admin-consent',
    '/login/acme/admin-consent/callback?error=x',
    '/login/assets/none.png',
    '/login/acme/jwks.json',
    '/login',
    '/register',
    '/logout',
    '/account/security',
  ])('by an image tag of another site uses up no limit of %s', async (path) => {
    for (let n = 0; n < 3; n++) expect((await get(path, image)).status).toBe(403)
    expect(await portal.knex('sso_events').where({ kind: 'rate-limited' })).toEqual([])
    expect((await get(path, navigation)).status).not.toBe(429)
  })

  it('by a script of another site uses up no limit of the form for the e-mail address', async () => {
    const post = async (headers: Headers) => {
      const form = { email: 'ada@example.com' }
      return (await new Visitor().post(`${portal.url}/login?by=email`, form, headers)).status
    }
    for (let n = 0; n < 3; n++) expect(await post({ ...image, 'sec-fetch-dest': 'empty' })).toBe(403)
    expect(await post({ ...navigation, 'sec-fetch-site': 'same-origin' })).toBe(303)
  })

  it.each<[what: string, headers: Headers]>([
    [
      'a script of our own site',
      { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    ],
    ['a client that sends no site', { 'sec-fetch-mode': 'cors' }],
    ...['iframe', 'frame', 'embed', 'object', 'fencedframe'].map((dest): [string, Headers] => [
      dest,
      embedded(dest),
    ]),
  ])('starts and finishes no sign-in: %s', async (_what, headers) => {
    const visitor = new Visitor()
    expect((await get('/login/acme', headers, visitor)).status).toBe(403)
    expect(visitor.cookieNames(portal.url)).toEqual([])
    const start = await get('/login/acme', navigation, visitor)
    const response = new URL((await visitor.get(start.location!)).location!)
    expect((await visitor.get(response.href, headers)).status).toBe(403)
    expect(await portal.knex('sso_sessions')).toEqual([])
    // The attempt is not used up.
    expect((await visitor.get(response.href, navigation)).status).toBe(303)
    expect(await portal.knex('sso_sessions')).toHaveLength(1)
  })
})

describe('a request that is no navigation', () => {
  it('gets a page with a link to the login page, and is an event with the exact reason', async () => {
    const page = await get('/login/acme', embedded('iframe'))
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(page.body).toContain('href="/login"')
    const [{ reference, detail }] = await events()
    expect(page.body).toContain(reference)
    expect(JSON.parse(detail)).toEqual({
      code: 'navigation_required',
      reason: 'no navigation, but {"mode":"navigate","dest":"iframe"} (navigation_required)',
    })
  })

  it('is admitted where a provider or a script of ours sends it', async () => {
    const script = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }
    expect((await new Visitor().post(`${portal.url}/logout`, {}, script)).status).toBe(303)
    expect(
      (
        await get('/logout/acme/frontchannel?sid=x', {
          ...embedded('iframe'),
          'sec-fetch-site': 'cross-site',
        })
      ).status,
    ).toBe(404)
    // Node's `fetch` sends this header, such as that of a provider.
    expect((await get('/login/acme/jwks.json', { 'sec-fetch-mode': 'cors' })).status).toBe(404)
    expect(await events()).toEqual([])
  })
})

describe('refused: a prefetch (Sec-Purpose)', () => {
  it.each(['prefetch', 'prefetch;prerender', 'prefetch;anonymous-client-ip'])(
    'neither starts nor finishes a sign-in, and is not cached: Sec-Purpose: %s',
    async (purpose) => {
      const visitor = new Visitor(navigation)
      const early = { 'sec-purpose': purpose }
      for (let n = 0; n < 3; n++) {
        const seen = await get('/login/acme', early, visitor)
        expect([seen.status, seen.headers.get('cache-control'), seen.location]).toEqual([
          503,
          'no-store',
          undefined,
        ])
      }
      const start = await get('/login/acme', {}, visitor)
      const response = new URL((await visitor.get(start.location!)).location!)
      for (let n = 0; n < 3; n++) expect((await visitor.get(response.href, early)).status).toBe(503)
      expect(await portal.knex('sso_sessions')).toEqual([])
      expect(await events()).toEqual([])
      expect((await visitor.get(response.href)).status).toBe(303)
    },
  )
})

describe('a prefetch', () => {
  it('by the frame of a front-channel logout is handled like any other request', async () => {
    expect((await get('/logout/acme/frontchannel?sid=x', { 'sec-purpose': 'prefetch' })).status).toBe(404)
  })
})
