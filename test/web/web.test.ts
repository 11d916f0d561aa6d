import http, { type IncomingHttpHeaders } from 'node:http'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import express from 'express'
import { mountDefault, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor

beforeEach(() => {
  visitor = new Visitor()
})
afterEach(() => portal.close())

/** Starts a portal with the user Ada, who is also the provider's next user by default. */
async function open(options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortalWithAda(provider, options)
}

const newcomer = { sub: 'grace', email: 'grace@example.com', email_verified: true, name: 'Grace Hopper' }

async function signIn(returnTo = '/portal'): Promise<Seen> {
  return await visitor.open(`${portal.url}/login/acme?returnTo=${encodeURIComponent(returnTo)}`)
}

async function toForm(returnTo = '/portal'): Promise<Seen> {
  provider.person = { ...newcomer }
  return await signIn(returnTo)
}

const isSignedIn = async () => (await visitor.get(`${portal.url}/portal`)).status === 200
const users = () => portal.knex('sso_users').pluck('email')

/** Starts a sign-in, and returns the URL of the authorization response. */
async function startSignIn(): Promise<URL> {
  const start = await visitor.get(`${portal.url}/login/acme`)
  return new URL((await visitor.get(start.location!)).location!)
}

interface Raw {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** Sends a request that browsers, fetch and supertest cannot send: any method, target and header. */
async function raw(method: string, target: string, headers: Record<string, string> = {}): Promise<Raw> {
  const { hostname, port } = new URL(portal.url)
  return await new Promise((resolve, reject) => {
    const req = http.request(
      { hostname, port, method, path: target, headers: { accept: 'text/html', ...headers } },
      (res) => {
        let body = ''
        res.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk
        })
        res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body }))
      },
    )
    req.on('error', reject).end()
  })
}

const cookieOf = (who: Visitor) =>
  [...(who.cookies.get(portal.url) ?? [])].map(([name, value]) => `${name}=${value}`).join('; ')

describe('a post from another site (CSRF)', () => {
  const everybody = { authorize: () => true }
  const openWithAdmin = () =>
    open({
      mount(app, sso) {
        mountDefault(app, sso)
        app.use('/admin/sso', sso.admin(everybody))
      },
    })
  /** All POST routes, those of administrators included. */
  const all = () => {
    const admin = posts(portal.sso.admin(everybody).stack as unknown as Layer[])
    return [...ours(), ...admin.map((path) => `/admin/sso${path}`)]
  }

  interface Layer {
    route?: { path: string | RegExp | string[]; methods: Record<string, boolean> }
    handle: { stack?: Layer[] }
  }

  /** Paths that accept a POST, read from the routers themselves, so that new routes are included. */
  function posts(layers: Layer[]): string[] {
    return layers.flatMap(({ route, handle }) => {
      // The form parser, which is at no path of its own.
      if (route?.path instanceof RegExp) return []
      if (route && (route.methods.post || route.methods._all)) return [route.path].flat()
      return posts(handle.stack ?? [])
    })
  }

  // The provider's server sends it, without cookies. The logout token authenticates it (Back-Channel Logout 1.0, 2.5).
  const fromServers = ['/logout/:provider/backchannel']
  // Third-party initiated login (Core 4) has the effect of a link; initiate.test.ts covers it.
  const fromDashboards = ['/login/initiate']
  const ours = () =>
    posts(portal.sso.router().stack as unknown as Layer[])
      .filter((path) => !fromServers.includes(path) && !fromDashboards.includes(path))
      // Without the parameter, the request belongs to the host.
      .map((path) => (path === '/login' ? '/login?by=email' : path))

  it('is refused at every route that accepts a POST', async () => {
    await openWithAdmin()
    await signIn()
    expect(all()).toEqual(expect.arrayContaining(['/register', '/logout', '/admin/sso/:slug/enable']))
    for (const path of all()) {
      const address = portal.url + path.replace(/:\w+/g, 'acme')
      for (const headers of [
        { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
        // An attacker may control another port or subdomain of the same site.
        { 'sec-fetch-site': 'same-site', origin: 'https://sibling.example.com' },
        { 'sec-fetch-site': 'none', origin: 'null' },
        { 'sec-fetch-site': 'cross-site', origin: portal.url },
        // Old browsers send `Origin` only.
        { 'sec-fetch-site': '', origin: 'https://evil.example' },
        { 'sec-fetch-site': '', origin: 'null' },
        { 'sec-fetch-site': '', origin: `${portal.url}.evil.example` },
      ]) {
        const seen = await visitor.post(address, { name: 'x' }, headers)
        expect([path, headers, seen.status]).toEqual([path, headers, 403])
        expect(portal.logs.at(-1)!.fields.code).toBe('cross_site_request')
        expect(await isSignedIn()).toBe(true)
      }
    }
  })

  it('is refused without `Sec-Fetch-Site` and `Origin`', async () => {
    await openWithAdmin()
    await signIn()
    for (const path of all()) {
      const seen = await raw('POST', path.replace(/:\w+/g, 'acme'), { cookie: cookieOf(visitor) })
      expect([path, seen.status]).toEqual([path, 403])
    }
    expect(await isSignedIn()).toBe(true)
  })

  it('of an authorization response signs nobody in without an attempt in this browser', async () => {
    await open()
    const stolen = await startSignIn()
    const victim = new Visitor()
    const seen = await victim.post(
      `${portal.url}/login/acme/callback`,
      Object.fromEntries(stolen.searchParams),
      { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
    )
    // This page posts the response again from our own origin, where the attempt is missing as well.
    expect(seen.status).toBe(200)
    const fields = { ...Object.fromEntries(stolen.searchParams), portal_sso_reposted: '1' }
    expect((await victim.post(`${portal.url}/login/acme/callback`, fields)).status).toBe(400)
    expect((await victim.get(`${portal.url}/portal`)).status).toBe(302)
  })

  it('is not needed for a GET, which changes nothing: a link, an image, a prefetch', async () => {
    await open()
    await signIn()
    for (const path of ['/logout', '/logout?confirm=1', '/logout/done', '/register', '/logout?_method=POST'])
      await visitor.get(portal.url + path, { 'sec-fetch-site': 'cross-site' })
    expect(await isSignedIn()).toBe(true)
  })
})

describe('another site as returnTo (open redirect)', () => {
  const evil = [
    'https://evil.example/',
    '//evil.example/',
    '/\\evil.example/',
    '\\\\evil.example',
    '/\t/evil.example',
    '/%09/evil.example',
    '/.//evil.example',
    '/..//evil.example/%2e%2e',
    'javascript:alert(1)',
    'data:text/html,x',
    ' //evil.example',
    '/\r\nlocation: https://evil.example',
    'http:evil.example',
    '@evil.example',
    '.evil.example',
  ]

  /** Every link and redirect leads to the portal. */
  function expectAtHome(seen: Seen): void {
    const body = seen.body.replace(/<link rel="icon" href="data:image\/svg\+xml,[^"]*">/, '')
    const links = [...body.matchAll(/\s(?:href|action|src)="([^"]*)"/g)].map(([, link = '']) => link)
    for (const link of [...links, seen.location ?? '/']) {
      const { origin, searchParams } = new URL(link.replaceAll('&amp;', '&'), portal.url)
      expect([link, origin]).toEqual([link, portal.url])
      expect(new URL(searchParams.get('returnTo') ?? '/', portal.url).origin).toBe(portal.url)
    }
  }

  it.each(evil)('is ignored: %j', async (returnTo) => {
    await open()
    const query = `?returnTo=${encodeURIComponent(returnTo)}`
    // On the picker.
    expectAtHome(await visitor.get(`${portal.url}/login${query}`))
    // From the start through the provider and its answer.
    const finished = await answerOf(`${portal.url}/login/acme${query}`)
    expect(finished.status).toBe(303)
    expectAtHome(finished)
    // On the picker, signed in.
    const again = await visitor.get(`${portal.url}/login${query}`)
    expect(again.status).toBe(303)
    expectAtHome(again)
    // The same response again, after the back button.
    expectAtHome(await visitor.get(finished.url))
    // On the page of a refused sign-in.
    expectAtHome(await visitor.get(`${portal.url}/login/nope${query}`))
    // Before and after a registration.
    visitor = new Visitor()
    provider.person = { ...newcomer }
    const form = await visitor.follow(await answerOf(`${portal.url}/login/acme${query}`))
    expectAtHome(form)
    const registered = await visitor.post(`${portal.url}/register`, { name: 'Grace', returnTo })
    expect(registered.status).toBe(303)
    expectAtHome(registered)
  })

  async function answerOf(start: string): Promise<Seen> {
    const begun = await visitor.get(start)
    const answered = await visitor.get(begun.location!)
    return await visitor.get(answered.location!)
  }

  it.each([
    '//evil.example/portal',
    '/portal//evil.example',
    '/portal/..//evil.example',
    '/portal\\@evil.example',
  ])('is not constructed by the guard from %s', async (target) => {
    await open({
      mount(app, sso) {
        app.use(sso.session())
        app.use(sso.router())
        app.use(sso.guard())
      },
    })
    const { status, headers } = await raw('GET', target)
    expect(status).toBe(302)
    const { searchParams, pathname } = new URL(headers.location!, portal.url)
    expect(pathname).toBe('/login')
    const returnTo = searchParams.get('returnTo')
    expect(new URL(returnTo ?? '/', portal.url).origin).toBe(portal.url)
  })
})

describe('a forged host', () => {
  const claims = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-server': 'evil.example',
    'x-host': 'evil.example',
    forwarded: 'host=evil.example;proto=https',
    'x-original-url': '/evil.example',
    'x-rewrite-url': '/evil.example',
    'x-forwarded-prefix': '/evil.example',
    'x-original-host': 'evil.example',
    referer: 'https://evil.example/',
  }

  it.each([
    '/login',
    '/login?returnTo=/portal',
    '/login/acme',
    '/login/nope',
    '/login/acme/callback',
    '/portal',
    '/register',
    '/logout',
    '/logout/done',
  ])('in a header does not appear in the response of %s, even if Express trusts a proxy', async (path) => {
    for (const trust of [false, true]) {
      await open({
        mount(app, sso) {
          app.set('trust proxy', trust)
          mountDefault(app, sso)
        },
      })
      const seen = await raw('GET', path, claims)
      expect(seen.status).toBeLessThan(500)
      expect(JSON.stringify(seen.headers) + seen.body).not.toContain('evil')
      if (trust) continue
      await portal.close()
    }
  })

  it.each(['/login', '/login/acme', '/login/acme/callback?code=x&state=x', '/portal', '/logout'])(
    'in an absolute request target does not appear in the response: GET http://evil.example%s',
    async (path) => {
      await open()
      const seen = await raw('GET', `http://evil.example${path}`)
      expect(seen.status).toBeLessThan(500)
      expect(JSON.stringify(seen.headers) + seen.body).not.toContain('evil')
    },
  )
})

describe('every response', () => {
  it('forbids caching, referrers to other sites and framing: pages, redirects, errors, problems', async () => {
    await open({ registrationFields: [{ name: 'phone', label: 'Phone', required: true }] })
    const seen: [what: string, Seen][] = []
    const see = (what: string, one: Seen) => {
      seen.push([what, one])
      return one
    }
    const get = async (path: string, headers = {}) => see(path, await visitor.get(portal.url + path, headers))
    const post = async (path: string, form = {}, headers = {}) =>
      see(`POST ${path}`, await visitor.post(portal.url + path, form, headers))
    const json = { accept: 'application/json' }
    for (const path of [
      '/login',
      '/login/nope',
      '/login/%ff',
      '/login/acme/callback',
      '/register',
      '/logout',
      '/logout/done',
    ]) {
      await get(path)
      await get(path, json)
    }
    await get('/portal')
    await get('/portal', json)
    await post('/portal')
    await post('/logout', {}, { 'sec-fetch-site': 'cross-site' })
    await post('/register', { name: 'x'.repeat(70_000) })
    await post('/login/acme/callback', { code: 'x', state: 'x' })
    await post('/login/acme/callback', { code: 'x', state: 'x', portal_sso_reposted: '1' })
    const start = await get('/login/acme?returnTo=/portal/secret')
    const answered = await visitor.get(start.location!)
    const callback = answered.location!.replace(portal.url, '')
    await get(callback)
    await get(callback)
    await get('/login')
    await get('/logout')
    await get('/register')
    await post('/logout')
    await get(callback)
    provider.person = { ...newcomer }
    const second = await visitor.get((await get('/login/acme')).location!)
    await get(second.location!.replace(portal.url, ''))
    await get('/register')
    await post('/register', { name: '' })
    await post('/register', { name: 'Grace', 'field.phone': '1' })

    const statuses = new Set(seen.map(([, { status }]) => status))
    expect([...statuses].sort()).toEqual([200, 302, 303, 400, 401, 403, 404, 422])
    for (const [what, { status, headers }] of seen) {
      const html = headers.get('content-type')?.includes('html') && ![302, 303].includes(status)
      expect([what, status, headers.get('cache-control')]).toEqual([what, status, 'no-store'])
      expect([what, headers.get('referrer-policy')]).toEqual([what, 'same-origin'])
      expect([what, headers.get('x-content-type-options')]).toEqual([what, 'nosniff'])
      if (!html) continue
      expect([what, headers.get('x-frame-options')]).toEqual([what, 'DENY'])
      const policy = headers.get('content-security-policy')!
      expect([what, policy]).toEqual([what, expect.stringContaining("frame-ancestors 'none'")])
      expect([what, policy]).toEqual([what, expect.stringContaining("default-src 'none'")])
      expect(policy).not.toContain('unsafe')
    }
  })

  it('sets cookies with __Host-, Secure, HttpOnly, SameSite=Lax and Path=/, without a domain', async () => {
    await open({ baseUrl: 'https://portal.example.com' })
    visitor = new Visitor({ 'x-forwarded-proto': 'https' })
    const set: string[] = []
    const see = async (asked: Promise<Seen>): Promise<Seen> => {
      const seen = await asked
      set.push(...seen.headers.getSetCookie())
      return seen
    }
    const home = (address: string) => address.replace('https://portal.example.com', portal.url)
    const finish = async () => {
      const start = await see(visitor.get(`${portal.url}/login/acme?returnTo=/portal/x`))
      return await see(visitor.get(home((await visitor.get(start.location!)).location!)))
    }
    await finish()
    await see(visitor.post(`${portal.url}/logout`))
    provider.person = { ...newcomer }
    await finish()
    await see(visitor.post(`${portal.url}/register`, { name: 'Grace' }))
    const names = new Set(set.map((line) => line.split('=')[0]!.replace(/attempt-.*/, 'attempt')))
    expect([...names].sort()).toEqual([
      '__Host-portal-sso',
      '__Host-sso-attempt',
      '__Host-sso-last-provider',
      '__Host-sso-logout',
      '__Host-sso-registration',
      '__Host-sso-signed-out',
    ])
    for (const line of set) {
      const attributes = line
        .split('; ')
        .slice(1)
        .map((each) => each.toLowerCase())
      expect([line, attributes]).toEqual([
        line,
        expect.arrayContaining(['path=/', 'secure', 'httponly', 'samesite=lax']),
      ])
      expect(attributes.filter((each) => each.startsWith('domain'))).toEqual([])
    }
  })

  it('that may be cached is `private`, because it can carry a session cookie (shared cache)', async () => {
    await open({
      mount(app, sso) {
        app.use(sso.session())
        // A changed session sends its cookie with every response.
        app.use((req, _res, next) => {
          Object.assign(req.session, { pages: Number((req.session as { pages?: number }).pages ?? 0) + 1 })
          next()
        })
        mountDefault(app, sso)
      },
    })
    await visitor.open(`${portal.url}/login/acme`)
    provider.faults.clientKeysAt = `${portal.url}/login/keys/jwks.json`
    const byKey = { slug: 'keys', clientAuthentication: 'private_key_jwt', clientSecret: undefined } as const
    await portal.connect(provider, byKey)
    for (const path of ['/login/keys/jwks.json', '/login/assets/portal-sso.css', '/login/assets/admin.js']) {
      const { status, headers } = await visitor.get(portal.url + path)
      const renewed = headers.getSetCookie().some((line) => line.startsWith('portal-sso='))
      const kept = headers.get('cache-control')
      expect([path, status, renewed, kept]).toEqual([path, 200, true, expect.stringMatching(/^private, /)])
    }
  })
})

describe('the Cookie header', () => {
  const longest = { text: '漢'.repeat(108), plain: 'x'.repeat(985) }
  /** claims of the maximum length */
  const wordy = {
    sub: '"'.repeat(255),
    sid: '漢'.repeat(255),
    email: `${'g'.repeat(64)}@${'x'.repeat(60)}.${'y'.repeat(60)}.${'z'.repeat(50)}.example`,
    email_verified: true,
    name: '漢'.repeat(200),
    padding: 'p'.repeat(3000),
  }

  async function openTabs(): Promise<{ newest: string; largest: number }> {
    let newest = ''
    let largest = 0
    for (let tab = 0; tab < 60; tab++) {
      const path = `/portal/${tab}/${tab % 3 ? longest.text : longest.plain}`
      newest = (await visitor.get(`${portal.url}/login/acme?returnTo=${encodeURIComponent(path)}`)).location!
      largest = Math.max(largest, cookieOf(visitor).length)
    }
    return { newest, largest }
  }

  it('stays below 7 KB with 60 tabs, long deep links, a long registration, a session and TLS; the newest tab still works', async () => {
    await open({ baseUrl: 'https://portal.example.com' })
    visitor = new Visitor({ 'x-forwarded-proto': 'https' })
    const finish = async (start: string) => {
      const { location } = await visitor.get(start)
      return await visitor.get(location!.replace('https://portal.example.com', portal.url))
    }
    const begin = async () =>
      (await visitor.get(`${portal.url}/login/acme?returnTo=/portal/${longest.plain}`)).location!
    await finish(await begin())
    expect(await isSignedIn()).toBe(true)
    provider.person = { ...wordy }
    expect((await finish(await begin())).location).toBe(`${portal.url}/register`)
    provider.reset()
    const { newest, largest } = await openTabs()
    expect(visitor.cookieNames(portal.url)).toEqual(
      expect.arrayContaining(['__Host-portal-sso', '__Host-sso-last-provider', '__Host-sso-registration']),
    )
    expect(largest).toBeGreaterThan(5000)
    expect(largest).toBeLessThan(7 * 1024)
    const landed = await finish(newest)
    expect([landed.status, landed.location]).toEqual([303, expect.stringContaining('/portal/59/')])
  })

  it('keeps the pending registration of a new user with 60 tabs', async () => {
    await open()
    provider.person = { ...wordy }
    await signIn(`/portal/${longest.plain}`)
    const { largest } = await openTabs()
    expect(largest).toBeLessThan(7 * 1024)
    expect((await visitor.post(`${portal.url}/register`, { name: 'Grace' })).status).toBe(303)
    expect(await isSignedIn()).toBe(true)
  })

  it('keeps the longest deep link in one cookie below the limit of browsers', async () => {
    await open()
    await visitor.get(`${portal.url}/login/acme?returnTo=/portal/${longest.plain}`)
    for (const [name, value] of visitor.cookies.get(portal.url)!)
      expect(name.length + value.length).toBeLessThan(4000)
  })

  it.each(
    [
      'sso-attempt-=; sso-attempt-x=y; sso-attempt-%00=1',
      `sso-attempt-[]=${'x'.repeat(4000)}`,
      'portal-sso=s%3A; portal-sso=%ff; portal-sso=s%3A..%2f',
      'sso-registration=eyJhbGciOiJkaXIifQ....; __proto__=1; constructor=2; toString=3',
      '=; ;; a; =b; "',
      'sso-last-provider=<script>; sso-last-provider=//evil.example',
      Array.from({ length: 150 }, (_, n) => `sso-attempt-${n}=${'x'.repeat(60)}`).join('; '),
    ].map((cookie) => [cookie.slice(0, 60), cookie]),
  )('may be forged without harm: %s', async (_start, cookie) => {
    await open()
    for (const path of [
      '/login',
      '/login/acme',
      '/login/acme/callback?code=x&state=x',
      '/register',
      '/portal',
    ]) {
      const { status, body } = await raw('GET', path, { cookie })
      expect(status).toBeLessThan(500)
      expect(body).not.toContain('<script>;')
    }
  })
})

describe('line breaks in a request (response splitting)', () => {
  const injected = [
    '%0d%0ax-injected:%201',
    '%0ax-injected:%201',
    '%E5%98%8A%E5%98%8Dx-injected:%201',
    '%c0%8dx-injected:1',
  ]

  it.each(injected)('do not become a header: %s', async (text) => {
    await open()
    const paths = [
      `/login?returnTo=/portal${text}`,
      `/login?email=a@example.com${text}`,
      `/login/acme?returnTo=/portal${text}`,
      `/login/acme?account=other${text}`,
      `/login/${text}`,
      `/login/acme${text}`,
      `/login/acme/callback?code=x&state=${text}`,
      `/login/acme/callback?error=${text}&state=x`,
      `/portal${text}`,
      `/logout?x=${text}`,
    ]
    for (const path of paths) {
      const { status, headers } = await raw('GET', path)
      expect([path, status < 500]).toEqual([path, true])
      expect(headers).not.toHaveProperty('x-injected')
    }
    // For a signed-in user, the deep link is the target of a redirect.
    await signIn(decodeURIComponent(encodeURIComponent('/portal/\r\nx-injected: 1')))
    const { headers } = await raw('GET', `/login?returnTo=/portal${text}`, { cookie: cookieOf(visitor) })
    expect(headers).not.toHaveProperty('x-injected')
  })
})

describe('markup from a provider or a user (XSS)', () => {
  const markup = `"><script>alert(1)</script><img src=x onerror=alert(1)>'<b onclick="x">{{7*7}}<%= 7*7 %>`

  function expectHarmless({ body }: Seen): void {
    expect(body).not.toMatch(/<script(?![^>]*\ssrc="\/login\/assets\/)/)
    expect(body).not.toMatch(/<img src=x|<b onclick|javascript:/i)
    expect(body).not.toMatch(/\s(href|action|src|value|class)="[^"]*<(?!wbr)/)
  }

  it('is shown as text on every page', async () => {
    await open({
      registrationFields: [
        { name: 'team', label: markup.slice(0, 100), type: 'text' },
        { name: 'site', label: 'Site', type: 'select', options: [{ value: markup, label: markup }] },
      ],
      registrationTerms: `/terms?${markup}`,
      branding: { name: 'P <script>', support: markup },
    })
    const encoded = encodeURIComponent(markup)
    await portal.sso.providers.update('acme', { displayName: markup.slice(0, 100) })
    const hostile = new Visitor({
      'accept-language': `${markup}, de;q=0.9`,
      'user-agent': markup,
      referer: markup,
    })
    visitor = hostile
    for (const path of [
      `/login?returnTo=/${encoded}&email=${encoded}&cancelled=${encoded}&x=${encoded}`,
      `/login/${encoded}`,
      `/login/acme/${encoded}`,
      `/login/acme?returnTo=/${encoded}&code=${encoded}`,
      `/login/acme/callback?error=${encoded}&error_description=${encoded}&error_uri=${encoded}&state=${encoded}`,
      `/login/acme/callback?code=${encoded}&state=${encoded}`,
      `/register?x=${encoded}`,
      `/logout?x=${encoded}`,
      `/logout/done?x=${encoded}`,
    ])
      expectHarmless(await visitor.get(portal.url + path))
    // A posted response, which the page repeats as a form.
    const posted = await visitor.post(`${portal.url}/login/acme/callback`, {
      code: markup,
      state: markup,
      [markup]: markup,
    })
    expect(posted.body).toContain('&lt;script&gt;')
    expectHarmless(posted)
    // In each claim of a new user, and in the form fields.
    provider.person = {
      sub: markup,
      email: `"<b>x"@example.com`,
      email_verified: true,
      name: markup,
      sid: markup,
    }
    await visitor.open(`${portal.url}/login/acme?returnTo=/portal?x=${encoded}`)
    provider.person = {
      sub: markup,
      email: 'grace@example.com',
      email_verified: true,
      name: markup,
      sid: markup,
    }
    const form = await visitor.open(`${portal.url}/login/acme?returnTo=/portal?x=${encoded}`)
    expect(form.url).toBe(`${portal.url}/register`)
    expect(form.body).toContain('&lt;script&gt;')
    expectHarmless(form)
    const mistakes = await visitor.post(`${portal.url}/register`, {
      name: `${markup}${'x'.repeat(200)}`,
      'field.team': `${markup}${'x'.repeat(200)}`,
      'field.site': `${markup}x`,
    })
    expect(mistakes.status).toBe(422)
    expectHarmless(mistakes)
    // In the provider's error.
    provider.faults.authorizeError = { error: markup, error_description: markup }
    expectHarmless(await visitor.open(`${portal.url}/login/acme?returnTo=/${encoded}`))
  })
})

describe('an unusual spelling of a path', () => {
  it.each(['/LOGIN', '/login/', '/Login/?x', '/Register', '/LOGOUT/done', '/Account/Security/'])(
    '%s reaches our route, with our headers',
    async (path) => {
      await open()
      expect((await raw('GET', path)).headers['referrer-policy']).toBe('same-origin')
    },
  )

  it.each(['/loginx', '/login.html', '/x/login', '//login', '/%6cogin', '/accounts/security', '/registered'])(
    '%s is a path of the host',
    async (path) => {
      await open()
      const { status, headers } = await raw('GET', path)
      expect([status, headers['referrer-policy']]).toEqual([404, undefined])
    },
  )

  it('of the host enters none of our routes, however many there are', async () => {
    await open()
    const routes = portal.sso.router()
    const { stack } = routes
    const onEnter = jest.fn()
    Object.defineProperty(routes, 'stack', {
      get() {
        onEnter()
        return stack
      },
    })
    portal.app.use('/second', routes)
    // The first request checks the order of all middleware.
    await raw('GET', '/')
    onEnter.mockClear()
    await raw('GET', '/second/portal')
    expect(onEnter).not.toHaveBeenCalled()
    await raw('GET', '/second/login')
    expect(onEnter).toHaveBeenCalled()
  })

  it.each(
    [
      '//login',
      '//login/acme',
      '/login//acme',
      '/./login/acme',
      '/x/../login/acme',
      '/login/acme%2fcallback',
      '/login/acme%2f..%2fother',
      '/login/..%2f..%2fportal',
      '/login/%2e%2e/portal',
      '/login/acme;x=1',
      '/login/acme%00',
      '/login/acme%20',
      '/login/ACME',
      '/login/__proto__',
      '/login/constructor',
      '/login/toString',
      '/login/assets',
      '/login/%E0%A4%A',
      '/login/acme/callback/callback',
      '/login/acme/callback%3fcode=x',
      `/login/${'a'.repeat(8000)}`,
      `/login/acme/callback?${'a=b&'.repeat(1500)}`,
      '/portal/..;/portal',
      'http://[x/login/acme/callback?code=x&state=x',
      'http://:x/login/acme/callback?code=x&state=x',
      'http:///login/acme/callback?code=x&state=x',
      '*',
      '?',
      '/login/acme/callback?code=%ff&state=%ff',
      '/login/acme/callback?%',
    ].map((path) => [path.slice(0, 60), path]),
  )('leads to a page at most: %s', async (_start, path) => {
    await open()
    const { status, headers } = await raw('GET', path)
    expect(status).toBeGreaterThanOrEqual(300)
    expect(status).toBeLessThan(500)
    if (headers.location && !headers.location.startsWith(provider.issuer))
      expect(new URL(headers.location, portal.url).origin).toBe(portal.url)
  })

  it('reaches the same provider, whose response comes to the one configured redirect URI', async () => {
    await open()
    for (const path of ['/login/%61cme', '/login/acme/', '/LOGIN/acme']) {
      const seen = await visitor.get(portal.url + path)
      expect(new URL(seen.location!).searchParams.get('redirect_uri')).toBe(
        `${portal.url}/login/acme/callback`,
      )
    }
    const finished = await startSignIn()
    expect((await visitor.get(finished.href.replace('/login/acme/', '/login/%61cme/'))).status).toBe(303)
    expect(await isSignedIn()).toBe(true)
  })

  it.each([
    '/portal',
    '/PORTAL',
    '/portal/',
    '/portal/../portal',
    '//portal',
    '/%70ortal',
    '/portal%2f',
    '/portal;x',
  ])('does not bypass the guard: %s', async (path) => {
    await open()
    const { status, body } = await raw('GET', path)
    expect([302, 404]).toContain(status)
    expect(body).not.toContain('"user"')
  })

  it.each(['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND'])(
    'with the method %s signs nobody in or out and registers nobody',
    async (method) => {
      await open()
      await signIn()
      const cookie = cookieOf(visitor)
      for (const path of [
        '/login',
        '/login/acme',
        '/login/acme/callback',
        '/register',
        '/logout',
        '/logout/done',
        '/portal',
      ]) {
        const { status, body } = await raw(method, path, { cookie })
        expect([path, status < 500]).toEqual([path, true])
        // An echoing TRACE would show HttpOnly cookies to a script.
        expect(body).not.toContain(cookie)
      }
      expect(await isSignedIn()).toBe(true)
      expect(await users()).toEqual(['ada@example.com'])
    },
  )
})

describe('an oversized request', () => {
  it('with long headers is refused, and the portal still responds', async () => {
    await open()
    expect((await raw('GET', '/login', { 'x-long': 'x'.repeat(20_000) })).status).toBe(431)
    expect((await raw('GET', '/login', { cookie: `a=${'x'.repeat(12_000)}` })).status).toBe(200)
  })

  it.each([
    ['a field', { name: 'x'.repeat(60_000) }, 422],
    ['a body', { name: 'x'.repeat(70_000) }, 400],
    ['fields', Object.fromEntries(Array.from({ length: 150 }, (_, n) => [`f${n}`, 'x'])), 400],
  ])('with too large %s is refused with a page', async (_part, form, status) => {
    await open()
    await toForm()
    const seen = await visitor.post(`${portal.url}/register`, form)
    expect([seen.status, seen.headers.get('content-type')]).toEqual([status, expect.stringContaining('html')])
    expect(await users()).toEqual(['ada@example.com'])
    expect((await visitor.post(`${portal.url}/register`, { name: 'Grace' })).status).toBe(303)
  })

  it.each(['/login/acme/callback', '/logout'])(
    'with a large body at %s is refused with a page',
    async (path) => {
      await open()
      const seen = await visitor.post(portal.url + path, { state: 'x'.repeat(70_000) })
      expect([seen.status, seen.headers.get('content-type')]).toEqual([400, expect.stringContaining('html')])
    },
  )
})

describe('a parameter', () => {
  const post = (path: string, body: string, type = 'application/x-www-form-urlencoded') =>
    fetch(portal.url + path, {
      method: 'POST',
      redirect: 'manual',
      body,
      headers: {
        accept: 'text/html',
        cookie: cookieOf(visitor),
        'content-type': type,
        'sec-fetch-site': 'same-origin',
      },
    })

  it('that appears twice is ignored or refused: no deep link, no name, no response', async () => {
    await open()
    const seen = await visitor.get(`${portal.url}/login?returnTo=/portal/a&returnTo=/portal/b`)
    expect(seen.body).toContain('href="/login/acme"')
    await visitor.get(`${portal.url}/login?email=a@example.com&email=b@example.com`)
    const twice = await startSignIn()
    twice.searchParams.append('state', twice.searchParams.get('state')!)
    expect((await visitor.get(twice.href)).status).toBe(400)
    expect((await post('/login/acme/callback', `code=x&state=a&state=b`)).status).toBe(400)
    await toForm()
    expect((await post('/register', 'name=Grace&name=Mallory')).status).toBe(422)
    expect(await users()).toEqual(['ada@example.com'])
  })

  it.each(['simple', 'extended'])(
    'cannot pollute a prototype, in query, form or field (parser of the host: %s)',
    async (parser) => {
      await open({
        registrationFields: [
          { name: 'constructor', label: 'C' },
          { name: 'phone', label: 'Phone' },
        ],
        mount(app, sso) {
          app.set('query parser', parser)
          app.use(express.urlencoded({ extended: parser === 'extended' }), express.json())
          mountDefault(app, sso)
        },
      })
      const names = ['__proto__[polluted]', 'constructor[prototype][polluted]', '__proto__', 'constructor']
      const query = names.map((name) => `${name}=yes`).join('&')
      for (const path of ['/login', '/login/acme', '/login/acme/callback', '/register', '/logout', '/portal'])
        expect((await visitor.get(`${portal.url}${path}?${query}`)).status).toBeLessThan(500)
      await toForm()
      for (const path of ['/register', '/login/acme/callback']) {
        expect((await post(path, query)).status).toBeLessThan(500)
        const json = `{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}`
        expect((await post(path, json, 'application/json')).status).toBeLessThan(500)
      }
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
      expect(
        (await post('/register', `${query}&name=Grace&field.constructor=c&field.__proto__=p`)).status,
      ).toBe(303)
      const [row] = await portal.knex('sso_users').where({ email: 'grace@example.com' })
      expect(JSON.parse(row.fields)).toEqual({ constructor: 'c', phone: '' })
    },
  )

  it.each([
    ['application/json', '{"name":"Mallory","email":"ceo@example.com"}'],
    ['text/plain', 'name=Mallory'],
    [
      'multipart/form-data; boundary=x',
      '--x\r\ncontent-disposition: form-data; name="name"\r\n\r\nMallory\r\n--x--\r\n',
    ],
    ['application/x-www-form-urlencoded; charset=utf-7', 'name=Mallory'],
    ['application/xml', '<name>Mallory</name>'],
  ])('in a body of type %s is not read', async (type, body) => {
    await open()
    await toForm()
    for (const path of ['/register', '/login/acme/callback', '/logout']) {
      const { status } = await post(path, body, type)
      expect(status).toBeLessThan(500)
    }
    expect(await users()).toEqual(['ada@example.com'])
  })

  it('that is an object, because the host parses JSON first, registers nobody and ends nothing', async () => {
    await open({
      mount(app, sso) {
        app.use(express.json({ strict: false }), express.urlencoded({ extended: true }))
        mountDefault(app, sso)
      },
    })
    await toForm()
    for (const body of [
      '{"name":{"toString":1}}',
      '{"name":["Mallory"]}',
      '[]',
      'null',
      '"name"',
      '42',
      '{"state":{"a":1},"code":["x"]}',
      '{"state":null,"code":1}',
    ])
      for (const path of ['/register', '/login/acme/callback']) {
        const { status } = await post(path, body, 'application/json')
        expect([path, body, status >= 400 && status < 500]).toEqual([path, body, true])
      }
    expect(await users()).toEqual(['ada@example.com'])
  })
})
