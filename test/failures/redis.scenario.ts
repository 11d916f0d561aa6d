import { describe, expect, it } from '@jest/globals'
import { createClient } from 'redis'
import {
  expectOneOutage,
  longestWait,
  type Outage,
  ofKind,
  slackMs,
  statuses,
  useParts,
  usualWait,
} from './support/scene.ts'

const parts = useParts()

function expectBrokenCircuit(outage: Outage): void {
  const { during } = outage
  const pages = ofKind(during, 'page')
  expect([200, 503]).toEqual(expect.arrayContaining(statuses(pages)))
  expect(pages.filter(({ status, retryAfter }) => status === 503 && !retryAfter)).toEqual([])
  expect(longestWait(outage, pages)).toBeLessThan(1000 + slackMs)
  expect(longestWait(outage, ofKind(during, 'start', 'callback'))).toBeLessThan(2000 + slackMs)
  // All requests after the first second, apart from those that probe.
  const later = pages.filter(({ at }) => at > outage.brokenAt + 1000 + slackMs)
  expect(usualWait(outage, later)).toBeLessThan(slackMs / 4)
  expectOneOutage(outage)
}

describe('Redis', () => {
  it('is killed for 10 s: the first request waits at most 1 s, all others are refused at once', async () => {
    const scene = await parts.startUnderLoad()
    const { redis } = parts
    expectBrokenCircuit(
      await scene.outage(
        10,
        () => redis.kill(),
        () => redis.start(),
      ),
    )
  })

  it('hangs for 15 s: the first request waits at most 1 s, all others are refused at once', async () => {
    const scene = await parts.startUnderLoad()
    const { redis } = parts
    expectBrokenCircuit(
      await scene.outage(
        15,
        () => redis.pause(),
        () => redis.resume(),
      ),
    )
  })

  it('is full and evicts nothing: sessions continue, and only sign-ins are refused', async () => {
    const scene = await parts.startUnderLoad()
    const redis = createClient({ url: parts.redis.url })
    await redis.connect()
    try {
      const outage = await scene.outage(
        5,
        () => redis.configSet({ 'maxmemory-policy': 'noeviction', maxmemory: '1mb' }),
        () => redis.configSet('maxmemory', '0'),
      )
      const { during, brokenBy } = outage
      expect(statuses(ofKind(during, 'page'))).toEqual([200])
      const callbacks = ofKind(during, 'callback').filter(({ at }) => at > brokenBy)
      expect(statuses(callbacks)).toEqual([503])
      expect(longestWait(outage, during)).toBeLessThan(2000 + slackMs)
    } finally {
      redis.destroy()
    }
  })
})
