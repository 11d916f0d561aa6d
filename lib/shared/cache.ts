import { LRUCache } from 'lru-cache'
import { MINUTE, SECOND, withTimeout } from './time.ts'

/** How long signed-in users may continue while the database is down. */
export const staleIfErrorMs: number = 10 * MINUTE

const maxEntries = 20_000
/** Without this pause every request would ask a source that fails. */
const retryDelayMs = SECOND / 2
const hangMs = SECOND / 4
/** After a load that hung and failed, callers do not wait for the next one. */
const hangMemoryMs = SECOND

interface Entry<T> {
  value: T
  /** when the source was asked */
  loadedAt: number
  /** milliseconds, of `performance.now()` */
  retryAt: number
}

interface Load<T> {
  result: Promise<T>
  startedAt: number
}

/**
 * Remembers values of a slower source, and serves the last value while the source fails or hangs.
 *
 * Attacker: slows the source down, to keep using a value that was revoked. The load goes on meanwhile, and its result replaces the
 * value, so the attacker gains the duration of one load.
 */
export class StaleCache<T> {
  readonly #load: (key: string, previous?: T) => Promise<T>
  readonly #ttlMs: number
  readonly #staleIfErrorMs: number
  readonly #entries: LRUCache<string, Entry<T>>
  readonly #inFlight = new Map<string, Load<T>>()
  /** a load that takes too long, until it settles */
  #probe: Promise<unknown> | undefined
  /** milliseconds, of `performance.now()` */
  #hungAt = Number.NEGATIVE_INFINITY

  /**
   * @param load reads a value from the source; it receives the cached value, if there is one
   * @param limits `ttlMs` 0 disables the cache; `staleIfErrorMs` counts from the last successful load
   */
  constructor(
    load: (key: string, previous?: T) => Promise<T>,
    { ttlMs, staleIfErrorMs }: { ttlMs: number; staleIfErrorMs: number },
  ) {
    this.#load = load
    this.#ttlMs = ttlMs
    this.#staleIfErrorMs = staleIfErrorMs
    // Not `max`, which allocates the space for all entries at once.
    this.#entries = new LRUCache({ maxSize: maxEntries, sizeCalculation: () => 1 })
  }

  /** @param onStale allows a value that is too old, and is called if it is returned because the source fails or hangs */
  async get(key: string, onStale?: () => void): Promise<T> {
    if (this.#ttlMs === 0) return await this.#load(key)
    const cached = this.#entries.get(key)
    if (cached && isYounger(cached, this.#ttlMs)) return cached.value
    // An entry that was deleted or replaced while we waited no longer counts.
    const isUsable = (entry: Entry<T>) =>
      this.#entries.get(key) === entry && isYounger(entry, this.#staleIfErrorMs + 1)
    if (!onStale || !cached || !isUsable(cached)) return await this.#loadOnce(key, cached?.value)
    if (!this.#probe && performance.now() >= cached.retryAt) {
      const load = this.#loadOnce(key, cached.value)
      const isHanging = performance.now() - this.#hungAt < hangMemoryMs
      const outcome = await settledWithin(isHanging ? 0 : hangMs, load)
      if (outcome === 'hung') this.#followProbe(load)
      if (outcome === 'failed') cached.retryAt = performance.now() + retryDelayMs
      if (outcome === 'loaded' || !isUsable(cached)) return await load
    }
    onStale()
    return cached.value
  }

  /** Until it settles, nobody else waits for the source, and no further loads accumulate there. */
  #followProbe(load: Promise<T>): void {
    this.#probe ??= load
    load
      .catch(() => {
        this.#hungAt = performance.now()
      })
      .finally(() => {
        if (this.#probe === load) this.#probe = undefined
      })
  }

  /** Stores a value that was read otherwise, unless a newer one is known or on its way. @param loadedAt when the source was asked */
  set(key: string, value: T, loadedAt: number): void {
    const isOlder = (this.#entries.get(key)?.loadedAt ?? 0) >= loadedAt || this.#inFlight.has(key)
    if (this.#ttlMs > 0 && !isOlder) this.#entries.set(key, { value, loadedAt, retryAt: 0 })
  }

  delete(key: string): void {
    this.#inFlight.delete(key)
    this.#entries.delete(key)
  }

  /** Concurrent callers share a load, unless it started so long ago that its result would be stale for them. */
  async #loadOnce(key: string, previous: T | undefined): Promise<T> {
    const now = Date.now()
    const running = this.#inFlight.get(key)
    if (running && now - running.startedAt < this.#ttlMs) return await running.result
    const load: Load<T> = { result: this.#load(key, previous), startedAt: now }
    this.#inFlight.set(key, load)
    // A load that started before `delete`, or that a later one overtook, must not store its result.
    const isCurrent = () => this.#inFlight.get(key) === load
    try {
      const value = await load.result
      if (isCurrent()) this.#entries.set(key, { value, loadedAt: now, retryAt: 0 })
      // Any success shows that the source responds.
      this.#probe = undefined
      this.#hungAt = Number.NEGATIVE_INFINITY
      return value
    } finally {
      if (isCurrent()) this.#inFlight.delete(key)
    }
  }
}

/** False after the clock was set back: a value that was revoked since would otherwise be used until the clock has caught up. */
function isYounger({ loadedAt }: Entry<unknown>, limitMs: number): boolean {
  const ageMs = Date.now() - loadedAt
  return ageMs >= 0 && ageMs < limitMs
}

/** Never rejects: a load that fails later than this has no caller any more. */
async function settledWithin(
  milliseconds: number,
  load: Promise<unknown>,
): Promise<'loaded' | 'failed' | 'hung'> {
  const settled = load.then(
    () => 'loaded' as const,
    () => 'failed' as const,
  )
  return await withTimeout(milliseconds, settled).catch(() => 'hung')
}
