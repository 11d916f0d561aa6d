import { LRUCache } from 'lru-cache'
import { SECOND } from './time.ts'

const maxEntries = 20_000
/** Without this pause every request would wait for a source that is down. */
const retryDelayMs = 2 * SECOND

interface Entry<T> {
  value: T
  /** when the source was asked */
  loadedAt: number
  retryAt: number
}

interface Load<T> {
  result: Promise<T>
  startedAt: number
}

/** Remembers values of a slower source, and serves the last value while the source fails. */
export class StaleCache<T> {
  readonly #load: (key: string, previous?: T) => Promise<T>
  readonly #ttlMs: number
  readonly #staleIfErrorMs: number
  readonly #entries: LRUCache<string, Entry<T>>
  readonly #inFlight = new Map<string, Load<T>>()

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

  async get(key: string): Promise<T> {
    if (this.#ttlMs === 0) return await this.#load(key)
    const cached = this.#entries.get(key)
    if (cached && Date.now() < cached.retryAt) return cached.value
    try {
      return await this.#loadOnce(key, cached?.value)
    } catch (error) {
      // An entry that was deleted or replaced while we waited no longer counts.
      const isUsable =
        cached && this.#entries.get(key) === cached && Date.now() - cached.loadedAt <= this.#staleIfErrorMs
      if (!isUsable) throw error
      cached.retryAt = Date.now() + retryDelayMs
      return cached.value
    }
  }

  /** Stores a value that was read otherwise, unless a newer one is known or on its way. @param loadedAt when the source was asked */
  set(key: string, value: T, loadedAt: number): void {
    const isOlder = (this.#entries.get(key)?.loadedAt ?? 0) >= loadedAt || this.#inFlight.has(key)
    if (this.#ttlMs > 0 && !isOlder)
      this.#entries.set(key, { value, loadedAt, retryAt: loadedAt + this.#ttlMs })
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
      if (isCurrent()) this.#entries.set(key, { value, loadedAt: now, retryAt: now + this.#ttlMs })
      return value
    } finally {
      if (isCurrent()) this.#inFlight.delete(key)
    }
  }
}
