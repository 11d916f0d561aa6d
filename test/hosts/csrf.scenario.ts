import { expect, it } from '@jest/globals'
import { formIn, Visitor } from '../support/visitor.ts'
import { describeHost } from './describe-host.ts'
import { signIn } from './sign-in.ts'

// Its provider uses `form_post`, so the callback, the registration and the sign-out are posts without the host's token.
describeHost('csrf', { entry: 'host.js' }, (host, running) => {
  it('refuses forms of its own without its token', async () => {
    const { url } = running()
    const visitor = new Visitor()
    const page = await signIn({ visitor, url })
    const { action, fields } = formIn(page.body)
    expect((await visitor.post(url + action)).status).toBe(403)
    expect((await visitor.post(url + action, fields)).body).toBe('Saved')
  })

  it('ends the session when the provider posts a logout token', async () => {
    const { url } = running()
    const visitor = new Visitor()
    expect((await signIn({ visitor, url })).url).toBe(`${url}/portal`)
    const question = await visitor.open(`${process.env.TEST_ISSUER}/session/end`)
    const { action, fields } = formIn(question.body)
    await visitor.follow(await visitor.post(action, [...fields, ['logout', 'yes']]))
    expect((await visitor.get(`${url}/portal`)).status).toBe(302)
  })

  it('names its CSRF middleware in the log, and shows a reference, if it comes before the router', async () => {
    const { url, output, stop } = await host.start('host.js', { env: { CSRF_IN_FRONT: 'yes' } })
    try {
      const refused = await new Visitor().post(`${url}/logout`)
      expect(refused.status).toBe(500)
      expect(output()).toContain('middleware before `sso.router()` can break the sign-in')
      expect(output()).toContain('mount `sso.router()` before it')
    } finally {
      await stop()
    }
  })
})
