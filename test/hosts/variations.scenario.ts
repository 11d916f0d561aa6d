import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Visitor } from '../support/visitor.ts'
import { describeHost } from './describe-host.ts'
import { Host, type RunningHost, registerClient } from './host.ts'
import { signIn, signInAndOut } from './sign-in.ts'

describeHost('variations', { title: 'with its own table of users', entry: 'own-users.js' })

describeHost('variations', { title: 'with a page of its own', entry: 'own-page.js' }, (_host, running) => {
  it('shows its page instead of the one with the same name', async () => {
    const { body } = await new Visitor().get(`${running().url}/logout/done`)
    expect(body).toMatch(/<h1>See you soon!<\/h1>\s+<p class="sso-lead">You are signed out of Portal\.<\/p>/)
  })
})

describe('the host with several portals', () => {
  const host = new Host('variations')
  let running: RunningHost
  let north: string
  let south: string

  beforeAll(async () => {
    await host.install()
    running = await host.start('several-portals.js', {
      async prepare(port) {
        // Two names of this machine that every resolver knows.
        north = `http://localhost:${port}`
        south = `http://127.0.0.1:${port}`
        const { clientId, clientSecret } = await registerClient([north, south])
        const env = { NORTH_URL: north, SOUTH_URL: south, CLIENT_ID: clientId, CLIENT_SECRET: clientSecret }
        return { env }
      },
    })
  })
  afterAll(() => running?.stop())

  it('has its own users and sessions in each portal', async () => {
    const visitor = new Visitor()
    await signInAndOut({ visitor, url: north })
    expect((await visitor.get(`${north}/portal`)).body).toBe('Hello ada@example.com, this is north')
    const cookies = visitor.cookies.get(north)!
    visitor.cookies.set(south, new Map(cookies))
    expect((await visitor.get(`${south}/portal`)).status).toBe(302)
    visitor.cookies.delete(south)
    expect((await signIn({ visitor, url: south })).url).toBe(`${south}/register`)
  })

  it('refuses every other host name', async () => {
    const refused = await new Visitor().get(`${north}/login`, { host: 'other.example.com' })
    expect(refused.status).toBe(400)
  })
})

describe('the host that stops in order', () => {
  it('ends by itself after SIGTERM', async () => {
    const host = new Host('variations')
    await host.install()
    const running = await host.start('shutdown.js')
    expect((await new Visitor().get(`${running.url}/readyz`)).status).toBe(200)
    expect(await running.stop()).toBe(0)
  })
})
