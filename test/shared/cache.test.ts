import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { StaleCache } from '../../lib/shared/cache.ts'
import { type Clock, takeTimers } from '../support/clock.ts'

/** A source whose loads the test completes by hand. */
function slowSource() {
  const loads: { resolve: (value: string) => void; fail: () => void }[] = []
  const load = () =>
    new Promise<string>((resolve, reject) => {
      loads.push({ resolve, fail: () => reject(new Error('unavailable')) })
    })
  return { load, loads }
}

let now = 1_800_000_000_000
const allowed = () => {}
const advance = (milliseconds: number) => {
  now += milliseconds
}

beforeEach(() => {
  jest.spyOn(Date, 'now').mockImplementation(() => now)
})
afterEach(() => {
  jest.restoreAllMocks()
})

describe('a cached value', () => {
  it('is used until its time to live has elapsed since the start of the load', async () => {
    let count = 0
    const cached = new StaleCache(async () => `value ${++count}`, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    expect(await cached.get('ada')).toBe('value 1')
    advance(4999)
    expect(await cached.get('ada')).toBe('value 1')
    expect(await cached.get('grace')).toBe('value 2')
    advance(1)
    expect(await cached.get('ada')).toBe('value 3')
  })

  it.each([
    [3_600_000, 1],
    [240_000, 240_000],
  ])('is not used for longer because the clock was set back by %i ms', async (backMs, ageMs) => {
    let count = 0
    let failing = false
    const load = async () => {
      if (failing) throw new Error('unavailable')
      return `value ${++count}`
    }
    const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 600_000 })
    expect(await cached.get('ada')).toBe('value 1')
    advance(ageMs)
    failing = true
    expect(await cached.get('ada', allowed)).toBe('value 1')
    failing = false
    advance(-backMs - 1)
    expect(await cached.get('ada', allowed)).toBe('value 2')
  })

  it('is loaded once for concurrent callers, but again for a caller for whom the result would be stale', async () => {
    const { load, loads } = slowSource()
    const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const early = [cached.get('ada'), cached.get('ada'), cached.get('ada')]
    expect(loads).toHaveLength(1)
    advance(5000)
    const late = cached.get('ada')
    expect(loads).toHaveLength(2)
    loads[1]!.resolve('new')
    expect(await late).toBe('new')
    loads[0]!.resolve('old')
    expect(await Promise.all(early)).toEqual(['old', 'old', 'old'])
    // An older load that completes later must not replace the newer value.
    expect(await cached.get('ada')).toBe('new')
  })

  it('is not restored after its deletion by a load in flight', async () => {
    const { load, loads } = slowSource()
    const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const before = cached.get('ada')
    cached.delete('ada')
    const after = cached.get('ada')
    expect(loads).toHaveLength(2)
    loads[0]!.resolve('valid')
    await before
    loads[1]!.resolve('revoked')
    expect(await after).toBe('revoked')
    expect(await cached.get('ada')).toBe('revoked')
  })

  it('is kept while another key is deleted', async () => {
    const { load, loads } = slowSource()
    const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const loading = cached.get('ada')
    cached.delete('grace')
    loads[0]!.resolve('ada')
    await loading
    expect(await cached.get('ada')).toBe('ada')
    expect(loads).toHaveLength(1)
  })

  it('is served for a limited time after the source fails, without a load at every request', async () => {
    let failing = false
    let count = 0
    const load = async () => {
      count++
      if (failing) throw new Error('unavailable')
      return 'ada'
    }
    const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    await cached.get('ada')
    failing = true
    advance(59_000)
    for (let request = 0; request < 10; request++) expect(await cached.get('ada', allowed)).toBe('ada')
    expect(count).toBe(2)
    await expect(cached.get('grace')).rejects.toThrow('unavailable')
    advance(2001)
    await expect(cached.get('ada', allowed)).rejects.toThrow('unavailable')
  })

  it('is not served to a caller whose load fails after the value was deleted and replaced', async () => {
    const { load, loads } = slowSource()
    const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    const first = cached.get('ada')
    loads[0]!.resolve('valid')
    await first
    advance(5000)
    const waiting = cached.get('ada', allowed)
    cached.delete('ada')
    const replacement = cached.get('ada')
    loads[2]!.resolve('revoked')
    await replacement
    loads[1]!.fail()
    await expect(waiting).rejects.toThrow('unavailable')
    expect(await cached.get('ada')).toBe('revoked')
  })

  it('that was read otherwise counts from that time, unless a newer one is known or on its way', async () => {
    const { load, loads } = slowSource()
    const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 60_000 })
    cached.set('ada', 'read before', now - 1000)
    cached.set('ada', 'older', now - 2000)
    advance(3999)
    expect(await cached.get('ada')).toBe('read before')
    advance(1)
    const loading = cached.get('ada')
    cached.set('ada', 'read at the same time', now)
    loads[0]!.resolve('loaded')
    expect([await loading, await cached.get('ada')]).toEqual(['loaded', 'loaded'])
    const uncached = new StaleCache(async () => 'loaded', { ttlMs: 0, staleIfErrorMs: 60_000 })
    uncached.set('ada', 'read before', now)
    expect(await uncached.get('ada')).toBe('loaded')
  })

  describe('of a source that hangs', () => {
    let timers: Clock
    beforeEach(() => {
      timers = takeTimers()
    })
    afterEach(() => timers.back())

    const turn = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)))

    async function expired() {
      const { load, loads } = slowSource()
      const cached = new StaleCache(load, { ttlMs: 5000, staleIfErrorMs: 60_000 })
      for (const key of ['ada', 'grace']) {
        const first = cached.get(key)
        loads.at(-1)!.resolve(key)
        await first
      }
      advance(5000)
      loads.length = 0
      const stale: string[] = []
      const ask = (key: string) => cached.get(key, () => void stale.push(key))
      return { ask, cached, loads, stale }
    }

    it('is used after 250 ms; later callers do not wait, and one load goes on, whose success ends it', async () => {
      const { ask, loads, stale } = await expired()
      const first = ask('ada')
      timers.pass(249)
      await turn()
      expect(stale).toEqual([])
      timers.pass(1)
      expect(await first).toBe('ada')
      for (let n = 0; n < 50; n++) expect(await ask(n % 2 ? 'ada' : 'grace')).toMatch(/ada|grace/)
      expect(loads).toHaveLength(1)
      expect(stale).toHaveLength(51)
      loads[0]!.resolve('ada again')
      await turn()
      expect(await ask('ada')).toBe('ada again')
      const waiting = ask('grace')
      expect(loads).toHaveLength(2)
      loads[1]!.resolve('grace again')
      expect(await waiting).toBe('grace again')
      expect(stale).toHaveLength(51)
    })

    it('is used at once if the load fails in the end, and the next caller starts another one', async () => {
      const { ask, loads } = await expired()
      const first = ask('ada')
      timers.pass(250)
      await first
      loads[0]!.fail()
      await turn()
      const second = ask('grace')
      timers.pass(0)
      expect(await second).toBe('grace')
      expect(loads).toHaveLength(2)
    })

    it('is not used for a caller that does not allow it, nor after the time limit', async () => {
      const { ask, cached, loads, stale } = await expired()
      const strict = cached.get('ada')
      timers.pass(10_000)
      await turn()
      loads[0]!.resolve('fresh')
      expect(await strict).toBe('fresh')
      advance(60_001)
      const late = ask('grace')
      timers.pass(10_000)
      await turn()
      loads[1]!.fail()
      await expect(late).rejects.toThrow('unavailable')
      expect(stale).toEqual([])
    })

    it('is not used for longer than one load by an attacker who slows the source down', async () => {
      const { ask, loads } = await expired()
      const first = ask('ada')
      timers.pass(250)
      expect(await first).toBe('ada')
      loads[0]!.resolve('revoked')
      await turn()
      expect(await ask('ada')).toBe('revoked')
    })

    it('is not used after it was deleted here', async () => {
      const { ask, cached, loads, stale } = await expired()
      const first = ask('ada')
      timers.pass(250)
      await first
      cached.delete('ada')
      const second = ask('ada')
      timers.pass(10_000)
      loads.at(-1)!.resolve('revoked')
      expect(await second).toBe('revoked')
      expect(stale).toEqual(['ada'])
    })
  })

  it('is never kept with a time to live of 0, even if the source fails', async () => {
    const { load, loads } = slowSource()
    const cached = new StaleCache(load, { ttlMs: 0, staleIfErrorMs: 60_000 })
    const both = [cached.get('ada'), cached.get('ada')]
    expect(loads).toHaveLength(2)
    for (const each of loads) each.resolve('ada')
    await Promise.all(both)
    const third = cached.get('ada')
    loads[2]!.fail()
    await expect(third).rejects.toThrow('unavailable')
  })
})
