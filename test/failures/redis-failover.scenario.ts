import { describe, expect, it } from '@jest/globals'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { startRedisSentinel } from '../support/redis-sentinel.ts'
import { longestWait, type Outage, ofKind, slackMs, statuses, useParts } from './support/scene.ts'

const parts = useParts()

/** Pages work again, or are refused, but nobody is signed out, which `Scene.outage` expects. */
function expectFailover(outage: Outage): void {
  const { during } = outage
  expect([200, 503]).toEqual(expect.arrayContaining(statuses(ofKind(during, 'page'))))
  expect([302, 303, 503]).toEqual(expect.arrayContaining(statuses(ofKind(during, 'start', 'callback'))))
  expect(longestWait(outage, ofKind(during, 'page'))).toBeLessThan(1000 + slackMs)
  expect(longestWait(outage, ofKind(during, 'start', 'callback'))).toBeLessThan(2000 + slackMs)
}

describe('a Redis that fails over', () => {
  it('with Sentinel: the portal follows to the replica', async () => {
    const sentinel = await startRedisSentinel(1)
    try {
      const scene = await parts.startUnderLoad({ sentinelPort: sentinel.port })
      expectFailover(
        await scene.outage(
          3,
          () => sentinel.killMaster(),
          () => {},
        ),
      )
    } finally {
      await sentinel.stop()
    }
  })

  it('as a cluster that loses a node: the portal follows to its replica', async () => {
    const cluster = await startRedisCluster(1)
    try {
      const scene = await parts.startUnderLoad({ redisPorts: cluster.ports })
      expectFailover(
        await scene.outage(
          3,
          () => cluster.killFirst(),
          () => {},
        ),
      )
    } finally {
      await cluster.stop()
    }
  })
})
