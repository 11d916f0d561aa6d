import { Session } from 'node:inspector/promises'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startFaultyProvider } from '../test/support/faulty-provider.ts'
import { startPortal } from '../test/support/portal.ts'
import { type Seen, Visitor } from '../test/support/visitor.ts'

export interface RequestCost {
  /** files of `lib/` in which at least one function ran */
  files: string[]
  /** each as `file:name@offset` */
  functions: string[]
  /** SQL */
  statements: string[]
}

const lib = path.resolve(import.meta.dirname, '..', 'lib') + path.sep

/**
 * Measures both requests of a sign-in: a returning user of the built-in users table, with rate limits on and sessions in this
 * process. A first sign-in links the user and fills the caches; the second one, in another browser, is measured.
 */
export async function measureRequests(): Promise<{ start: RequestCost; callback: RequestCost }> {
  const provider = await startFaultyProvider()
  const portal = await startPortal({ rateLimits: {}, session: { userCacheSeconds: 5 } })
  const profiler = new Session()
  profiler.connect()
  try {
    await portal.connect(provider)
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
    await new Visitor().open(`${portal.url}/login/acme?returnTo=/portal`)

    await profiler.post('Profiler.enable')
    await profiler.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
    const statements: string[] = []
    portal.knex.on('query', ({ sql }: { sql: string }) => statements.push(sql))
    const measure = async (request: () => Promise<Seen>): Promise<[Seen, RequestCost]> => {
      await functionsUntilQuiet(profiler)
      statements.length = 0
      const seen = await request()
      const functions = [...(await functionsUntilQuiet(profiler))].sort()
      const files = [...new Set(functions.map((name) => name.replace(/:.*/, '')))]
      return [seen, { files, functions, statements: [...statements] }]
    }

    const visitor = new Visitor()
    const [toProvider, start] = await measure(() => visitor.get(`${portal.url}/login/acme?returnTo=/portal`))
    const { location: callbackUrl = '' } = await visitor.get(toProvider.location ?? '')
    const [toPortal, callback] = await measure(() => visitor.get(callbackUrl))
    const { status } = await visitor.follow(toPortal)
    if (status !== 200) throw new Error(`the measured sign-in failed with status ${status}`)
    return { start, callback }
  } finally {
    profiler.disconnect()
    await portal.close()
    await provider.close()
  }
}

/** Collects the functions that ran since the last call, also after the response, until none runs for 200 ms. */
async function functionsUntilQuiet(profiler: Session): Promise<Set<string>> {
  const all = new Set<string>()
  for (let rounds = 0; rounds < 50; rounds++) {
    const called = await takeFunctions(profiler)
    if (called.length === 0 && rounds > 0) return all
    for (const name of called) all.add(name)
    await wait(200)
  }
  throw new Error('the portal does not become quiet')
}

async function takeFunctions(profiler: Session): Promise<string[]> {
  const { result } = await profiler.post('Profiler.takePreciseCoverage')
  return result
    .filter(({ url }) => url.startsWith('file:') && fileURLToPath(url).startsWith(lib))
    .flatMap(({ url, functions }) =>
      functions.flatMap(({ functionName, ranges: [range] }) => {
        const isModule = functionName === '' && range?.startOffset === 0
        // `__name` is a helper that tsx adds to files.
        if (!range?.count || isModule || functionName === '__name') return []
        return `${fileURLToPath(url).slice(lib.length)}:${functionName || 'anonymous'}@${range.startOffset}`
      }),
    )
}
