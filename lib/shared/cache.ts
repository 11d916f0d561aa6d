import { LRUCache } from 'lru-cache'

/** What a slower part said a moment ago. */
export interface StaleCache<T> {
  get(key: string): Promise<T>
  forget(key: string): void
}

export interface CacheLimits {
  /** milliseconds that an answer counts; 0: every time anew, and nothing is kept */
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
  /** milliseconds since 1970, when it was asked for */
  at: number
  askAgain: number
}

interface Asking<T> {
  answer: Promise<T>
  at: number
}

/** @param ask is told what was known before, if anything is */
export function createStaleCache<T>(
  ask: (key: string, before?: T) => Promise<T>,
  { fresh, spare }: CacheLimits,
): StaleCache<T> {
  const entries = new LRUCache<string, Entry<T>>({ max: most })
  const underWay = new Map<string, Asking<T>>()

  /** Many at once share a question, unless it was asked so long ago that its answer would be too old for those who come now. */
  async function shared(key: string, known: T | undefined): Promise<T> {
    const now = Date.now()
    const before = underWay.get(key)
    if (before && now - before.at < fresh) return await before.answer
    const asking: Asking<T> = { answer: ask(key, known), at: now }
    underWay.set(key, asking)
    // An answer from before something was forgotten must not come back after it, nor one that a later question overtook.
    const isLast = () => underWay.get(key) === asking
    try {
      const value = await asking.answer
      if (isLast()) entries.set(key, { value, at: now, askAgain: now + fresh })
      return value
    } finally {
      if (isLast()) underWay.delete(key)
    }
  }

  return {
    async get(key) {
      if (fresh === 0) return await ask(key)
      const known = entries.get(key)
      if (known && Date.now() < known.askAgain) return known.value
      try {
        return await shared(key, known?.value)
      } catch (error) {
        // What was forgotten while we waited does not count any more, whoever has asked again since.
        if (!known || entries.get(key) !== known || Date.now() - known.at > spare) throw error
        known.askAgain = Date.now() + pause
        return known.value
      }
    },
    forget(key) {
      underWay.delete(key)
      entries.delete(key)
    },
  }
}
