import { LRUCache } from 'lru-cache'

/** What a slower part said a moment ago. */
export interface Cached<T> {
  get(key: string): Promise<T>
  forget(key: string): void
}

export interface CacheLimits {
  /** milliseconds that an answer counts; 0: every time anew */
  fresh: number
  /** milliseconds that the last answer counts while the part is away */
  spare: number
}

/** entries; the longest unused go first */
const most = 20_000
/** milliseconds: who is away is not asked for every request, each of which would wait for it */
const pause = 2000

interface Entry<T> {
  value: T
  /** milliseconds since 1970 */
  at: number
  askAgain: number
}

export function createCached<T>(ask: (key: string) => Promise<T>, { fresh, spare }: CacheLimits): Cached<T> {
  const entries = new LRUCache<string, { entry: Entry<T> }>({ max: most })
  let forgotten = 0

  return {
    async get(key) {
      const known = entries.get(key)?.entry
      const now = Date.now()
      if (known && now < known.askAgain) return known.value
      const before = forgotten
      try {
        const value = await ask(key)
        // An answer from before something was forgotten must not come back after it.
        if (before === forgotten) entries.set(key, { entry: { value, at: now, askAgain: now + fresh } })
        return value
      } catch (error) {
        if (!known || !entries.has(key) || now - known.at > spare) throw error
        known.askAgain = Date.now() + pause
        return known.value
      }
    },
    forget(key) {
      forgotten++
      entries.delete(key)
    },
  }
}
