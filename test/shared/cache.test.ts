import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createStaleCache } from '../../lib/shared/cache.ts'

/** A part that is asked, and answers when it is told to. */
function slowPart() {
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

describe('what a part said a moment ago', () => {
  it('counts as long as it is fresh, from when it was asked for', async () => {
    let asked = 0
    const cached = createStaleCache(async () => `answer ${++asked}`, { fresh: 5000, spare: 60_000 })
    expect(await cached.get('ada')).toBe('answer 1')
    pass(4999)
    expect(await cached.get('ada')).toBe('answer 1')
    expect(await cached.get('grace')).toBe('answer 2')
    pass(1)
    expect(await cached.get('ada')).toBe('answer 3')
  })

  it('is one question for many who ask at once, but not for those who come when its answer would be too old', async () => {
    const { ask, questions } = slowPart()
    const cached = createStaleCache(ask, { fresh: 5000, spare: 60_000 })
    const early = [cached.get('ada'), cached.get('ada'), cached.get('ada')]
    expect(questions).toHaveLength(1)
    pass(5000)
    const late = cached.get('ada')
    expect(questions).toHaveLength(2)
    questions[1]!.answer('new')
    expect(await late).toBe('new')
    questions[0]!.answer('old')
    expect(await Promise.all(early)).toEqual(['old', 'old', 'old'])
    // An answer that was overtaken is not kept.
    expect(await cached.get('ada')).toBe('new')
  })

  it('does not come back after it was forgotten, also by a question that was under way', async () => {
    const { ask, questions } = slowPart()
    const cached = createStaleCache(ask, { fresh: 5000, spare: 60_000 })
    const before = cached.get('ada')
    cached.forget('ada')
    const after = cached.get('ada')
    expect(questions).toHaveLength(2)
    questions[0]!.answer('runs')
    await before
    questions[1]!.answer('has ended')
    expect(await after).toBe('has ended')
    expect(await cached.get('ada')).toBe('has ended')
  })

  it('is kept though something else is forgotten meanwhile', async () => {
    const { ask, questions } = slowPart()
    const cached = createStaleCache(ask, { fresh: 5000, spare: 60_000 })
    const asking = cached.get('ada')
    cached.forget('grace')
    questions[0]!.answer('ada')
    await asking
    expect(await cached.get('ada')).toBe('ada')
    expect(questions).toHaveLength(1)
  })

  it('serves while the part is away, for a while, and the part is not asked for every request', async () => {
    let away = false
    let asked = 0
    const ask = async () => {
      asked++
      if (away) throw new Error('away')
      return 'ada'
    }
    const cached = createStaleCache(ask, { fresh: 5000, spare: 60_000 })
    await cached.get('ada')
    away = true
    pass(59_000)
    for (let request = 0; request < 10; request++) expect(await cached.get('ada')).toBe('ada')
    expect(asked).toBe(2)
    await expect(cached.get('grace')).rejects.toThrow('away')
    pass(2001)
    await expect(cached.get('ada')).rejects.toThrow('away')
  })

  it('does not serve those who waited in vain, once it was forgotten and the part has said something else', async () => {
    const { ask, questions } = slowPart()
    const cached = createStaleCache(ask, { fresh: 5000, spare: 60_000 })
    const first = cached.get('ada')
    questions[0]!.answer('runs')
    await first
    pass(5000)
    const waiting = cached.get('ada')
    cached.forget('ada')
    const anew = cached.get('ada')
    questions[2]!.answer('has ended')
    await anew
    questions[1]!.fail()
    await expect(waiting).rejects.toThrow('away')
    expect(await cached.get('ada')).toBe('has ended')
  })

  it('never counts where nothing may: each asks for itself, and nothing is kept for when the part is away', async () => {
    const { ask, questions } = slowPart()
    const cached = createStaleCache(ask, { fresh: 0, spare: 60_000 })
    const both = [cached.get('ada'), cached.get('ada')]
    expect(questions).toHaveLength(2)
    for (const question of questions) question.answer('ada')
    await Promise.all(both)
    const third = cached.get('ada')
    questions[2]!.fail()
    await expect(third).rejects.toThrow('away')
  })
})
