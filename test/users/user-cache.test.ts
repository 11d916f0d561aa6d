import { describe, expect, it } from '@jest/globals'
import { UserCache } from '../../lib/users/user-directory.ts'

describe('UserCache', () => {
  it('deletes a user by the numeric id of a host directory', async () => {
    const stored = { id: 7, email: 'ada@example.com', name: 'Ada', active: true }
    const users = { findById: async () => ({ ...stored }) }
    const cache = new UserCache(users as never, { ttlMs: 60_000, staleIfErrorMs: 60_000 })
    expect((await cache.findById('7', 'default'))?.name).toBe('Ada')
    stored.name = 'Ada Lovelace'
    expect((await cache.findById('7', 'default'))?.name).toBe('Ada')
    cache.forget(stored.id as never, 'default')
    expect((await cache.findById('7', 'default'))?.name).toBe('Ada Lovelace')
  })
})
