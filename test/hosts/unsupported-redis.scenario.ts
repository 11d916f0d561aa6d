import { beforeAll, describe, expect, it } from '@jest/globals'
import { Host } from './host.ts'

describe('the host unsupported-redis', () => {
  const host = new Host('unsupported-redis')
  beforeAll(() => host.install())

  it.each(['ioredis', 'redis4'])('fails at start with %s, and names the package to use', async (name) => {
    await expect(host.start(`${name}.js`)).rejects.toThrow(/redis: .* package `?redis`?/)
  })
})
