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
import { connectRedis } from '../support/redis.ts'
import { useProvider } from '../support/scene.ts'

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
    expect(linksOf(await see('', theirs))).toEqual(['/login/acme', '/login/second'])
    expect(await see('?returnTo=/a', { cookie: 'sso-last-provider=second' })).toMatch(
      /Second[\s\S]*sso-last-used/,
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
})
