import { expect, it } from '@jest/globals'
import { Visitor } from '../support/visitor.ts'
import { describeHost } from './describe-host.ts'

const grace = { email: 'grace@example.com', password: 'a-password-for-tests' }

describeHost('own-session', { entry: 'host.js' }, (host, running) => {
  it('refuses its passport-local login while a provider is enabled', async () => {
    const refused = await new Visitor().post(`${running().url}/password-login`, grace)
    expect(refused.status).toBe(403)
  })

  it('keeps its passport-local login until a provider is connected', async () => {
    const { url, stop } = await host.start('host.js', { env: { CLIENT_ID: '' } })
    try {
      const visitor = new Visitor()
      expect((await visitor.open(`${url}/portal`)).body).toContain('action="/password-login"')
      const portal = await visitor.follow(await visitor.post(`${url}/password-login`, grace))
      expect(portal).toMatchObject({ url: `${url}/portal`, body: 'Hello grace@example.com, visits: true' })
    } finally {
      await stop()
    }
  })
})
