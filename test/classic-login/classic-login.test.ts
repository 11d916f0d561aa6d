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
          res.send('password taken')
        },
      )
    },
  })
}

const page = () => request(portal.app).get('/login').set('accept', 'text/html')
const post = () => request(portal.app).post('/password-login').set('accept', 'text/html').send('password=x')

describe('the classic login', () => {
  it('falls through to the host while no provider is enabled', async () => {
    await open()
    await portal.connect(provider, { enabled: false })
    expect((await page()).text).toBe('classic login page')
    expect((await post()).text).toBe('password taken')
  })

  it('is replaced as soon as one is enabled: the picker, and a refusal that leads there', async () => {
    await open()
    await portal.connect(provider)
    expect((await page()).text).toContain('href="/login/acme"')
    const refused = await post()
    expect(refused.status).toBe(403)
    expect(refused.text).toContain('href="/login"')
    expect(refused.text).not.toContain('password taken')
  })

  it('is back when the last one is disabled', async () => {
    await open()
    await portal.connect(provider)
    await portal.sso.providers.disable('acme')
    expect((await page()).text).toBe('classic login page')
    expect((await post()).text).toBe('password taken')
  })

  it("of one portal is not replaced by another portal's provider", async () => {
    await open()
    await portal.connect(provider, { portal: 'south' })
    expect((await page()).text).toBe('classic login page')
    expect((await post()).text).toBe('password taken')
  })

  it('is refused to clients that want JSON with a problem', async () => {
    await open()
    await portal.connect(provider)
    const { status, body } = await request(portal.app)
      .post('/password-login')
      .set('accept', 'application/json')
    expect([status, (body as { code: string }).code]).toEqual([403, 'classic_login_disabled'])
  })

  it.each(['PORTAL.example', 'portal.example.', 'nobody.example'])(
    'is not opened by the Host %s if the portal depends on the host',
    async (host) => {
      await open({
        portal: (req) => req.hostname,
        baseUrl: { 'portal.example': 'https://portal.example', 'south.example': 'https://south.example' },
      })
      await portal.connect(provider, { portal: 'portal.example' })
      const forwarded = { host, 'x-forwarded-proto': 'https' }
      const refused = await post().set(forwarded)
      expect(refused.status).toBe(400)
      expect(refused.text).not.toContain('password taken')
      expect((await post().set({ ...forwarded, host: 'portal.example' })).status).toBe(403)
      expect((await post().set({ ...forwarded, host: 'south.example' })).text).toBe('password taken')
    },
  )

  it('opens for the operator with break-glass access, and for nobody else', async () => {
    await open({ classicLogin: { allow: (req) => req.get('x-break-glass') === 'yes' } })
    await portal.connect(provider)
    expect((await page().set('x-break-glass', 'yes')).text).toBe('classic login page')
    expect((await post().set('x-break-glass', 'yes')).text).toBe('password taken')
    expect((await post()).status).toBe(403)
  })

  it('is not opened by anything but true', async () => {
    await open({ classicLogin: { allow: (() => 'false') as unknown as () => boolean } })
    await portal.connect(provider)
    expect((await post()).status).toBe(403)
  })

  it('stays shut when the database cannot say', async () => {
    await open()
    await portal.connect(provider)
    await portal.knex.schema.renameTable('sso_providers', 'gone')
    const refused = await post()
    expect(refused.status).toBeGreaterThanOrEqual(500)
    expect(refused.text).not.toContain('password taken')
  })
})
