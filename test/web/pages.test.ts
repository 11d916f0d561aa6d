import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, describe, expect, it } from '@jest/globals'
import express, { type Request } from 'express'
import knexModule from 'knex'
import request from 'supertest'
import { Seal } from '../../lib/shared/seal.ts'
import { Locales } from '../../lib/web/locale.ts'
import { Views } from '../../lib/web/pages.ts'
import { cookieCore } from '../support/cookie-core.ts'
import { everyDatabase } from '../support/databases.ts'
import {
  mountDefault,
  startPortal,
  type TestPortal,
  type TestPortalOptions,
  testSecret,
} from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'

const provider = await useProvider()
let portal: TestPortal

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  await portal.close()
  for (const close of closing.splice(0)) await close()
})

async function open(options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortal(options)
  await portal.connect(provider)
}

const get = (address: string) => request(portal.app).get(address).set('accept', 'text/html')

/** Posts half a form, aborts, and waits for the log line. */
async function abortPost(path: string): Promise<void> {
  const logged = portal.logs.length
  const { hostname, port } = new URL(portal.url)
  const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': 100 }
  const post = httpRequest({ hostname, port, path, method: 'POST', headers })
  post.on('error', () => {})
  await new Promise<void>((resolve) => {
    post.write('state=', () => resolve())
  })
  // The server now waits for the rest of the form.
  await get('/login')
  post.destroy()
  while (portal.logs.length === logged) await new Promise((resolve) => setTimeout(resolve, 10))
}

describe('every page', () => {
  it('has its length, but no ETag, because no cache stores it', async () => {
    await open()
    const { headers, text } = await get('/login')
    expect(headers['cache-control']).toContain('no-store')
    expect(headers).not.toHaveProperty('etag')
    expect(Number(headers['content-length'])).toBe(Buffer.byteLength(text))
    const head = await request(portal.app).head('/login').set('accept', 'text/html')
    expect([head.status, head.headers['content-length']]).toEqual([200, headers['content-length']])
  })

  it.each(['/login', '/login/nope', '/register', '/logout/done'])(
    '%s has no inline code, and forbids framing, referrers and caching',
    async (address) => {
      await open()
      const { headers, text } = await get(address)
      const policy = headers['content-security-policy']!
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("form-action 'self'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toContain('unsafe')
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'referrer-policy': 'same-origin',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
      })
      expect(text).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:/i)
    },
  )

  it('has an icon, so that no browser requests /favicon.ico from the host', async () => {
    const views = path.resolve(import.meta.dirname, '../../views')
    const folders = [views, path.join(views, 'admin')]
    const templates = folders.flatMap((folder) =>
      readdirSync(folder).flatMap((name) => (name.endsWith('.ejs') ? path.join(folder, name) : [])),
    )
    expect(templates.length).toBeGreaterThan(20)
    for (const template of templates)
      expect(readFileSync(template, 'utf8')).toMatch(/include\('(admin\/)?partials\/head'/)
    await open({
      mount(app, sso) {
        mountDefault(app, sso)
        app.use('/admin/sso', sso.admin({ authorize: () => true }))
      },
    })
    for (const address of ['/login', '/admin/sso/']) {
      const { text } = await get(address)
      const [, icon] = /<link rel="icon" href="([^"]+)"/.exec(text)!
      if (icon!.startsWith('data:')) expect(icon).toMatch(/^data:image\/svg\+xml,%3Csvg /)
      else expect((await get(icon!)).status).toBe(200)
    }
    const bare = express().use(portal.sso.router())
    expect((await request(bare).get('/favicon.ico')).status).toBe(404)
  })

  it('is in the reader’s language, else in English', async () => {
    await open()
    const german = await get('/login').set('accept-language', 'de-CH,de;q=0.9,en;q=0.5')
    expect(german.text).toContain('<html lang="de"')
    expect((await get('/login').set('accept-language', 'xx')).text).toContain('<html lang="en"')
  })

  it('has the portal’s name, logos, stylesheet, support contact and links, and the policy allows exactly these', async () => {
    await open({
      branding: {
        name: 'Acme & Söhne',
        logo: 'https://cdn.example/logo.svg',
        logoDark: 'https://dark.example/logo.svg',
        stylesheet: '/brand.css',
        support: 'it@acme.example',
        links: [
          { label: { en: 'Imprint', de: 'Impressum' }, href: '/imprint' },
          { label: 'Privacy', href: 'https://acme.example/privacy' },
        ],
      },
    })
    const { text, headers } = await get('/login')
    expect(text).toContain('Acme &amp; Söhne')
    expect(text).toContain('src="https://cdn.example/logo.svg"')
    expect(text).toContain(
      '<source srcset="https://dark.example/logo.svg" media="(prefers-color-scheme: dark)">',
    )
    expect(text).toContain('href="/brand.css"')
    expect(text).toContain('<a href="mailto:it@acme.example">it@acme.example</a>')
    expect(text).toContain('<a href="/imprint">Imprint</a>')
    expect(text).toContain('<a href="https://acme.example/privacy">Privacy</a>')
    expect(headers['content-security-policy']).toContain(
      "img-src 'self' data: https://cdn.example https://dark.example;",
    )
    const german = await get('/login').set('accept-language', 'de')
    expect(german.text).toContain('<a href="/imprint">Impressum</a>')
    expect((await get('/login').set('accept-language', 'fr')).text).toContain(
      '<a href="/imprint">Imprint</a>',
    )
  })

  it.each([
    ['+49 (30) 123 456', '<a href="tel:+4930123456">+49 (30) 123 456</a>'],
    ['tel:+4930123456', '<a href="tel:+4930123456">+4930123456</a>'],
    ['https://help.acme.example', '<a href="https://help.acme.example">help.acme.example</a>'],
    ['a?cc=eve@acme.example', '<a href="mailto:a%3Fcc%3Deve@acme.example">a?cc=eve@acme.example</a>'],
    ['your IT department', '<bdi>your IT department</bdi>'],
    ['javascript:alert(1)', '<bdi>javascript:alert(1)</bdi>'],
  ])(
    'shows the support contact %s as a link where it is an address, a number or a URL',
    async (support, html) => {
      await open({ branding: { support } })
      expect((await get('/login')).text).toContain(html)
    },
  )

  it('has the accent colour in its one stylesheet, without inline styles, and a warning where its contrast is too low', async () => {
    await open({ branding: { accent: '#ffd400' } })
    const { text } = await get('/login')
    const stylesheets = [...text.matchAll(/<link rel="stylesheet" href="([^"]+)"/g)].map(([, href]) => href!)
    expect(stylesheets).toHaveLength(1)
    expect(text).not.toContain('#ffd400')
    const { text: css, headers } = await request(portal.app).get(stylesheets[0]!)
    expect(css).toMatch(/\.sso-card \{[\s\S]+--sso-accent:#ffd400;--sso-on-accent:#000000/)
    expect(headers['content-type']).toBe('text/css; charset=utf-8')
    expect(headers['cache-control']).toBe('private, max-age=31536000, immutable')
    expect(portal.logs).toContainEqual({
      level: 'warn',
      message: expect.stringMatching(/^branding.accent: its contrast on light pages is too low/),
      fields: { accent: '#ffd400', text: expect.stringMatching(/^#[0-9a-f]{6}$/) },
    })
    await portal.close()
    await open({ branding: { accent: '#7a1f5c' } })
    expect((await get('/login')).text).not.toContain(stylesheets[0])
    expect(JSON.stringify(portal.logs)).not.toContain('branding.accent')
  })

  it("can be replaced by the host's own template, or by a single partial", async () => {
    const viewsDir = mkdtempSync(path.join(tmpdir(), 'views-'))
    mkdirSync(path.join(viewsDir, 'partials'))
    writeFileSync(
      path.join(viewsDir, 'partials', 'foot.ejs'),
      '</main><p>our own foot</p></div></div></body></html>',
    )
    writeFileSync(
      path.join(viewsDir, 'signed-out.ejs'),
      "<%- include('partials/head', { title: 'x' }) %>our own page",
    )
    await open({ viewsDir })
    expect((await get('/login')).text).toContain('our own foot')
    expect((await get('/logout/done')).text).toContain('our own page')
    rmSync(viewsDir, { recursive: true })
  })

  it('has no partials of another portal in the same process', async () => {
    const viewsDir = mkdtempSync(path.join(tmpdir(), 'views-'))
    mkdirSync(path.join(viewsDir, 'partials'))
    writeFileSync(path.join(viewsDir, 'partials', 'foot.ejs'), 'the foot of Acme')
    await open({ viewsDir })
    expect((await get('/login')).text).toContain('the foot of Acme')
    await portal.close()
    await open()
    expect((await get('/login')).text).not.toContain('the foot of Acme')
    rmSync(viewsDir, { recursive: true })
  })

  it('shows administrators’ texts as text', async () => {
    await open()
    await portal.sso.providers.update('acme', { displayName: '<b onclick=x>Acme</b>' })
    expect((await get('/login')).text).not.toContain('<b onclick')
  })
})

describe('the templates and texts', () => {
  it('are looked up again for each page, except in production', async () => {
    portal = await startPortal()
    const folder = mkdtempSync(path.join(tmpdir(), 'views-'))
    const environment = process.env.NODE_ENV
    try {
      writeFileSync(path.join(folder, 'note.ejs'), 'the host’s')
      const [developed, deployed] = [new Views(folder), new Views(folder)]
      expect(await developed.render('note', {})).toBe('the host’s')
      process.env.NODE_ENV = 'production'
      expect(await deployed.render('note', {})).toBe('the host’s')
      rmSync(folder, { recursive: true })
      expect(await deployed.render('note', {})).toBe('the host’s')
      process.env.NODE_ENV = environment
      await expect(developed.render('note', {})).rejects.toThrow('there is no view "note"')
    } finally {
      process.env.NODE_ENV = environment
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('are kept for each language, and only without parameters', async () => {
    portal = await startPortal()
    const locales = new Locales(cookieCore(new Seal([testSecret], 'x')), { locales: {}, defaultLocale: 'en' })
    const inLanguage = (lang: string) =>
      locales.resolve(
        Object.assign(Object.create(express.request), {
          url: '/',
          headers: { 'accept-language': lang },
        }) as Request,
      )
    for (let round = 0; round < 2; round++) {
      expect(inLanguage('en').t('picker.pageTitle')).toBe('Sign in')
      expect(inLanguage('de').t('picker.pageTitle')).toBe('Anmelden')
      for (const provider of ['North', 'South'])
        expect(inLanguage('en').t('picker.signInWith', { provider })).toContain(provider)
      expect(inLanguage('en').t('no.such.key')).toBe('no.such.key')
    }
  })
})

describe('assets', () => {
  it('are cached for a year, under a URL that changes with their content', async () => {
    await open()
    const [, href] = /href="([^"]*portal-sso\.css[^"]*)"/.exec((await get('/login')).text)!
    const { status, headers } = await get(href!.replaceAll('&amp;', '&'))
    expect(status).toBe(200)
    expect(headers['cache-control']).toBe('private, max-age=31536000, immutable')
    expect(headers['content-type']).toContain('text/css')
  })

  it.each([
    '/login/assets/../../package.json',
    '/login/assets/%2e%2e/picker.ejs',
    '/login/assets/..%2fpicker.ejs',
  ])('%s is not found', async (address) => {
    await open()
    const { status, text } = await get(address)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(text).not.toContain('<%')
  })
})

describe('a failure', () => {
  it('of the database causes status 503 with a page and Retry-After, and the cause is only in the log', async () => {
    await open()
    await portal.knex.destroy()
    const { status, headers, text } = await get('/login')
    expect(status).toBeGreaterThanOrEqual(500)
    expect(text).not.toMatch(/knex|sqlite|acquire/i)
    expect(headers['content-type']).toContain('text/html')
    portal.knex.initialize()
  })

  it('offers the step that can work, and repeats no code of its URL', async () => {
    await open({
      mount(app, sso) {
        app.use(sso.session(), (req, _res, next) => {
          if (req.query.user === undefined) return next()
          Object.assign(req, { user: { id: '1' } })
          next()
        })
        app.use(sso.router())
      },
    })
    await portal.knex.destroy()
    const steps = async (sent: request.Test) =>
      [
        ...(await sent.set('accept', 'text/html')).text.matchAll(
          /<a class="sso-button[^"]*" href="([^"]*)">([^<]*)</g,
        ),
      ].map(([, href, label]) => `${label} ${href}`)
    const choose = 'Choose a sign-in service /login'
    expect(await steps(get('/login?q=secret'))).toEqual(['Try again ', choose])
    const post = (path: string) => request(portal.app).post(path).set('sec-fetch-site', 'cross-site')
    expect(await steps(post('/account/security/end'))).toEqual(['Back /account/security', choose])
    expect(await steps(post('/register'))).toEqual(['Back /register', choose])
    expect(await steps(post('/logout?user'))).toEqual(['Back /logout', 'Back to Portal /'])
    portal.knex.initialize()
  })

  it('shows an icon, the time in UTC, and what to copy beside the reference', async () => {
    await open()
    const { text } = await get('/login/acme/callback?state=x&code=secret-code')
    const [, reference] = /<code>(\w{8})<\/code>/.exec(text)!
    expect(text).toMatch(/sso-severity-pause"><svg[^>]* aria-hidden="true"/)
    expect(text).toMatch(
      /<time datetime="\d{4}-[\d-]+T[\d:.]+Z" data-local>\w+ \d+, \d{4}, [\d:]+.[AP]M UTC</,
    )
    expect(text).toMatch(new RegExp(`data-copy="[^"]*Reference: ${reference}\\n`))
    expect(text).not.toContain('secret-code')
  })

  it.each(everyDatabase)(
    'caused by a malformed request shows a page, and the process keeps running (%s)',
    async (_name, fresh) => {
      const database = await fresh()
      const knex = knexModule(database.config)
      closing.push(() => knex.destroy(), database.drop)
      await open({ database: knex })
      for (const address of [
        '/login/%ff',
        '/login/%00',
        '/login/%00/callback?code=x&state=x',
        `/login/${'x'.repeat(5000)}`,
        '/login?returnTo[a]=1',
        '/login?email=%00',
      ])
        expect((await get(address)).status).toBeLessThan(500)
      const huge = await request(portal.app)
        .post('/login/acme/callback')
        .type('form')
        .send(`state=${'x'.repeat(100_000)}`)
      expect(huge.status).toBe(400)
      await abortPost('/login/acme/callback')
      expect(portal.logs.at(-1)).toMatchObject({ level: 'warn', fields: { code: 'request_invalid' } })
      expect((await get('/login')).status).toBe(200)
    },
  )
})

describe('the text of a problem', () => {
  const afterAWhile: Record<string, RegExp> = {
    ar: /بعد بضع دقائق/,
    de: /in einigen Minuten/,
    en: /in a few minutes/,
    es: /dentro de unos minutos/,
    fr: /dans quelques minutes/,
    it: /tra qualche minuto/,
    nl: /over enkele minuten/,
    pl: /za kilka minut/,
    pt: /dentro de alguns minutos/,
  }
  const files = readdirSync(path.resolve(import.meta.dirname, '../../views/locales'))
    .map((file) => path.parse(file))
    .filter(({ ext }) => ext === '.json')

  it.each(files.map(({ name }) => name))('asks to wait only where that can help: %s', async (name) => {
    await open()
    const file = path.resolve(import.meta.dirname, '../../views/locales', `${name}.json`)
    const { problems } = JSON.parse(readFileSync(file, 'utf8')) as {
      problems: Record<string, { sentence: string }>
    }
    const waits = Object.entries(problems).filter(([, { sentence }]) => afterAWhile[name]!.test(sentence))
    expect(waits.map(([code]) => code).sort()).toEqual(['linking_failed', 'provider_unavailable'])
  })
})
