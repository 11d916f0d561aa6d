import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals'
import { type FaultyProvider, startFaultyProvider } from '../../support/faulty-provider.ts'
import { acmeInput } from '../../support/portal.ts'
import { type Instance, type InstanceProcess, spawnInstance } from '../../support/start-instance.ts'
import { type BreakableServer, startBreakablePostgres, startBreakableRedis } from './breakable-server.ts'
import { Load, people, type Sample, signInPeople } from './load.ts'

/** Added to every bound of a wait, because the tests share the machine with the servers and the load. See also `longestWait`. */
export const slackMs = 1000
/** Everything must work again within this time after a part is restored. */
const recoveryMs = 10_000
/** The log line about the end of an outage comes within this time: not at once, because the part may fail again. */
const endLogMs = 10_000
const outageCodes = ['database_unavailable', 'session_unavailable']
/** Live memory that an outage may add: caches and compiled code, not queues. */
const heapGrowthBytes = 15_000_000

type Options = InstanceProcess['options'] & { nodeArgs?: string[]; env?: Record<string, string> }

export interface Parts {
  provider: FaultyProvider
  redis: BreakableServer
  postgres: BreakableServer
  /** Starts an instance with the provider as `acme`, for one test. */
  startInstance(options?: Options, given?: Partial<InstanceProcess>): Promise<Instance>
  /** Starts an instance under the light load, for one test. */
  startUnderLoad(options?: Options, given?: Partial<InstanceProcess>): Promise<Scene>
}

/** Starts a Redis, a PostgreSQL and a provider that belong to one file of scenarios. */
export function useParts(): Parts {
  const parts = {} as Parts
  const open: { kill(): Promise<void> }[] = []
  const loads: Load[] = []
  beforeAll(async () => {
    ;[parts.provider, parts.redis, parts.postgres] = await Promise.all([
      startFaultyProvider(),
      startBreakableRedis(),
      startBreakablePostgres(),
    ])
  })
  afterEach(async () => {
    for (const instance of open.splice(0)) await instance.kill()
    for (const load of loads.splice(0)) await load.stop()
    parts.provider.reset()
  })
  afterAll(async () => {
    for (const server of [parts.provider, parts.redis, parts.postgres]) await server?.close()
  })
  parts.startInstance = async ({ nodeArgs = [], env, ...options } = {}, given = {}) => {
    const instance = await spawnInstance({
      databaseUrl: parts.postgres.url,
      redisUrl: parts.redis.url,
      nodeArgs: ['--expose-gc', ...nodeArgs],
      ...(env && { env }),
      ...given,
      options: {
        log: true,
        ...options,
      },
    })
    open.push(instance)
    return instance
  }
  parts.startUnderLoad = async (options, given) => {
    const instance = await parts.startInstance(options, given)
    const slugs = (await instance.act('list')) as { slug: string }[]
    if (!slugs.some(({ slug }) => slug === 'acme')) {
      await instance.act('connect', acmeInput(parts.provider))
      await instance.post('users', ...people.map(({ email, name }) => ({ email, name, fields: {} })))
    }
    signInPeople(parts.provider)
    const url = given?.url ?? `http://127.0.0.1:${instance.port}`
    const load = new Load(url, [instance])
    loads.push(load)
    await load.start()
    return new Scene(url, instance, load)
  }
  return parts
}

export interface Outage {
  /** Requests that were answered before. */
  before: Sample[]
  /** Requests that were sent while the part was broken, the first one just before. */
  during: Sample[]
  /** All requests of the scenario. */
  all: Sample[]
  /** Log lines from the break until the end. */
  logs: Instance['logs']
  brokenAt: number
  /** The part was broken completely. */
  brokenBy: number
  restoredAt: number
}

/** An instance under load. */
export class Scene {
  readonly url: string
  readonly instance: Instance
  readonly load: Load

  constructor(url: string, instance: Instance, load: Load) {
    this.url = url
    this.instance = instance
    this.load = load
  }

  /**
   * Breaks a part for some time and restores it. Expects what must hold in every scenario: nobody is signed out, each request is
   * answered, everything recovers, and memory does not grow.
   */
  async outage(seconds: number, breakPart: () => unknown, restorePart: () => unknown): Promise<Outage> {
    const { load, instance } = this
    await delay(2000)
    const heapBefore = Number(await instance.get('heap'))
    const brokenAt = performance.now()
    await breakPart()
    const brokenBy = performance.now()
    await delay(seconds * 1000)
    const restoring = performance.now()
    await restorePart()
    const restoredAt = performance.now()
    const recovered = await this.#recover(restoredAt)
    if (instance.logs.some(({ at, fields }) => at >= brokenAt && outageCodes.includes(String(fields.code))))
      await this.#waitForEndLog(restoredAt)
    await load.stop()
    const heapAfter = Number(await instance.get('heap'))
    const outage = {
      before: load.between(0, brokenAt).filter(({ at, waitMs }) => at + waitMs < brokenAt),
      all: load.samples,
      during: load.between(brokenAt, restoring),
      logs: instance.logs.filter(({ at }) => at >= brokenAt),
      brokenAt,
      brokenBy,
      restoredAt,
    }
    const growth = heapAfter - heapBefore
    const { currentTestName } = expect.getState()
    console.log(`${currentTestName}\n${summarize(outage)}\nheap ${(growth / 1e6).toFixed(1)} MB`)
    expect(recovered).toBe(true)
    expect(load.samples.filter(({ signedOut }) => signedOut).slice(0, 3)).toEqual([])
    expect(load.samples.filter(({ status }) => status === 0).slice(0, 3)).toEqual([])
    const { before } = outage
    expect([statuses(ofKind(before, 'page')), statuses(ofKind(before, 'callback'))]).toEqual([[200], [303]])
    expect(growth).toBeLessThan(heapGrowthBytes)
    return outage
  }

  /** Waits until pages and sign-ins have worked for a second. @returns whether they did in time */
  async #recover(restoredAt: number): Promise<boolean> {
    for (let now = performance.now(); now < restoredAt + recoveryMs + slackMs; now = performance.now()) {
      const recent = this.load.between(Math.max(restoredAt, now - 1200))
      const worked = (kind: Sample['kind'], status: number) =>
        ofKind(recent, kind).length > 0 && ofKind(recent, kind).every((sample) => sample.status === status)
      if (now > restoredAt + 1500 && worked('page', 200) && worked('callback', 303)) return true
      await delay(250)
    }
    return false
  }

  async #waitForEndLog(restoredAt: number): Promise<void> {
    while (performance.now() < restoredAt + endLogMs && this.instance.logs.at(-1)!.at < restoredAt + 1000)
      await delay(250)
  }
}

/** One log line at the start and one at the end, with the reference that each failed request shows. */
export function expectOneOutage({ logs, all, brokenAt }: Outage): void {
  const lines = logs.filter(({ fields }) => fields.task === undefined)
  expect(lines.map(({ message }) => message)).toHaveLength(2)
  const shown = all.filter(({ at, status }) => at >= brokenAt && status >= 400)
  expect(
    new Set([...shown, ...lines.map(({ fields }) => fields)].map(({ reference }) => reference)).size,
  ).toBe(1)
}

/** The different statuses, sorted. */
export const statuses = (samples: readonly Sample[]): number[] =>
  [...new Set(samples.map(({ status }) => status))].sort((a, b) => a - b)

export const ofKind = (samples: readonly Sample[], ...kinds: Sample['kind'][]): Sample[] =>
  samples.filter(({ kind }) => kinds.includes(kind))

/** Subtracts the time in which a control request was waiting, too: the machine itself was slow then. */
function ownWait({ at, waitMs }: Sample, all: readonly Sample[]): number {
  const end = at + waitMs
  let own = waitMs
  let counted = at
  for (const control of ofKind(all, 'control').sort((a, b) => a.at - b.at)) {
    const [from, until] = [Math.max(control.at, counted), Math.min(control.at + control.waitMs, end)]
    if (until <= from) continue
    own -= until - from
    counted = until
  }
  return own
}

/** @param percent of the requests do not wait longer */
const waitOf = (samples: readonly Sample[], all: readonly Sample[], percent: number): number => {
  const waits = samples.map((sample) => ownWait(sample, all)).sort((a, b) => a - b)
  return Math.round(waits[Math.ceil((waits.length * percent) / 100) - 1] ?? 0)
}

/** Without the time in which the machine was slow. */
export const longestWait = ({ all }: Outage, samples: readonly Sample[]): number => waitOf(samples, all, 100)

/** The wait that 95 % of the requests do not exceed. */
export const usualWait = ({ all }: Outage, samples: readonly Sample[]): number => waitOf(samples, all, 95)

/** The figures of a scenario, which `npm run test:failures -- --silent=false` prints. */
function summarize(outage: Outage): string {
  const { during, all, logs, restoredAt } = outage
  const after = all.filter(({ at }) => at >= restoredAt)
  const kinds = (['page', 'start', 'callback'] as const).map((kind) => {
    const samples = ofKind(during, kind)
    const waits = `usual wait ${usualWait(outage, samples)} ms, longest ${longestWait(outage, samples)} ms`
    return `${samples.length} × ${kind}: ${counts(samples)}; ${waits}; afterwards ${counts(ofKind(after, kind))}`
  })
  const lines = new Map<string, Instance['logs']>()
  for (const line of logs) lines.set(line.message, [...(lines.get(line.message) ?? []), line])
  return [
    ...kinds,
    `longest wait of the machine ${Math.round(Math.max(...ofKind(during, 'control').map(({ waitMs }) => waitMs)))} ms`,
    ...[...lines].map(
      ([message, each]) => `${each.length} × "${message}" ${JSON.stringify(each[0]!.fields)}`,
    ),
  ].join('\n')
}

const counts = (samples: readonly Sample[]): string =>
  statuses(samples)
    .map((status) => `${samples.filter((sample) => sample.status === status).length} × ${status}`)
    .join(', ')
