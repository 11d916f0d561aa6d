import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type Faults, type FaultyProvider, startFaultyProvider } from './faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal } from './portal.ts'
import { ada, signIn } from './scene.ts'
import { type Seen, Visitor } from './visitor.ts'

/** The participants of a hostile sign-in. */
export interface RefusalScene {
  portal: TestPortal
  provider: FaultyProvider
  /** a second provider of the portal, for mix-ups */
  other: FaultyProvider
  /** a server that must never receive a request */
  attacker: Listener
  visitor: Visitor
}

export interface Listener {
  url: string
  /** received requests, such as `GET /keys` */
  requests: string[]
  close(): Promise<void>
}

type Servers = Pick<RefusalScene, 'provider' | 'other' | 'attacker'>
type RowFaults = Faults | ((servers: Servers) => Faults | Promise<Faults>)

/** The clause is `ours` if no standard has one. The operator sees the cause. The status replaces that of the group. */
export type Row = [fault: string, clause: string, faults: RowFaults, cause: RegExp, status?: number]

export type AcceptedRow = [input: string, clause: string, faults: RowFaults]

/** Rows of the refusal table with the same provider and status. */
export interface Group {
  name: string
  /** default 400 */
  status?: number
  /** slug of the provider; default `acme` */
  slug?: Slug
  /** the portal reads the discovery document and the key set again before each test */
  rediscovers?: true
  rows: Row[]
}

/** The provider is connected once for each of these settings. */
export const slugs = {
  acme: {},
  'acme-rs256': { signingAlgorithm: 'RS256' },
  'acme-ps256': { signingAlgorithm: 'PS256' },
  'acme-es256': { signingAlgorithm: 'ES256' },
  'acme-eddsa': { signingAlgorithm: 'EdDSA' },
  'acme-post': { clientAuthentication: 'client_secret_post' },
  'acme-form': { responseMode: 'form_post' },
} as const
export type Slug = keyof typeof slugs

export async function startListener(): Promise<Listener> {
  const requests: string[] = []
  const server = createServer((req, res) => {
    requests.push(`${req.method} ${req.url}`)
    res.end('{}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

export async function resolveFaults(faults: RowFaults, servers: Servers): Promise<Faults> {
  return typeof faults === 'function' ? await faults(servers) : faults
}

/** Creates one scene for all tests of a file. Before each test, it removes all faults and creates a new visitor. */
export function useRefusalScene(): RefusalScene {
  const scene = {} as RefusalScene
  beforeAll(async () => {
    scene.provider = await startFaultyProvider()
    scene.other = await startFaultyProvider({ clientId: 'other' })
    scene.attacker = await startListener()
    scene.portal = await startPortal({
      mount(app, sso) {
        mountDefault(app, sso)
        app.get('/session', (req, res) => {
          res.json(req.session)
        })
      },
    })
    for (const [slug, settings] of Object.entries(slugs))
      await scene.portal.connect(scene.provider, { slug, displayName: slug, ...settings })
    await scene.portal.connect(scene.other, { slug: 'other', displayName: 'Other' })
    await scene.portal.sso.users.create(ada)
  })
  afterAll(async () => {
    await scene.portal.close()
    await Promise.all([scene.provider.close(), scene.other.close(), scene.attacker.close()])
  })
  beforeEach(() => {
    scene.provider.reset()
    scene.other.reset()
    scene.attacker.requests.length = 0
    scene.visitor = new Visitor()
  })
  return scene
}

/** Expects an error page whose reference is logged with the cause, one event, no signed-in user and no other request. */
export async function expectRefusal(
  { portal, visitor, attacker }: RefusalScene,
  seen: Seen,
  { status, cause }: { status: number; cause: RegExp },
): Promise<void> {
  // Other text of the page may look like a reference, such as the state in a link to sign out at the provider.
  const [, reference] = /<(?:bdi|code)[^>]*>([2-9A-Z]{8})<\//.exec(seen.body) ?? []
  const line = portal.logs.find(({ fields }) => fields.reference === reference)
  expect({ status: seen.status, cause: line?.fields.cause }).toEqual({
    status,
    cause: expect.stringMatching(cause),
  })
  expect(seen.headers.get('content-type')).toContain('text/html')
  expect(await portal.knex('sso_events').where({ kind: 'sign-in-failed', reference })).toHaveLength(1)
  expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
  expect((await visitor.get(`${portal.url}/login`)).status).toBe(200)
  expect(attacker.requests).toEqual([])
}

export async function expectSignedIn(
  { portal, visitor }: RefusalScene,
  email = 'ada@example.com',
): Promise<void> {
  const { status, body } = await visitor.get(`${portal.url}/portal`)
  expect([status, body]).toEqual([200, expect.stringContaining(`"email":"${email}"`)])
}

/** Defines a test for each row: the input must be refused. */
export function testRefusals(scene: RefusalScene, groups: Group[]): void {
  for (const { name, status = 400, slug = 'acme', rediscovers, rows } of groups)
    describe(`refused: ${name}`, () => {
      // A rest parameter, because Jest would pass `done` as a missing fifth one.
      it.each(rows)('%s (%s)', async (...[, , faults, cause, own]) => {
        if (rediscovers) await scene.portal.sso.providers.enable(slug)
        Object.assign(scene.provider.faults, await resolveFaults(faults, scene))
        await expectRefusal(scene, await signIn(scene, slug), { status: own ?? status, cause })
      })
    })
}

/** Defines a test for each row: the input is unusual, but must be accepted. */
export function testAcceptance(
  scene: RefusalScene,
  groups: (Omit<Group, 'rows' | 'status'> & { rows: AcceptedRow[] })[],
): void {
  for (const { name, slug = 'acme', rediscovers, rows } of groups)
    describe(`accepted: ${name}`, () => {
      it.each(rows)('%s (%s)', async (_input, _clause, faults) => {
        if (rediscovers) await scene.portal.sso.providers.enable(slug)
        Object.assign(scene.provider.faults, await resolveFaults(faults, scene))
        await signIn(scene, slug)
        await expectSignedIn(scene)
        expect(scene.attacker.requests).toEqual([])
      })
    })
}

/** Defines the last tests of a file: the refused input must have had no effect. */
export function testAftermath(scene: RefusalScene): void {
  describe('refused: all input of this file, and afterwards', () => {
    it('no user was created or linked (ours)', async () => {
      const { portal } = scene
      expect(await portal.knex('sso_users').pluck('email')).toEqual(['ada@example.com'])
      const linked: string[] = await portal.knex('sso_identities').pluck('subject')
      expect(linked.filter((subject) => subject !== 'ada')).toEqual([])
    })

    it('logs and events contain no token, code or secret (ours)', async () => {
      const { portal, provider, other } = scene
      const text = JSON.stringify([await portal.knex('sso_events'), portal.logs])
      expect(text).not.toMatch(/eyJ[\w-]{10,}\./)
      for (const { clientSecret } of [provider, other]) expect(text).not.toContain(clientSecret)
    })

    it('a valid sign-in still works (ours)', async () => {
      await signIn(scene, 'acme')
      await expectSignedIn(scene)
    })
  })
}
