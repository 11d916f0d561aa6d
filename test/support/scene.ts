import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type Faults, type FaultyProvider, startFaultyProvider } from './faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal } from './portal.ts'
import { formIn, type Seen, Visitor } from './visitor.ts'

/** Everybody who has a part in a hostile sign-in. */
export interface Scene {
  portal: TestPortal
  provider: FaultyProvider
  /** another provider of the portal, for mix-ups */
  other: FaultyProvider
  /** a server that nobody may ever be led to */
  attacker: Listener
  visitor: Visitor
}

export interface Listener {
  url: string
  /** what has come in, such as `GET /keys` */
  heard: string[]
  close(): Promise<void>
}

type FaultsOf = Faults | ((scene: Pick<Scene, 'provider' | 'other' | 'attacker'>) => Faults | Promise<Faults>)

/**
 * One fault; the clause that it breaks (`ours` where no standard has one); the cause that the operator reads. The status stands
 * in its group, unless it is the row's own.
 */
export type Row = [fault: string, clause: string, faults: FaultsOf, cause: RegExp, status?: number]

/** Rows of the refusal table that have their way to the portal in common. */
export interface Group {
  name: string
  /** default 400 */
  status?: number
  /** the row of the provider at the portal; default `acme` */
  slug?: Slug
  /** has the portal read the discovery document again */
  discovers?: true
  rows: Row[]
}

/** What the portal calls the provider, once for each way to have connected it. */
export const slugs = {
  acme: {},
  'acme-ps256': { signingAlgorithm: 'PS256' },
  'acme-es256': { signingAlgorithm: 'ES256' },
  'acme-eddsa': { signingAlgorithm: 'EdDSA' },
  'acme-post': { clientAuthentication: 'client_secret_post' },
  'acme-form': { responseMode: 'form_post' },
} as const
export type Slug = keyof typeof slugs

export async function startListener(): Promise<Listener> {
  const heard: string[] = []
  const server = createServer((req, res) => {
    heard.push(`${req.method} ${req.url}`)
    res.end('{}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

export async function faultsOf(faults: FaultsOf, scene: Pick<Scene, 'provider' | 'other' | 'attacker'>) {
  return typeof faults === 'function' ? await faults(scene) : faults
}

/** Sets one scene for all tests of a file; every test finds all faults off and a new visitor. */
export function useScene(): Scene {
  const scene = {} as Scene
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
    const ada = { email: 'ada@example.com', name: 'Ada Lovelace', fields: {} }
    await scene.portal.sso.users.create(ada)
  })
  afterAll(async () => {
    await scene.portal.close()
    await Promise.all([scene.provider.close(), scene.other.close(), scene.attacker.close()])
  })
  beforeEach(() => {
    scene.provider.reset()
    scene.other.reset()
    scene.attacker.heard.length = 0
    scene.visitor = new Visitor()
  })
  return scene
}

/** Whom it takes to sign in. */
type Part = { portal: Pick<TestPortal, 'url'>; visitor: Visitor }

/** From the click to the page at its end, through whatever forms stand between. */
export async function signIn({ portal, visitor }: Part, slug: string, returnTo = '/portal'): Promise<Seen> {
  const seen = await visitor.open(`${portal.url}/login/${slug}?returnTo=${encodeURIComponent(returnTo)}`)
  return seen.url.startsWith(portal.url) ? seen : await postAnswer({ portal, visitor }, seen)
}

/** The provider's page posts without our Lax cookies, as it is on another site; ours then posts with them. */
export async function postAnswer({ portal, visitor }: Part, at: Seen): Promise<Seen> {
  const theirs = formIn(at.body)
  const headers = { 'sec-fetch-site': 'cross-site', origin: 'null' }
  const between = await new Visitor().post(theirs.action, theirs.fields, headers)
  const ours = formIn(between.body)
  if (!ours.action.endsWith('/callback')) return between
  return await visitor.follow(await visitor.post(new URL(ours.action, portal.url).href, ours.fields))
}

/** Refused with a page, its reference in the log beside the cause, one event; nobody signed in, nobody else asked. */
export async function expectRefusal(
  { portal, visitor, attacker }: Scene,
  seen: Seen,
  { status, cause }: { status: number; cause: RegExp },
): Promise<void> {
  const [, reference] = /<bdi[^>]*>([2-9A-Z]{8})<\/bdi>|([2-9A-Z]{8})/.exec(seen.body)?.filter(Boolean) ?? []
  const line = portal.logs.find(({ fields }) => fields.reference === reference)
  expect({ status: seen.status, cause: line?.fields.cause }).toEqual({
    status,
    cause: expect.stringMatching(cause),
  })
  expect(seen.headers.get('content-type')).toContain('text/html')
  expect(await portal.knex('sso_events').where({ kind: 'sign-in-failed', reference })).toHaveLength(1)
  expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
  expect((await visitor.get(`${portal.url}/login`)).status).toBe(200)
  expect(attacker.heard).toEqual([])
}

export async function expectSignedIn({ portal, visitor }: Scene, email = 'ada@example.com'): Promise<void> {
  const { status, body } = await visitor.get(`${portal.url}/portal`)
  expect([status, body]).toEqual([200, expect.stringContaining(`"email":"${email}"`)])
}

/** A part of the refusal table: a test for each row. */
export function refuses(scene: Scene, groups: Group[]): void {
  for (const { name, status = 400, slug = 'acme', discovers, rows } of groups)
    describe(`refused: ${name}`, () => {
      // One parameter: a fifth that a row lacks would be Jest's `done`.
      it.each(rows)('%s (%s)', async (...[, , faults, cause, own]) => {
        if (discovers) await scene.portal.sso.providers.enable(slug)
        Object.assign(scene.provider.faults, await faultsOf(faults, scene))
        await expectRefusal(scene, await signIn(scene, slug), { status: own ?? status, cause })
      })
    })
}

/** What must not be refused: a right answer, however odd it looks. */
export function accepts(scene: Scene, groups: (Omit<Group, 'rows' | 'status'> & { rows: Right[] })[]): void {
  for (const { name, slug = 'acme', discovers, rows } of groups)
    describe(`accepted: ${name}`, () => {
      it.each(rows)('%s (%s)', async (_what, _clause, faults) => {
        if (discovers) await scene.portal.sso.providers.enable(slug)
        Object.assign(scene.provider.faults, await faultsOf(faults, scene))
        await signIn(scene, slug)
        await expectSignedIn(scene)
        expect(scene.attacker.heard).toEqual([])
      })
    })
}

export type Right = [what: string, clause: string, faults: FaultsOf]

/** The last test of a file: whatever was tried before has left nothing behind. */
export function nothingRemains(scene: Scene): void {
  describe('refused: all of that, and afterwards', () => {
    it('nobody was added or linked who was not there before (ours)', async () => {
      const { portal } = scene
      expect(await portal.knex('sso_users').pluck('email')).toEqual(['ada@example.com'])
      const linked: string[] = await portal.knex('sso_identities').pluck('subject')
      expect(linked.filter((subject) => subject !== 'ada')).toEqual([])
    })

    it('neither logs nor events hold a token, a code or a secret (ours)', async () => {
      const { portal, provider, other } = scene
      const told = JSON.stringify([await portal.knex('sso_events'), portal.logs])
      expect(told).not.toMatch(/eyJ[\w-]{10,}\./)
      for (const { clientSecret } of [provider, other]) expect(told).not.toContain(clientSecret)
    })

    it('an honest sign-in still works (ours)', async () => {
      await signIn(scene, 'acme')
      await expectSignedIn(scene)
    })
  })
}
