import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import helmet from 'helmet'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
/** nginx's default, without `__Host-` and `Secure` on https */
const limit = 4096 - 60
let portal: TestPortal
let visitor: Visitor
let code: string
/** of every response, as sent */
let heads: string[]

beforeAll(async () => {
  portal = await startPortal({
    mailer: async ({ text }) => {
      code = /\b[A-Z0-9]{4}-?[A-Z0-9]{4}\b/.exec(text)![0]
    },
    mount(app, sso) {
      app.use((_req, res: ServerResponse & { _header?: string }, next) => {
        res.once('finish', () => heads.push(res._header!))
        next()
      })
      app.use(helmet())
      mountDefault(app, sso)
    },
  })
  await portal.connect(provider)
})
afterAll(() => portal.close())
beforeEach(() => {
  visitor = new Visitor()
  heads = []
})

describe.each([
  ['no deep link', 0],
  ['the usual deep link', 60],
  ['a deep link with filters', 300],
  ['the longest deep link', 1000],
])('the headers of all responses pass a proxy with a limit of 4 KB, with %s', (_what, linkLength) => {
  it.each([
    ['a small', 0],
    ['a usual', 15],
    ['a large', 25],
    ['a huge', 80],
  ])('and %s ID token', async (_size, groups) => {
    const sub = `grace-${linkLength}-${groups}`
    provider.person = { sub, email: `${sub}@example.com`, email_verified: false, name: 'Grace' }
    provider.faults.claims = { groups: Array(groups).fill('a group with a long name') }
    const returnTo = linkLength === 0 ? '' : '/portal/'.padEnd(linkLength, 'x')
    const start = `${portal.url}/login/acme?lang=de&returnTo=${returnTo}`
    await visitor.open(`${portal.url}${returnTo || '/portal'}`)
    // An attempt that the user has left.
    await visitor.get(start)
    expect((await visitor.open(start)).url).toBe(`${portal.url}/register`)
    await visitor.follow(await visitor.post(`${portal.url}/register/code`, { email: `${sub}@example.com` }))
    await visitor.follow(await visitor.post(`${portal.url}/register/verify`, { code }))
    const landed = `${portal.url}${returnTo || '/'}`
    const registered = await visitor.post(`${portal.url}/register`, { name: 'Grace' })
    expect(await visitor.follow(registered)).toMatchObject({ status: 200, url: landed })
    expect((await visitor.open(start)).url).toBe(landed)
    await visitor.follow(await visitor.post(`${portal.url}/logout`))

    // Its second attempt starts in the response to the first one.
    const started = await visitor.get(`${start}&max_age=1&acr_values=mfa`)
    expect((await visitor.open(started.location!)).status).toBe(403)
    expect(oversized()).toEqual([])
  })
})

const oversized = () =>
  heads
    .filter((head) => head.length > limit)
    .map((head) => `${head.length}: ${head.replace(/=eyJ\S+/g, '…')}`)
