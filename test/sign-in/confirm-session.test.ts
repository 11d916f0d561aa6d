import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Request } from 'express'
import type { Knex } from 'knex'
import type { Identity } from '../../lib/oidc/identity.ts'
import type { Provider } from '../../lib/providers/provider.ts'
import type { ProvidersTable } from '../../lib/providers/providers-table.ts'
import { LogoutTokensTable } from '../../lib/sessions/logout-tokens-table.ts'
import type { Sessions } from '../../lib/sessions/sessions.ts'
import { consoleLogger } from '../../lib/shared/logger.ts'
import { SessionConfirmation, type StartedSession } from '../../lib/sign-in/complete-sign-in.ts'
import { BlockedIdentitiesTable } from '../../lib/users/blocked-identities-table.ts'
import { IdentitiesTable } from '../../lib/users/identities-table.ts'
import { createBreakers } from '../../lib/web/core.ts'
import { sharedClock, takeClock } from '../support/clock.ts'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import { newProvider, openProvidersTable } from '../support/providers.ts'

describe.each(everyDatabase)('a newly started session (%s)', (_name, fresh) => {
  let knex: Knex
  let close: () => Promise<void>
  let providersTable: ProvidersTable
  let identities: IdentitiesTable
  let logoutTokens: LogoutTokensTable
  let provider: Provider
  let endedSessions: number
  let portals = 0

  beforeAll(async () => {
    ;({ knex, close } = await openMigrated(fresh))
  })
  afterAll(() => close())
  beforeEach(async () => {
    providersTable = openProvidersTable(knex)
    identities = new IdentitiesTable({ knex }, new BlockedIdentitiesTable({ knex }))
    logoutTokens = new LogoutTokensTable({ clock: sharedClock, knex })
    endedSessions = 0
    provider = await providersTable.insert(newProvider({ portal: `portal-${++portals}`, enabled: true }))
    await linkAda()
  })

  const entra = { tenantId: 'tenant', objectId: 'object' }
  const ada = (more: Partial<Identity> = {}): Identity => ({
    issuer: provider.issuer,
    subject: 'ada',
    emailTrusted: true,
    sid: 'session at the provider',
    logoutHint: '',
    askedAt: Date.now(),
    ...more,
  })
  const linkAda = (more: object = {}) => {
    const { id: providerId, issuer, portal } = provider
    const link = {
      portal,
      issuer,
      subject: 'ada',
      userId: 'ada',
      providerId,
      email: undefined,
      provenEmail: undefined,
    }
    return identities.link({ ...link, ...more })
  }
  const confirm = async (session: Partial<StartedSession> = {}): Promise<string> => {
    const sessions = { end: async () => void endedSessions++, logoutTokens } as unknown as Sessions
    const confirmation = new SessionConfirmation(
      { knex, breakers: createBreakers(knex, consoleLogger) },
      { identities, sessions, providersTable },
    )
    const started = { provider, identity: ada(), userId: 'ada', relinked: false, ...session }
    return await confirmation.confirmOrEnd({} as Request, started).then(
      () => 'confirmed',
      ({ code, message }) => `${code}: ${message}`,
    )
  }
  const providerChanged = 'provider_changed: the provider was changed during the sign-in'
  const linkDeleted = 'provider_changed: the link was deleted during the sign-in'
  const signedOut = 'signed_out_during_sign_in: the provider ended its session during the sign-in'
  const expectEnded = async (confirmed: Promise<string>, message: string) => {
    expect([await confirmed, endedSessions]).toEqual([message, 1])
  }
  const links = () => knex('sso_identities').where({ portal: provider.portal })

  it('is confirmed, and the use of the link is recorded', async () => {
    const past = '2020-01-01T00:00:00.000Z'
    await links().update({ last_used_at: past, linked_at: past, provider_id: 'before' })
    expect([await confirm({ identity: ada({ entra }) }), endedSessions]).toEqual(['confirmed', 0])
    const [link] = await links()
    expect(link).toMatchObject({
      linked_at: past,
      provider_id: provider.id,
      tenant_id: 'tenant',
      object_id: 'object',
    })
    expect(Date.parse(link.last_used_at)).toBeGreaterThan(Date.parse(past))
  })

  it('is confirmed beside nine others of the same millisecond, whose updates change nothing', async () => {
    const clock = takeClock()
    try {
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => confirm()))
      expect([outcomes, endedSessions]).toEqual([Array(10).fill('confirmed'), 0])
    } finally {
      clock.back()
    }
  })

  it('does not replace a recorded Entra account', async () => {
    await confirm({ identity: ada({ entra }) })
    await confirm({ identity: ada({ entra: { tenantId: 'other', objectId: 'other' } }) })
    expect(await links()).toMatchObject([{ tenant_id: 'tenant', object_id: 'object' }])
  })

  it.each<[string, object]>([
    ['was disabled', { enabled: false }],
    ['was removed', { removed_at: '2020-01-01T00:00:00.000Z' }],
    ['has retired, whether or not maintenance has run', { retire_at: '2020-01-01T00:00:00.000Z' }],
    ['has other settings', { version: 7 }],
    ['has another slug', { slug: 'other' }],
    ['is another row', { id: 'another id' }],
  ])('ends if the provider %s', async (_title, change) => {
    await knex('sso_providers').where({ id: provider.id }).update(change)
    await expectEnded(confirm(), providerChanged)
  })

  it('is confirmed before the provider retires', async () => {
    await knex('sso_providers').where({ id: provider.id }).update({ retire_at: '2999-01-01T00:00:00.000Z' })
    expect(await confirm()).toBe('confirmed')
  })

  it('ends if the link was deleted, or belongs to another user', async () => {
    await expectEnded(confirm({ userId: 'grace' }), linkDeleted)
    await links().delete()
    endedSessions = 0
    await expectEnded(confirm(), linkDeleted)
  })

  it('deletes a link that was created while relinking was undone', async () => {
    await links().delete()
    await linkAda({ relinked: true })
    await knex('sso_providers').where({ id: provider.id }).increment('version')
    await expectEnded(confirm({ relinked: true }), providerChanged)
    expect(await links()).toEqual([])
  })

  it('is confirmed for a relinked account while an earlier link is left, and deletes its link otherwise', async () => {
    const earlier = { subject: 'ada at the old registration', entra }
    await links().delete()
    await linkAda({ relinked: true, entra })
    await linkAda(earlier)
    const relinked = { identity: ada({ entra }), relinked: true }
    expect(await confirm(relinked)).toBe('confirmed')
    await links().where({ subject: earlier.subject }).delete()
    await expectEnded(confirm(relinked), linkDeleted)
    expect(await links()).toEqual([])
  })

  it('keeps any other link if the provider was changed', async () => {
    await knex('sso_providers').where({ id: provider.id }).increment('version')
    await expectEnded(confirm({ relinked: true }), providerChanged)
    expect(await links()).toHaveLength(1)
  })

  describe('after a logout notice', () => {
    const notice = async (ends: { subject?: string; sid?: string }, more: object = {}) => {
      const { portal, issuer } = provider
      await logoutTokens.record({ portal, issuer, id: `token ${++portals}`, ends, ...more } as never)
    }
    const sid = 'session at the provider'

    it.each([
      ['for its session', { sid }],
      ['for its session and its subject', { sid, subject: 'ada' }],
      ['for all sessions of its subject', { subject: 'ada' }],
    ])('%s ends', async (_title, ends) => {
      const identity = ada()
      await notice(ends)
      await expectEnded(confirm({ identity }), signedOut)
    })

    it.each([
      ['for another session', { sid: 'another' }],
      ['for another session of its subject', { sid: 'another', subject: 'ada' }],
      ['for its `sid`, but another subject', { sid, subject: 'grace' }],
      ['for another subject', { subject: 'grace' }],
    ])('%s is confirmed', async (_title, ends) => {
      const identity = ada()
      await notice(ends)
      expect(await confirm({ identity })).toBe('confirmed')
    })

    it('for any session of its subject ends if its own `sid` is unknown', async () => {
      const identity = ada({ sid: undefined })
      await notice({ sid: 'another', subject: 'ada' })
      await expectEnded(confirm({ identity }), signedOut)
    })

    it('for another portal or issuer is confirmed', async () => {
      const identity = ada()
      await notice({ subject: 'ada' }, { portal: 'elsewhere' })
      await notice({ subject: 'ada' }, { issuer: 'https://elsewhere.example' })
      expect(await confirm({ identity })).toBe('confirmed')
    })

    it('under the configured issuer ends, even if its ID token names the issuer of a tenant', async () => {
      const issuer = 'https://id.example/tenant'
      const identity = ada({ issuer })
      await linkAda({ issuer })
      await notice({ sid })
      await expectEnded(confirm({ identity }), signedOut)
    })

    it('that is older than its sign-in is confirmed', async () => {
      await notice({ subject: 'ada' })
      expect(await confirm({ identity: ada({ askedAt: Date.now() + 1000 }) })).toBe('confirmed')
    })

    it('that may have been deleted since, because the attempt is four hours old, ends', async () => {
      await expectEnded(confirm({ identity: ada({ askedAt: Date.now() - 4 * 3_600_000 - 1 }) }), signedOut)
      endedSessions = 0
      await expectEnded(confirm({ identity: ada({ askedAt: undefined as never }) }), signedOut)
    })
  })
})
