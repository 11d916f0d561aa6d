import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { StaleCache } from '../../lib/shared/cache.ts'

/** A source that answers when the test tells it to. */
function slowSource() {
  const questions: { answer: (value: string) => void; fail: () => void }[] = []
  const ask = () =>
    new Promise<string>((resolve, reject) => {
      questions.push({ answer: resolve, fail: () => reject(new Error('away')) })
    })
  return { ask, questions }
}

let now = 1_800_000_000_000
const pass = (milliseconds: number) => {
  now += milliseconds
}

beforeEach(() => {
  jest.spyOn(Date, 'now').mockImplementation(() => now)
})
afterEach(() => {
  jest.restoreAllMocks()
})

describe('a cached value', () => {
  it('is used until its time to live has passed, counted from the start of the load', async () => {
    let asked = 0
    const cached = new StaleCache(async () => `answer ${++asked}`, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    expect(await cached.get('ada')).toBe('answer 1')
    pass(4999)
    expect(await cached.get('ada')).toBe('answer 1')
    expect(await cached.get('grace')).toBe('answer 2')
    pass(1)
    expect(await cached.get('ada')).toBe('answer 3')
  })

  it('is loaded once for concurrent callers, but again for callers to whom the result would be stale', async () => {
    const { ask, questions } = slowSource()
    const cached = new StaleCache(ask, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const early = [cached.get('ada'), cached.get('ada'), cached.get('ada')]
    expect(questions).toHaveLength(1)
    pass(5000)
    const late = cached.get('ada')
    expect(questions).toHaveLength(2)
    questions[1]!.answer('new')
    expect(await late).toBe('new')
    questions[0]!.answer('old')
    expect(await Promise.all(early)).toEqual(['old', 'old', 'old'])
    // The result of an overtaken load is not kept.
    expect(await cached.get('ada')).toBe('new')
  })

  it('does not come back after it was deleted, even by a load in flight', async () => {
    const { ask, questions } = slowSource()
    const cached = new StaleCache(ask, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const before = cached.get('ada')
    cached.delete('ada')
    const after = cached.get('ada')
    expect(questions).toHaveLength(2)
    questions[0]!.answer('runs')
    await before
    questions[1]!.answer('has ended')
    expect(await after).toBe('has ended')
    expect(await cached.get('ada')).toBe('has ended')
  })

  it('is kept while another key is deleted', async () => {
    const { ask, questions } = slowSource()
    const cached = new StaleCache(ask, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const asking = cached.get('ada')
    cached.delete('grace')
    questions[0]!.answer('ada')
    await asking
    expect(await cached.get('ada')).toBe('ada')
    expect(questions).toHaveLength(1)
  })

  it('is served for a while after the source fails, without asking the source at every request', async () => {
    let away = false
    let asked = 0
    const ask = async () => {
      asked++
      if (away) throw new Error('away')
      return 'ada'
    }
    const cached = new StaleCache(ask, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    await cached.get('ada')
    away = true
    pass(59_000)
    for (let request = 0; request < 10; request++) expect(await cached.get('ada')).toBe('ada')
    expect(asked).toBe(2)
    await expect(cached.get('grace')).rejects.toThrow('away')
    pass(2001)
    await expect(cached.get('ada')).rejects.toThrow('away')
  })

  it('is not served after a failed load if it was deleted and replaced in the meantime', async () => {
    const { ask, questions } = slowSource()
    const cached = new StaleCache(ask, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const first = cached.get('ada')
    questions[0]!.answer('runs')
    await first
    pass(5000)
    const waiting = cached.get('ada')
    cached.delete('ada')
    const anew = cached.get('ada')
    questions[2]!.answer('has ended')
    await anew
    questions[1]!.fail()
    await expect(waiting).rejects.toThrow('away')
    expect(await cached.get('ada')).toBe('has ended')
  })

  it('is never kept with a time to live of 0, not even for a failing source', async () => {
    const { ask, questions } = slowSource()
    const cached = new StaleCache(ask, { ttlMs: 0, staleIfErrorMs: 60_000 })
    const both = [cached.get('ada'), cached.get('ada')]
    expect(questions).toHaveLength(2)
    for (const question of questions) question.answer('ada')
    await Promise.all(both)
    const third = cached.get('ada')
    questions[2]!.fail()
    await expect(third).rejects.toThrow('away')
  })
})
