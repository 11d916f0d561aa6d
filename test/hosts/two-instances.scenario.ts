import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Visitor } from '../support/visitor.ts'
import { Host, type RunningHost } from './host.ts'
import { signIn, signInAndOut } from './sign-in.ts'

describe('the host two-instances', () => {
  const host = new Host('two-instances')
  let running: RunningHost
  beforeAll(async () => {
    await host.install()
    running = await host.start('host.js', { mountPaths: ['/staff', '/customers'] })
  })
  afterAll(() => running?.stop())

  it('keeps the sessions of both apart, on one Redis, one database and one secret', async () => {
    const visitor = new Visitor()
    const { url } = running
    const staff = { visitor, url, mountPath: '/staff', guarded: '/staff/portal' }
    const customers = { visitor, url, mountPath: '/customers', guarded: '/customers/portal' }
    const statusOf = async ({ guarded }: typeof staff) => (await visitor.get(url + guarded)).status

    await signInAndOut(staff)
    expect(await statusOf(customers)).toBe(302)
    expect((await signIn(customers)).body).toBe('Welcome ada@example.com')
    expect(await statusOf(staff)).toBe(200)
    // Ends the portal's session. The response would end the provider's, which is the same for both.
    await visitor.post(`${url}/customers/logout`)
    expect(await statusOf(customers)).toBe(302)
    expect(await statusOf(staff)).toBe(200)
  })
})
