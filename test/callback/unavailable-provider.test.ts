import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal

beforeEach(async () => {
  portal = await startPortalWithAda(provider)
  await portal.connect(provider, { slug: 'draft', displayName: 'Secret plan', enabled: false })
})
afterEach(() => portal.close())

const at = (slug: string, path: string) => `${portal.url}/login/${slug}${path}`

/** The parts of a response that a client can compare, without those that differ each time. */
function comparable({ status, headers, body, location }: Seen, slug: string): object {
  const own = new Map(headers)
  for (const name of ['date', 'etag', 'content-length']) own.delete(name)
  const replaced = (text = '') =>
    text
      .replaceAll(`/login/${slug}`, '/login/…')
      .replace(
        /\b[A-Z0-9]{8}(?=[<\n])|(?<="reference":")\w+|\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=data-local>)[^<]+/g,
        '…',
      )
  return { status, headers: Object.fromEntries(own), body: replaced(body), location: replaced(location) }
}

async function events(): Promise<object[]> {
  const rows = await portal.knex('sso_events').where({ kind: 'sign-in-failed' }).orderBy('at')
  await portal.knex('sso_events').delete()
  return rows.map(({ provider, detail }) => ({
    provider,
    code: (JSON.parse(detail) as { code: string }).code,
  }))
}

/** An attempt with the enabled provider: the URL of its authorization response, and the browser. */
async function startSignIn(): Promise<{ visitor: Visitor; response: URL }> {
  const visitor = new Visitor()
  const start = await visitor.get(at('acme', ''))
  return { visitor, response: new URL((await visitor.get(start.location!)).location!) }
}

const madeUp = `${Math.floor(Date.now() / 1000).toString(36)}-${'x'.repeat(32)}`
const json = { accept: 'application/json' }
const reposted = { code: 'x', state: madeUp, portal_sso_reposted: '1' }

describe('a draft provider responds exactly like an unknown one', () => {
  it.each<[what: string, send: (slug: string) => Promise<Seen>]>([
    ['to a made-up response', (slug) => new Visitor().get(at(slug, `/callback?code=x&state=${madeUp}`))],
    ['to another state', (slug) => new Visitor().get(at(slug, '/callback?code=x&state=x'))],
    ['to an error', (slug) => new Visitor().get(at(slug, `/callback?error=access_denied&state=${madeUp}`))],
    ['to a malformed response', (slug) => new Visitor().get(at(slug, '/callback?code=x&code=y&state=x'))],
    ['to no response', (slug) => new Visitor().get(at(slug, '/callback'))],
    ['to a client that wants JSON', (slug) => new Visitor().get(at(slug, '/callback?code=x&state=x'), json)],
    [
      'to a posted response',
      (slug) => new Visitor().post(at(slug, '/callback'), { code: 'x', state: madeUp }),
    ],
    ['to a posted error', (slug) => new Visitor().post(at(slug, '/callback'), { error: 'x', state: 'x' })],
    ['to a malformed posted response', (slug) => new Visitor().post(at(slug, '/callback'), { code: 'x' })],
    ['to a response posted again', (slug) => new Visitor().post(at(slug, '/callback'), reposted)],
    ['to another spelling', (slug) => new Visitor().get(at(slug, '/CALLBACK/?code=x&state=x'))],
    ['at its start', (slug) => new Visitor().get(at(slug, '?returnTo=/portal'))],
    ['below it', (slug) => new Visitor().get(at(slug, '/callback/more'))],
    [
      'to the response of another provider',
      async (slug) => {
        const { visitor, response } = await startSignIn()
        const seen = await visitor.get(
          at(slug, `/callback?code=x&state=${response.searchParams.get('state')}`),
        )
        // The attempt is not used up.
        expect((await visitor.get(response.href)).status).toBe(303)
        return seen
      },
    ],
    [
      'to the used response of another provider',
      async (slug) => {
        const { visitor, response } = await startSignIn()
        await visitor.get(response.href)
        return await visitor.get(at(slug, `/callback${response.search}`))
      },
    ],
  ])('%s', async (_what, send) => {
    await events()
    const unknown = await send('nope')
    const unknownEvents = await events()
    const draft = await send('draft')
    expect(comparable(draft, 'draft')).toEqual(comparable(unknown, 'nope'))
    expect(await events()).toEqual(unknownEvents)
    expect([200, 404]).toContain(draft.status)
    expect(draft.body).not.toContain('Secret plan')
    expect(await portal.knex('sso_events').where({ provider: 'draft' })).toEqual([])
  })
})

it('a response that is posted to an unknown provider gets the form of our own origin, and then a 404', async () => {
  const visitor = new Visitor()
  const form = formIn((await visitor.post(at('nope', '/callback'), { code: 'x', state: madeUp })).body)
  expect(form.action).toBe('/login/nope/callback')
  expect((await visitor.post(portal.url + form.action, form.fields)).status).toBe(404)
  // A name that no provider can have appears in no page.
  const odd = await visitor.post(at('N%6Fpe%20%3C', '/callback'), { code: 'x', state: madeUp })
  expect([odd.status, odd.body.includes('ope &lt;')]).toEqual([404, false])
})

it('an attempt that was started before the provider was disabled leads back to the deep link', async () => {
  const visitor = new Visitor()
  const start = await visitor.get(at('acme', '?returnTo=/portal/deep'))
  const { location } = await visitor.get(start.location!)
  await portal.sso.providers.disable('acme')
  const seen = await visitor.get(location!)
  expect(seen.status).toBe(404)
  expect(seen.body).toContain('href="/login?returnTo=%2Fportal%2Fdeep"')
})
