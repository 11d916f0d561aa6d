import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createPortalSso, type PortalSso } from '../../lib/index.ts'
import { type Clock, takeTimers } from '../support/clock.ts'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { type TestPortal, testSecret } from '../support/portal.ts'
import { responseUrl, signIn, startPortalWithAda, useProvider } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const other = await startFaultyProvider()
afterAll(() => other.close())

let portal: TestPortal
/** Timers, so that a pause of the portal ends only by `pass`. */
let timers: Clock | undefined

beforeEach(async () => {
  portal = await startPortalWithAda(provider)
})
afterEach(async () => {
  timers?.back()
  timers = undefined
  await portal.close()
  other.reset()
})

const down = { status: 503, body: 'down' }
const rows = () => portal.knex('sso_provider_health')
const healthOf = async (slug = 'acme') => (await portal.sso.providers.get(slug)).health
const events = async () =>
  (await portal.knex('sso_events').whereIn('kind', ['provider-unavailable', 'provider-recovered'])).map(
    ({ kind, provider: slug, actor, detail }) => ({ kind, slug, actor, ...JSON.parse(detail) }),
  )
const probes = () =>
  provider.requests.filter(({ path, headers }) => path.endsWith('/token') && !headers.authorization).length

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await nextTurn()
}

const suspected = async (count = 1) => await until(async () => (await rows()).length === count)

/** A sign-in that fails. @returns the page */
async function fail(url = portal.url) {
  return await signIn({ portal: { url }, visitor: new Visitor() }, 'acme')
}

/** A sign-in fails, and a probe confirms the fault. */
async function confirmOutage(): Promise<void> {
  timers ??= takeTimers()
  const recorded = once(portal.sso.events, 'provider-unavailable')
  await fail()
  await suspected()
  timers.pass(3000)
  await recorded
}

/** Lets the pauses of all rows end. */
async function makeDue(): Promise<void> {
  const past = '2020-01-01T00:00:00.000Z'
  await rows().update({ due_at: past, claimed_at: past })
}

/** An outage, as another instance has recorded it. */
async function recordOutage(slug = 'acme'): Promise<void> {
  const { id } = await portal.sso.providers.get(slug)
  const at = new Date().toISOString()
  const found = { failing_since: at, endpoint: 'metadata', fault: 'unreachable', checked_at: at }
  await rows().insert({
    provider_id: id,
    ...found,
    claimed_at: at,
    due_at: new Date(Date.now() + 60_000).toISOString(),
  })
}

describe('a provider that fails', () => {
  it.each([
    ['token', 'server-error', { tokenResponse: down }],
    ['token', 'unreachable', { tokenDrop: true as const }],
    ['keys', 'server-error', { jwksResponse: down }],
    ['keys', 'unusable', { jwksResponse: { body: '{"keys":"none"}' } }],
    ['metadata', 'unreachable', { discoveryDrop: true as const }],
    ['metadata', 'unusable', { discoveryResponse: { body: '{}' } }],
    ['metadata', 'unusable', { discovery: { issuer: 'https://other.example' } }],
  ])(
    'at its %s endpoint (%s) is shown to administrators, once a probe has confirmed it',
    async (endpoint, fault, faults) => {
      Object.assign(provider.faults, faults)
      const { version } = await portal.sso.providers.get('acme')
      await confirmOutage()
      const health = await healthOf()
      expect(health).toEqual({ endpoint, fault, since: expect.any(String), checkedAt: health!.since })
      expect((await portal.sso.providers.list()).map((each) => each.health)).toEqual([health])
      expect((await portal.sso.providers.get('acme')).version).toBe(version)
      expect(await events()).toEqual([
        { kind: 'provider-unavailable', slug: 'acme', actor: 'maintenance', endpoint, fault },
      ])
      const lines = portal.logs.filter(({ message }) => message === 'a provider is unavailable')
      expect(lines).toEqual([
        {
          level: 'warn',
          message: expect.any(String),
          fields: { portal: 'default', provider: 'acme', endpoint, fault },
        },
      ])
    },
  )

  it('is probed by one of two instances, however many sign-ins fail', async () => {
    timers = takeTimers()
    const second = await createPortalSso({
      baseUrl: portal.url,
      secret: testSecret,
      database: portal.knex,
      outbound: { allowedAddresses: ['127.0.0.0/8'] },
      rateLimits: false,
      logger: { info() {}, warn() {}, error() {} },
    })
    portal.app.use('/second', second.session(), second.router())
    provider.faults.tokenResponse = down
    const recorded = once(portal.sso.events, 'provider-unavailable')
    await Promise.all(Array.from({ length: 5 }, () => fail()))
    await suspected()
    await Promise.all(Array.from({ length: 3 }, () => fail()))
    timers.pass(3000)
    await recorded
    await Promise.all([portal.sso.runMaintenance(), second.runMaintenance()])
    expect(probes()).toBe(1)
    expect(await events()).toHaveLength(1)
    await second.close()
  })

  it('works again after a sign-in with it: the state ends, with one event', async () => {
    provider.faults.tokenResponse = down
    await confirmOutage()
    delete provider.faults.tokenResponse
    const since = (await healthOf())!.since
    const recovered = once(portal.sso.events, 'provider-recovered')
    const seen = await new Visitor().open(`${portal.url}/login/acme?returnTo=/portal&anyway=1`)
    expect(seen.status).toBe(200)
    await recovered
    expect(await healthOf()).toBeUndefined()
    expect((await events()).at(-1)).toEqual({
      kind: 'provider-recovered',
      slug: 'acme',
      actor: 'maintenance',
      since,
    })
  })

  it('works again after a probe, whose pauses grow with the outage', async () => {
    provider.faults.tokenResponse = down
    await confirmOutage()
    const pause = async () => {
      const [row] = await rows()
      return (Date.parse(row.due_at) - Date.parse(row.checked_at)) / 60_000
    }
    expect(await pause()).toBeCloseTo(1, 1)
    await portal.sso.runMaintenance()
    expect(probes()).toBe(1)
    await rows().update({ failing_since: new Date(Date.now() - 7 * 60_000).toISOString() })
    await makeDue()
    await portal.sso.runMaintenance()
    expect(await pause()).toBeCloseTo(7, 1)
    await rows().update({ failing_since: '2020-01-01T00:00:00.000Z' })
    await makeDue()
    await portal.sso.runMaintenance()
    expect(await pause()).toBeCloseTo(60, 1)
    expect(probes()).toBe(3)
    expect(await events()).toHaveLength(1)

    delete provider.faults.tokenResponse
    await makeDue()
    await portal.sso.runMaintenance()
    expect(await rows()).toEqual([])
    expect((await events()).map(({ kind }) => kind)).toEqual(['provider-unavailable', 'provider-recovered'])
  })

  it('leaves no row when it is disabled, changed or removed', async () => {
    await recordOutage()
    await portal.sso.providers.update('acme', { displayName: 'Acme Corporation' })
    expect(await rows()).toHaveLength(1)
    await portal.sso.providers.update('acme', { prompt: 'login' })
    expect(await rows()).toEqual([])
    await recordOutage()
    await portal.sso.providers.disable('acme')
    expect(await rows()).toEqual([])
    await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
    await recordOutage()
    await portal.knex('sso_providers').update({ removed_at: new Date().toISOString() })
    await portal.sso.runMaintenance()
    expect(await rows()).toEqual([])
  })
})

describe('no fault of the provider is', () => {
  it.each<[string, (visitor: Visitor) => Promise<unknown>]>([
    [
      'a wrong code, even if the provider responds to it with 500',
      async (visitor) => {
        provider.faults.wrongCode = { status: 500, body: {} }
        const response = new URL(await responseUrl(visitor, await visitor.get(`${portal.url}/login/acme`)))
        response.searchParams.set('code', 'made-up')
        await visitor.get(response.href)
        await suspected()
        timers!.pass(3000)
        await until(async () => (await rows().whereNotNull('checked_at')).length === 1)
      },
    ],
    [
      'an error in the response, such as server_error',
      async (visitor) => {
        provider.faults.authorizeError = { error: 'server_error' }
        await signIn({ portal, visitor }, 'acme')
      },
    ],
    [
      'a refused authorization',
      async (visitor) => {
        provider.faults.authorizeError = { error: 'access_denied' }
        await signIn({ portal, visitor }, 'acme')
      },
    ],
    ['a wrong state', (visitor) => visitor.get(`${portal.url}/login/acme/callback?code=x&state=y`)],
    [
      'a limit of the provider, which its visitors may have reached',
      async (visitor) => {
        provider.faults.tokenResponse = { status: 429, body: '' }
        await signIn({ portal, visitor }, 'acme')
        await suspected()
        timers!.pass(3000)
        await until(async () => (await rows().whereNotNull('checked_at')).length === 1)
      },
    ],
  ])('%s', async (_what, act) => {
    timers = takeTimers()
    await act(new Visitor())
    expect(await healthOf()).toBeUndefined()
    expect(await events()).toEqual([])
    // A suspicion leaves no row either.
    await makeDue()
    await portal.sso.runMaintenance()
    expect(await rows()).toEqual([])
  })
})

describe('a provider that works', () => {
  it('is never probed, and its sign-ins cost no statement of their own', async () => {
    const statements: string[] = []
    portal.knex.on('query', ({ sql }: { sql: string }) => {
      if (/^(?:insert|update|delete)[^(]*sso_provider_health|from .?sso_provider_health/.test(sql))
        statements.push(sql)
    })
    for (let count = 0; count < 3; count++) expect((await fail()).status).toBe(200)
    expect(statements).toEqual([])
    provider.requests.length = 0
    await portal.sso.runMaintenance()
    expect(provider.requests).toEqual([])
  })
})

describe('probes', () => {
  it('of one portal are two at a time, so that its administrator cannot delay those of other portals', async () => {
    const slugs = ['one', 'two', 'three', 'four', 'five']
    for (const slug of slugs) await portal.connect(other, { slug })
    timers = takeTimers()
    other.faults.discoveryDrop = true
    for (const slug of slugs)
      expect((await new Visitor().get(`${portal.url}/login/${slug}`)).status).toBe(502)
    await suspected(2)
    for (const slug of slugs) await new Visitor().get(`${portal.url}/login/${slug}`)
    await portal.sso.runMaintenance()
    expect(await rows()).toHaveLength(2)
  })

  it('follow the address rules of a sign-in, and say no more than that the provider is unreachable', async () => {
    await portal.knex('sso_providers').update({ issuer: 'https://169.254.169.254', metadata_url: null })
    await confirmOutage()
    expect(await healthOf()).toMatchObject({ endpoint: 'metadata', fault: 'unreachable' })
    expect(JSON.stringify(await events())).not.toContain('169.254')
  })

  it('in progress record nothing when the portal closes', async () => {
    timers = takeTimers()
    provider.faults.tokenResponse = down
    await fail()
    await suspected()
    provider.requests.length = 0
    provider.faults.discoveryHang = true
    timers.pass(3000)
    await until(async () => provider.requests.length > 0)
    await portal.sso.close()
    expect(await rows()).toMatchObject([{ failing_since: null, checked_at: null }])
    expect(portal.logs.filter(({ message }) => /health of a provider/.test(message))).toEqual([])
  })
})

describe('a start of a sign-in with a provider that is down', () => {
  const continueAnyway = /<a class="sso-button" href="([^"]*)">Continue anyway<\/a>/
  const stepsIn = ({ body }: Seen) =>
    [...body.matchAll(/<a class="sso-button( sso-button-primary)?" href="[^"]*">([^<]+)</g)].map(
      ([, primary, label]) => (primary ? `${label} (primary)` : label),
    )

  it('offers first what most likely works', async () => {
    await recordOutage()
    const click = () => new Visitor().get(`${portal.url}/login/acme`)
    expect(stepsIn(await click())).toEqual(['Try again (primary)', 'Continue anyway'])
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    expect(stepsIn(await click())).toEqual(['Use another way (primary)', 'Continue anyway'])
    await portal.sso.providers.update('other', { showOnPicker: false })
    const hidden = ['Try again (primary)', 'Continue anyway', 'Use another way']
    expect(stepsIn(await click())).toEqual(hidden)
    await portal.sso.providers.update('other', { showOnPicker: true })
    await recordOutage('other')
    expect(stepsIn(await click())).toEqual(hidden)
  })

  it('shows our page first, with both ways to go on', async () => {
    await recordOutage()
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    const before = await portal.knex('sso_events')
    const seen = await new Visitor().get(
      `${portal.url}/login/acme?returnTo=/portal/deep&max_age=60&login_hint=ada`,
    )
    expect(seen.status).toBe(502)
    expect(seen.body).toContain('<h1>Acme cannot be reached right now</h1>')
    expect(seen.body).toContain('href="/login?returnTo=%2Fportal%2Fdeep&amp;max_age=60">Use another way</a>')
    const [, href = ''] = continueAnyway.exec(seen.body) ?? []
    const onward = await new Visitor().get(portal.url + href.replaceAll('&amp;', '&'))
    const request = new URL(onward.location!)
    expect(request.origin).toBe(new URL(provider.issuer).origin)
    expect([...request.searchParams]).toEqual(
      expect.arrayContaining([
        ['max_age', '60'],
        ['login_hint', 'ada'],
      ]),
    )
    // One user who waits is no second failure.
    expect(await portal.knex('sso_events')).toEqual(before)
    expect(seen.body).not.toContain('sso-reference')
  })

  it('is in German, and JSON for other clients', async () => {
    await recordOutage()
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    const seen = await new Visitor({ 'accept-language': 'de' }).get(`${portal.url}/login/acme`)
    expect(seen.body).toContain('>Trotzdem fortfahren</a>')
    expect(seen.body).toContain('>Anders anmelden</a>')
    const json = await new Visitor({ accept: 'application/json' }).get(`${portal.url}/login/acme`)
    expect(JSON.parse(json.body)).toMatchObject({ code: 'provider_unavailable', status: 502 })
  })

  it('is found although its metadata is cached: users leave and none returns', async () => {
    expect((await fail()).status).toBe(200)
    timers = takeTimers()
    Object.assign(provider.faults, { discoveryDrop: true, jwksDrop: true, tokenDrop: true })
    const start = async () => await new Visitor().get(`${portal.url}/login/acme`)
    const { status, location } = await start()
    expect([status, location]).toEqual([302, expect.stringContaining(provider.issuer)])
    expect(await rows()).toEqual([])
    const now = Date.now()
    const later = jest.spyOn(Date, 'now').mockReturnValue(now + 11_000)
    const recorded = once(portal.sso.events, 'provider-unavailable')
    expect((await start()).status).toBe(302)
    await suspected()
    timers.pass(3000)
    await recorded
    later.mockRestore()
    expect((await start()).body).toMatch(continueAnyway)
  })
})

it.each(everyDatabase)('on %s, several instances confirm and end one outage', async (_name, fresh) => {
  const database = await openMigrated(fresh)
  const instances: PortalSso[] = []
  const found: string[] = []
  for (let count = 0; count < 3; count++) {
    const sso = await createPortalSso({
      baseUrl: 'http://127.0.0.1:3000',
      secret: testSecret,
      database: database.config,
      outbound: { allowedAddresses: ['127.0.0.0/8'] },
      logger: { info() {}, warn() {}, error() {} },
    })
    sso.events.on('provider-unavailable', () => found.push('unavailable'))
    sso.events.on('provider-recovered', () => found.push('recovered'))
    instances.push(sso)
  }
  const [first] = instances
  const { issuer, clientId, clientSecret } = provider
  await first!.providers.connect({ slug: 'acme', displayName: 'Acme', issuer, clientId, clientSecret })
  const { id } = await first!.providers.get('acme')
  const past = '2020-01-01T00:00:00.000Z'
  await database.knex('sso_provider_health').insert({ provider_id: id, claimed_at: past, due_at: past })
  provider.faults.discoveryResponse = down
  await Promise.all(instances.map((sso) => sso.runMaintenance()))
  const health = (await first!.providers.get('acme')).health
  expect(health).toMatchObject({ endpoint: 'metadata', fault: 'server-error' })
  delete provider.faults.discoveryResponse
  await database.knex('sso_provider_health').update({ due_at: past })
  await Promise.all(instances.map((sso) => sso.runMaintenance()))
  expect(await database.knex('sso_provider_health')).toEqual([])
  expect(found).toEqual(['unavailable', 'recovered'])
  for (const sso of instances) await sso.close()
  await database.close()
})
