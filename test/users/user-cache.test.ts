import { describe, expect, it } from '@jest/globals'
import { createUserCache } from '../../lib/users/user-directory.ts'

describe('a user who is remembered', () => {
  it('is forgotten also by the number that a directory may have for an id', async () => {
    const stored = { id: 7, email: 'ada@example.com', name: 'Ada', active: true }
    const users = { findById: async () => ({ ...stored }) }
    const known = createUserCache(users as never, { ttlMs: 60_000, staleIfErrorMs: 60_000 })
    expect((await known.findById('7', 'default'))?.name).toBe('Ada')
    stored.name = 'Ada Lovelace'
    expect((await known.findById('7', 'default'))?.name).toBe('Ada')
    known.forget(stored.id as never, 'default')
    expect((await known.findById('7', 'default'))?.name).toBe('Ada Lovelace')
  })
})
