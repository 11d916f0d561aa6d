import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import knexModule from 'knex'
import request from 'supertest'
import { ProvidersTable } from '../../lib/providers/providers-table.ts'
import { Views } from '../../lib/web/pages.ts'
import { everyDatabase } from '../support/databases.ts'
import {
  mountDefault,
  startPortal,
  type TestPortal,
  type TestPortalOptions,
  testSecret,
} from '../support/portal.ts'
import { newProvider, openProvidersTable } from '../support/providers.ts'
import { connectRedis } from '../support/redis.ts'
import { useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
afterEach(async () => {
  jest.restoreAllMocks()
  await portal.close()
})

async function open(options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortal(options)
  await portal.connect(provider)
}

async function see(query = '', headers: Record<string, string> = {}): Promise<string> {
  const { status, text } = await request(portal.app)
    .get(`/login${query}`)
    .set({ accept: 'text/html', ...headers })
  expect(status).toBe(200)
  return text
}

const linksOf = (page: string) =>
  [...page.matchAll(/href="(\/login\/[\w-]+(?:\?[^"]*)?)"/g)].map(([, href]) => href)

function countStatements(): () => number {
  let statements = 0
  portal.knex.on('query', () => statements++)
  return () => statements
}

describe('the cost of the login page', () => {
  it('is one SQL statement, no Redis command and no request to a provider', async () => {
    const client = await connectRedis()
    let commands = 0
    const redis = new Proxy(client, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => {
          commands++
          return Reflect.apply(value, target, given)
        }
      },
    })
    try {
      await open({ redis, rateLimits: {}, session: { prefix: 'picker:' } })
      await see()
      const [requests, statements, before] = [provider.requests.length, countStatements(), commands]
      await see('?returnTo=/portal')
      expect([statements(), commands - before, provider.requests.length - requests]).toEqual([1, 0, 0])
    } finally {
      client.destroy()
    }
  })
})

describe('the cached login page', () => {
  it('is rendered once, whatever visitors send', async () => {
    await open()
    await see()
    const render = jest.spyOn(Views.prototype, 'render')
    for (let n = 0; n < 30; n++) {
      const headers = {
        host: `${n}.example`,
        'x-forwarded-host': `${n}.example`,
        'accept-language': `x${n}, en`,
        cookie: `sso-last-provider=${n}; other=${n}`,
        'user-agent': `agent ${n}`,
      }
      await see(`?returnTo=/${n}&n=${n}&max_age=${n}&acr_values[]=${n}`, headers)
    }
    // With `max_age`, the page has no notice for visitors without a session.
    expect(render).not.toHaveBeenCalled()
  })

  it('gives a visitor nothing of another visitor', async () => {
    await open()
    await portal.connect(provider, { slug: 'second', displayName: 'Second' })
    const theirs = {
      cookie: 'sso-last-provider=second; sso-signed-out=1; sso-registration=1',
      'accept-language': 'de',
    }
    const response = await request(portal.app)
      .get('/login?returnTo=/secret&max_age=60&acr_values=mfa&cancelled=registration')
      .set({ accept: 'text/html', ...theirs })
    expect(response.text).toContain('returnTo=%2Fsecret&amp;max_age=60&amp;acr_values=mfa')
    expect(response.text).toMatch(/<html lang="de"/)
    expect(response.headers['set-cookie']).toBeDefined()
    const ours = await request(portal.app).get('/login').set('accept', 'text/html')
    expect(ours.text).not.toMatch(/secret|max_age|acr_values|sso-last-used|sso-notice|<html lang="de"/)
    expect(ours.headers).not.toHaveProperty('set-cookie')
    expect(linksOf(ours.text)).toEqual(['/login/acme', '/login/second'])
    expect(linksOf(await see('', theirs))).toEqual(['/login/second', '/login/acme'])
    expect(await see('?returnTo=/a', { cookie: 'sso-last-provider=second' })).toMatch(
      /sso-last-used[\s\S]*Second[\s\S]*<\/section>/,
    )
  })

  it('escapes the query of each visitor', async () => {
    await open()
    for (const returnTo of ['/"><script>', "/'&lt;$&$1$`", '/?a=b&c=d#e']) {
      const [link = ''] = linksOf(await see(`?returnTo=${encodeURIComponent(returnTo)}`))
      const { searchParams } = new URL(link.replaceAll('&amp;', '&'), portal.url)
      expect(decodeURI(searchParams.get('returnTo')!)).toBe(returnTo)
      expect(link).not.toMatch(/[<>']/)
    }
  })

  it('belongs to the providers of its portal', async () => {
    await open({ portal: (req) => String(req.headers['x-portal'] ?? 'default') })
    await portal.connect(provider, { portal: 'north', slug: 'north', displayName: 'Acme' })
    expect(linksOf(await see('', { 'x-portal': 'north' }))).toEqual(['/login/north'])
    expect(linksOf(await see())).toEqual(['/login/acme'])
    const [north, south] = await Promise.all([see('', { 'x-portal': 'north' }), see()])
    expect([north, south].map(linksOf)).toEqual([['/login/north'], ['/login/acme']])
  })

  it('follows every change of a row at once', async () => {
    await open()
    const { providers } = portal.sso
    await portal.connect(provider, { slug: 'second', displayName: 'Second' })
    expect(linksOf(await see())).toEqual(['/login/acme', '/login/second'])
    await providers.recommend('second')
    expect(linksOf(await see())).toEqual(['/login/second', '/login/acme'])
    expect(await see()).toContain('sso-badge')
    await providers.recommend('acme')
    expect(linksOf(await see())).toEqual(['/login/acme', '/login/second'])
    await portal.knex('sso_providers').update({ recommended: false })
    await providers.reorder(['second', 'acme'])
    expect(linksOf(await see())).toEqual(['/login/second', '/login/acme'])
    await providers.update('second', { displayName: 'Renamed <b>' })
    expect(await see()).toContain('Renamed &lt;b&gt;')
    await portal
      .knex('sso_providers')
      .where({ slug: 'second' })
      .update({ retire_at: '2999-01-02T00:00:00.000Z' })
    expect(await see()).toContain('sso-until')
    await portal
      .knex('sso_providers')
      .where({ slug: 'second' })
      .update({ retire_at: '2020-01-02T00:00:00.000Z' })
    expect(linksOf(await see())).toEqual(['/login/acme'])
    await portal.knex('sso_providers').where({ slug: 'acme' }).update({ enabled: false })
    expect((await request(portal.app).get('/login').set('accept', 'text/html')).status).toBe(404)
  })

  it('is not used with templates of the host, which may depend on anything', async () => {
    const viewsDir = mkdtempSync(path.join(tmpdir(), 'views-'))
    mkdirSync(path.join(viewsDir, 'partials'))
    writeFileSync(path.join(viewsDir, 'partials', 'foot.ejs'), '<%= providers.map((each) => each.href) %>')
    try {
      await open({ viewsDir })
      const render = jest.spyOn(Views.prototype, 'render')
      expect(await see('?returnTo=/one')).toContain('/login/acme?returnTo=%2Fone')
      expect(await see('?returnTo=/two')).not.toContain('one')
      expect(render).toHaveBeenCalledTimes(2)
    } finally {
      rmSync(viewsDir, { recursive: true })
    }
  })

  it('has the headers that pages have without it, and none of the host’s fingerprint', async () => {
    await open({
      mount(app, sso) {
        app.use((_req, res, next) => {
          res.setHeader('content-security-policy', "script-src 'nonce-of-the-host'")
          next()
        })
        mountDefault(app, sso)
      },
    })
    for (let n = 0; n < 2; n++) {
      const { headers } = await request(portal.app).get('/login').set('accept', 'text/html')
      expect(headers['content-security-policy']).toContain("default-src 'none'")
      expect(headers['content-security-policy']).not.toContain('nonce')
      expect(headers).toMatchObject({ 'x-frame-options': 'DENY', 'content-type': 'text/html; charset=utf-8' })
      expect(headers).not.toHaveProperty('x-powered-by')
    }
  })
})

const post = async (query: string, email: string, headers: Record<string, string> = {}) =>
  await request(portal.app)
    .post(`/login?by=email${query}`)
    .type('form')
    .set({ accept: 'text/html', 'sec-fetch-site': 'same-origin', ...headers })
    .send({ email })

const insert = async (slug: string, more: Parameters<typeof newProvider>[0] = {}) =>
  await openProvidersTable(portal.knex).insert(
    newProvider({ slug, displayName: slug.toUpperCase(), enabled: true, ...more }),
  )

describe('the login page that asks for the e-mail address', () => {
  const isEmailPage = (page: string) => page.includes('id="field-email"')

  it('comes first with more than eight providers, or as the option says, and links to the list, which links back', async () => {
    await open()
    for (let n = 2; n <= 8; n++) await insert(`p${n}`)
    expect(linksOf(await see())).toHaveLength(8)
    await insert('p9')
    const first = await see('?returnTo=/portal&max_age=60')
    expect(isEmailPage(first)).toBe(true)
    expect(first).toContain('action="/login?by=email&amp;returnTo=%2Fportal&amp;max_age=60"')
    expect(first).toContain('href="/login?by=list&amp;returnTo=%2Fportal&amp;max_age=60"')
    expect(await see()).toContain('href="/login?by=list"')
    const list = await see('?by=list&returnTo=/portal')
    expect(linksOf(list)).toHaveLength(9)
    expect(list).toContain('href="/login?by=email&amp;returnTo=%2Fportal"')
    await portal.close()
    await open({ picker: { mode: 'email' } })
    expect(isEmailPage(await see())).toBe(true)
    await portal.close()
    await open({ picker: { mode: 'list' } })
    for (let n = 2; n <= 9; n++) await insert(`p${n}`)
    expect(linksOf(await see())).toHaveLength(9)
  })

  it('opens the provider of the domain, with the address as login hint', async () => {
    await open({ picker: { mode: 'email' } })
    await insert('north', { emailDomains: ['north.example'] })
    const { status, text } = await post('&returnTo=/portal&acr_values=mfa', ' Ada@NORTH.example ')
    expect(status).toBe(200)
    expect(text).toContain(
      'url=/login/north?returnTo=%2Fportal&amp;acr_values=mfa&amp;login_hint=ada%40north.example"',
    )
    // In case the provider does not respond.
    expect(text).toContain('href="/login?by=list&amp;returnTo=%2Fportal')
  })

  it('shows the same page if no provider serves the domain, and if several do', async () => {
    await open()
    await insert('one', { emailDomains: ['two.example'] })
    await insert('two', { emailDomains: ['two.example', 'elsewhere.example.org'] })
    const pages = await Promise.all(
      ['ada@two.example', 'ada@elsewhere.example', 'ada@sub.two.example'].map(async (email) => {
        const { headers, status } = await post('&returnTo=/portal', email)
        expect(status).toBe(303)
        const page = await see(headers.location!.replace('/login', ''))
        expect(page).toContain('We can’t tell from your e-mail address how you sign in.')
        return page.replaceAll(encodeURIComponent(email), 'the address')
      }),
    )
    expect(new Set(pages).size).toBe(1)
    expect(linksOf(pages[0]!)).toHaveLength(3)
  })

  it('asks again for what is no address', async () => {
    await open()
    for (const wrong of ['ada', '', 'a@b', '"><script>@x.example']) {
      const { status, text } = await post('&returnTo=/portal', wrong)
      expect(status).toBe(422)
      expect(text).toContain('aria-invalid="true"')
      expect(text).toContain('/login?by=email&amp;returnTo=%2Fportal"')
      expect(text).not.toContain('"><script>')
    }
  })

  it('looks up no user, and sends one statement', async () => {
    await open()
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    const sent: string[] = []
    portal.knex.on('query', ({ sql }: { sql: string }) => void sent.push(sql))
    for (const email of ['ada@example.com', 'nobody@example.com']) await post('', email)
    expect(sent).toHaveLength(2)
    expect(sent.filter((sql) => !sql.includes('sso_providers'))).toEqual([])
    expect(sent[0]).toBe(sent[1])
  })

  it('refuses posts of other sites, limits them like starts, and leaves the host’s own form alone', async () => {
    await open({ rateLimits: { start: 3 } })
    portal.app.post('/login', (_req, res) => void res.send('the host’s own'))
    expect((await post('', 'ada@example.com', { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    for (let n = 0; n < 2; n++) expect((await post('', 'ada@example.com')).status).toBe(303)
    expect((await post('', 'ada@example.com')).status).toBe(429)
    const own = await request(portal.app).post('/login').type('form').send({ email: 'ada@example.com' })
    expect(own.text).toBe('the host’s own')
  })

  it('is filled in with `?email=`, which every start gets as login hint', async () => {
    await open({ picker: { mode: 'email' } })
    expect(await see('?email=Ada@Example.com')).toContain('value="ada@example.com"')
    expect(linksOf(await see('?by=list&email=ada@example.com'))).toEqual([
      '/login/acme?login_hint=ada%40example.com',
    ])
    expect(await see()).not.toContain('ada@example.com')
  })
})

describe('a hidden provider', () => {
  it('is found by an e-mail address of its domains only', async () => {
    await open()
    await insert('customer', { emailDomains: ['customer.example'], showOnPicker: false })
    expect(linksOf(await see())).toEqual(['/login/acme'])
    expect(await see()).toContain('href="/login?by=email"')
    expect(linksOf(await see('?q=customer'))).not.toContain('/login/customer')
    expect((await post('', 'ada@customer.example')).text).toContain('url=/login/customer?')
    const found = linksOf(await see('?email=ada@customer.example'))
    expect(found[0]).toBe('/login/customer?login_hint=ada%40customer.example')
  })

  it('is offered as another way to sign in only to users with an address of its domains', async () => {
    await open({ mailer: async () => {} })
    await insert('customer', { emailDomains: ['customer.example'], showOnPicker: false })
    const offered = async (email: string) => {
      provider.person = { ...provider.person, email, email_verified: false }
      return linksOf((await new Visitor().open(`${portal.url}/login/acme`)).body).join()
    }
    expect(await offered('ada@customer.example')).toContain('/login/customer?')
    expect(await offered('ada@elsewhere.example')).not.toContain('/login/customer')
    provider.person = { ...provider.person, email_verified: true }
    await portal.sso.users.create({ email: 'ada@elsewhere.example', name: 'Ada', fields: {} })
    const visitor = new Visitor()
    const { body } = await visitor.open(`${portal.url}/login/acme?returnTo=/account/security/add`)
    expect(body).toContain('value="acme"')
    expect(body).not.toContain('value="customer"')
  })

  it('is shown to a browser that used it last', async () => {
    await open()
    await insert('customer', { emailDomains: ['customer.example'], showOnPicker: false })
    const links = linksOf(await see('', { cookie: 'sso-last-provider=customer' }))
    expect(links).toEqual(['/login/customer', '/login/acme'])
  })

  it('precedes the listed ones of its domain, and others that are hidden', async () => {
    await open()
    await insert('listed', { emailDomains: ['customer.example'] })
    await insert('first', { emailDomains: ['customer.example'], showOnPicker: false })
    await insert('second', { emailDomains: ['customer.example'], showOnPicker: false })
    expect((await post('', 'ada@customer.example')).text).toContain('url=/login/first?')
  })

  it('that is the only one leaves a page that asks for the e-mail address, also after a wrong one', async () => {
    portal = await startPortal()
    await insert('customer', { emailDomains: ['customer.example'], showOnPicker: false })
    expect(linksOf(await see())).toEqual([])
    const { headers } = await post('', 'ada@elsewhere.example')
    const page = await see(headers.location!.replace('/login', ''))
    expect(page).toContain('We can’t tell from this address how you sign in.')
    expect(page).toContain('value="ada@elsewhere.example"')
    expect(page).not.toContain('href="/login?by=list')
  })
})

describe('with `skipSingle`, the login page', () => {
  const start = async (query = '', cookie = '') => {
    const { headers, status } = await request(portal.app)
      .get(`/login${query}`)
      .set({ accept: 'text/html', cookie })
    return { status, location: headers.location, cookies: headers['set-cookie'] as unknown as string[] }
  }

  it('opens the only provider', async () => {
    await open({ picker: { skipSingle: true } })
    expect(await start('?returnTo=/portal&max_age=60&email=ada@example.com')).toMatchObject({
      status: 302,
      location: '/login/acme?returnTo=%2Fportal&max_age=60&login_hint=ada%40example.com',
    })
    expect((await start('?lang=de')).cookies.join()).toContain('sso-language=de;')
    await insert('hidden', { showOnPicker: false })
    expect((await start()).status).toBe(200)
  })

  it('is shown after a sign-out, an error or a cancellation, and where it explains something', async () => {
    await open({ picker: { skipSingle: true } })
    for (const query of ['?acr_values=mfa', '?cancelled=registration', '?by=list', '?by=email'])
      expect([query, (await start(query)).status]).toEqual([query, 200])
    expect((await start('', 'sso-signed-out=1')).status).toBe(200)
    const visitor = new Visitor()
    provider.faults.authorizeError = { error: 'access_denied' }
    const refused = await visitor.open(`${portal.url}/login`)
    const [, another = ''] = /href="(\/login(?:\?[^"]*)?)"/.exec(refused.body) ?? []
    expect((await visitor.get(portal.url + another)).status).toBe(200)
  })

  it('stops the loop of a host that sends a signed-in user back to it', async () => {
    await open({
      picker: { skipSingle: true },
      mount(app, sso) {
        app.use(sso.session(), sso.router())
        // The host refuses everybody.
        app.use('/', (req, res) => req.logout(() => void res.redirect('/login')))
      },
    })
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    const seen = await new Visitor().open(`${portal.url}/login`)
    expect([seen.status, seen.url]).toEqual([200, `${portal.url}/login`])
    expect(linksOf(seen.body)).toEqual(['/login/acme'])
  })
})

describe.each(everyDatabase)('the list of the login page in %s', (_name, fresh) => {
  it('is read once for all requests of a turn, after they have arrived, and contains every change', async () => {
    const database = await fresh()
    const knex = knexModule(database.config)
    try {
      await open({ database: knex })
      const table = new ProvidersTable({ knex }, { secrets: [testSecret], secretReferences: {} })
      const statements = countStatements()
      const [first, second, other] = await Promise.all(
        ['default', 'default', 'north'].map((name) => table.listForPicker(name)),
      )
      expect(statements()).toBe(2)
      expect(second).toBe(first)
      expect(other).toEqual([])
      const [acme] = await table.listEnabled('default')
      expect(acme).toMatchObject({ ...first?.[0] })
      const joined = [table.listForPicker('default')]
      await knex('sso_providers').update({ display_name: 'Changed' })
      joined.push(table.listForPicker('default'))
      expect((await joined[1])?.[0]?.displayName).toBe('Changed')
      await joined[0]
      await knex.schema.renameTable('sso_providers', 'gone')
      await expect(table.listForPicker('default')).rejects.toThrow()
      await knex.schema.renameTable('gone', 'sso_providers')
      expect(await table.listForPicker('default')).toHaveLength(1)
    } finally {
      await knex.destroy()
      await database.drop()
    }
  })

  it('and so is the state of a provider, for starts and authorization responses', async () => {
    const database = await fresh()
    const knex = knexModule(database.config)
    try {
      await open({ database: knex })
      const table = new ProvidersTable({ knex }, { secrets: [testSecret], secretReferences: {} })
      const statements = countStatements()
      const slugs = ['acme', 'acme', 'other']
      const [first, second, other] = await Promise.all(slugs.map((slug) => table.findState('default', slug)))
      expect(await table.findState('north', 'acme')).toBeUndefined()
      expect(statements()).toBe(3)
      expect(first).toMatchObject({ enabled: true, version: 1 })
      expect(second).toEqual(first)
      expect(other).toBeUndefined()
      const joined = [table.findState('default', 'acme')]
      await knex('sso_providers').update({ enabled: false })
      joined.push(table.findState('default', 'acme'))
      expect((await joined[1])?.enabled).toBe(false)
      await joined[0]
      await knex.schema.renameTable('sso_providers', 'gone')
      await expect(table.findState('default', 'acme')).rejects.toThrow()
      await knex.schema.renameTable('gone', 'sso_providers')
      expect((await table.findState('default', 'acme'))?.enabled).toBe(false)
    } finally {
      await knex.destroy()
      await database.drop()
    }
  })
})
