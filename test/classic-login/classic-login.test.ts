import { afterEach, describe, expect, it } from '@jest/globals'
import express from 'express'
import request from 'supertest'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'

const provider = await useProvider()
let portal: TestPortal

afterEach(() => portal.close())

async function open(options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortal({
    ...options,
    mount(app, sso) {
      app.use(sso.session())
      app.use(sso.router())
      app.get('/login', (_req, res) => {
        res.send('classic login page')
      })
      app.post(
        '/password-login',
        sso.classicLoginGate(),
        express.urlencoded({ extended: false }),
        (_req, res) => {
          res.send('password accepted')
        },
      )
    },
  })
}

const page = () => request(portal.app).get('/login').set('accept', 'text/html')
const post = () => request(portal.app).post('/password-login').set('accept', 'text/html').send('password=x')

describe('the classic login', () => {
  it('belongs to the host while no provider is enabled', async () => {
    await open()
    await portal.connect(provider, { enabled: false })
    expect((await page()).text).toBe('classic login page')
    expect((await post()).text).toBe('password accepted')
  })

  it('is replaced by the picker when a provider is enabled, and the refusal links to the picker', async () => {
    await open()
    await portal.connect(provider)
    expect((await page()).text).toContain('href="/login/acme"')
    const refused = await post()
    expect(refused.status).toBe(403)
    expect(refused.text).toContain('href="/login"')
    expect(refused.text).not.toContain('password accepted')
  })

  it('is restored when the last provider is disabled', async () => {
    await open()
    await portal.connect(provider)
    await portal.sso.providers.disable('acme')
    expect((await page()).text).toBe('classic login page')
    expect((await post()).text).toBe('password accepted')
  })

  it("of one portal is not replaced by another portal's provider", async () => {
    await open()
    await portal.connect(provider, { portal: 'south' })
    expect((await page()).text).toBe('classic login page')
    expect((await post()).text).toBe('password accepted')
  })

  it('is refused with a JSON problem to clients that accept JSON', async () => {
    await open()
    await portal.connect(provider)
    const { status, body } = await request(portal.app)
      .post('/password-login')
      .set('accept', 'application/json')
    expect([status, (body as { code: string }).code]).toEqual([403, 'classic_login_disabled'])
  })

  it.each(['PORTAL.example', 'portal.example.', 'nobody.example'])(
    'is not opened by the Host header %s if the portal depends on it',
    async (host) => {
      await open({
        portal: (req) => req.hostname,
        baseUrl: { 'portal.example': 'https://portal.example', 'south.example': 'https://south.example' },
      })
      await portal.connect(provider, { portal: 'portal.example' })
      const forwarded = { host, 'x-forwarded-proto': 'https' }
      const refused = await post().set(forwarded)
      expect(refused.status).toBe(400)
      expect(refused.text).not.toContain('password accepted')
      expect((await post().set({ ...forwarded, host: 'portal.example' })).status).toBe(403)
      expect((await post().set({ ...forwarded, host: 'south.example' })).text).toBe('password accepted')
    },
  )

  it('is opened by the break-glass option of the host, and only for the requests that it allows', async () => {
    await open({ classicLogin: { allow: (req) => req.get('x-break-glass') === 'yes' } })
    await portal.connect(provider)
    expect((await page().set('x-break-glass', 'yes')).text).toBe('classic login page')
    expect((await post().set('x-break-glass', 'yes')).text).toBe('password accepted')
    expect((await post()).status).toBe(403)
  })

  it('is opened only if the option returns true', async () => {
    await open({ classicLogin: { allow: (() => 'false') as unknown as () => boolean } })
    await portal.connect(provider)
    expect((await post()).status).toBe(403)
  })

  it('stays closed when the database fails', async () => {
    await open()
    await portal.connect(provider)
    await portal.knex.schema.renameTable('sso_providers', 'gone')
    const refused = await post()
    expect(refused.status).toBeGreaterThanOrEqual(500)
    expect(refused.text).not.toContain('password accepted')
  })
})
