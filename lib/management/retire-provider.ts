import type { Knex } from 'knex'
import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'

export interface Usage {
  /**
   * How many people have signed in with a provider, and for how many of them nothing else is linked.
   *
   * @param enabled all enabled providers of its portal
   */
  of(provider: Provider, enabled: readonly Provider[]): Promise<{ people: number; onlyWayIn: number }>
}

export function createUsage(knex: Knex): Usage {
  return {
    async of(provider, enabled) {
      const others = enabled.filter(({ id }) => id !== provider.id)
      const people = linkedThrough(knex, provider)
      // One of the same issuer may know its people by other subjects (Entra: one for each registration): only who has come in
      // by it has shown that he can.
      const otherWay = knex('sso_identities as other')
        .select(knex.raw('1'))
        .whereRaw('other.portal = linked.portal and other.user_id = linked.user_id')
        .where((way) =>
          way
            .whereIn('other.provider_id', ids(others))
            .orWhereIn('other.issuer', issuers(others, provider.issuer)),
        )
      const [all, only] = [await counted(people.clone()), await counted(people.whereNotExists(otherWay))]
      return { people: all, onlyWayIn: only }
    },
  }
}

/** Identities that came by a provider, whatever its row was then: a row that was connected anew has another id. */
function linkedThrough(knex: Knex, { portal, id, issuer }: Provider): Knex.QueryBuilder {
  return knex('sso_identities as linked')
    .where('linked.portal', portal)
    .where((through) => through.where('linked.provider_id', id).orWhere('linked.issuer', issuer))
}

async function counted(people: Knex.QueryBuilder): Promise<number> {
  const row = await people.countDistinct({ people: 'linked.user_id' }).first()
  return Number(row?.people)
}

function ids(providers: readonly Provider[]): string[] {
  return providers.map(({ id }) => id)
}

function issuers(providers: readonly Provider[], except: string): string[] {
  return providers.map(({ issuer }) => issuer).filter((issuer) => issuer !== except)
}

type Named = Pick<Provider, 'id' | 'portal' | 'slug'>

/** What becomes of a row of `sso_providers` at its end. Whatever several instances may do at once is done by one. */
export interface RetirementRows {
  /** @param at ISO 8601 */
  setRetiring(provider: Named, at: string): Promise<void>
  /** @returns whether the day was still to come */
  keep(provider: Named): Promise<boolean>
  /** Those whose day came before `until`, removed ones too; at most 100. */
  due(until: string): Promise<(Named & { retireAt: string })[]>
  /** @returns whether this call was the one that did it */
  retire(provider: Named & { retireAt: string }, on: Knex): Promise<boolean>
  removed(portal: string): Promise<{ slug: string; displayName: string; removedAt: string }[]>
  /** @returns whether it was there */
  restore(portal: string, slug: string): Promise<boolean>
  /** Deletes those that were removed before `until`, at most 100. @returns those that this call deleted */
  forgetRemoved(until: string): Promise<Named[]>
}

export function createRetirementRows(knex: Knex): RetirementRows {
  const rows = (on = knex) => on('sso_providers')
  const now = () => new Date().toISOString()

  return {
    async setRetiring({ id }, at) {
      // Nobody's sign-in changes until then, so neither does the version.
      await rows().where({ id }).update({ retire_at: at, updated_at: now() })
    },
    async keep({ id }) {
      const kept = await rows()
        .where({ id })
        .where('retire_at', '>', now())
        .update({ retire_at: null, updated_at: now() })
      return kept === 1
    },
    async due(until) {
      return await rows()
        .select('id', 'portal', 'slug', { retireAt: 'retire_at' })
        .where('retire_at', '<=', until)
        .limit(100)
    },
    async retire({ id, retireAt }, on) {
      const retired = await rows(on)
        .where({ id, retire_at: retireAt })
        .update({ enabled: false, retire_at: null, version: knex.raw('version + 1'), updated_at: now() })
      return retired === 1
    },
    async removed(portal) {
      return await rows()
        .select('slug', { displayName: 'display_name', removedAt: 'removed_at' })
        .where({ portal })
        .whereNotNull('removed_at')
        .orderBy('removed_at', 'desc')
    },
    async restore(portal, slug) {
      const restored = await rows()
        .where({ portal, slug })
        .whereNotNull('removed_at')
        .update({ removed_at: null, enabled: false, version: knex.raw('version + 1'), updated_at: now() })
      return restored === 1
    },
    async forgetRemoved(until) {
      const old: Named[] = await rows()
        .select('id', 'portal', 'slug')
        .where('removed_at', '<', until)
        .limit(100)
      const forgotten: Named[] = []
      for (const each of old) {
        // Restored meanwhile it stays, and of several instances one has deleted it.
        const deleted = await rows().where({ id: each.id }).where('removed_at', '<', until).delete()
        if (deleted === 1) forgotten.push(each)
      }
      return forgotten
    },
  }
}

/** Taking a provider away without locking anybody out. */
export interface Retirement {
  /**
   * How many people have signed in with it, and for how many of them no other enabled provider is linked. Ask before disabling
   * or removing. In doubt somebody counts as one who has no other way.
   */
  usage(slug: string, portal?: string): Promise<{ people: number; onlyWayIn: number }>
  /**
   * From `at` on it is disabled and its sessions end; until then the login page says so.
   *
   * @param at to come, within a year
   * @throws ConfigurationError when it is not, or when the provider is disabled
   */
  retire(slug: string, at: Date, how?: ActOptions): Promise<void>
  /** Takes that back. @throws ConfigurationError when the day has come */
  keep(slug: string, how?: ActOptions): Promise<void>
  /** Brings a removed one back, disabled. @throws ConfigurationError when it is forgotten, or another has its slug by now */
  restore(slug: string, how?: ActOptions): Promise<void>
  /** What was removed and can be restored, the newest first. */
  removed(portal?: string): Promise<{ slug: string; displayName: string; removedAt: string }[]>
}

export interface RetirementParts {
  events: EventLog
  knex: Knex
  table: ProvidersTable
}

const year = 366 * 24 * 3_600_000

export function createRetirement({ events, knex, table }: RetirementParts): Retirement {
  const rows = createRetirementRows(knex)
  const dependents = createUsage(knex)
  const changed = (portal: string, provider: string, actor: string, change: string) =>
    events.record({ kind: 'provider-changed', portal, provider, actor, detail: { change } })

  return {
    async usage(slug, portal = 'default') {
      const provider = await table.existing(portal, slug)
      return await dependents.of(provider, await table.listEnabled(portal))
    },

    async retire(slug, at, { portal = 'default', actor = 'code' } = {}) {
      const inTime = at.getTime() - Date.now()
      if (!(inTime > 0 && inTime <= year))
        throw new ConfigurationError('at: give a moment that is to come, within a year')
      const provider = await table.existing(portal, slug)
      if (!provider.enabled)
        throw new ConfigurationError(`"${slug}" is disabled already: nobody signs in with it`)
      await rows.setRetiring(provider, at.toISOString())
      await events.record({
        kind: 'provider-retiring',
        portal,
        provider: slug,
        actor,
        detail: { at: at.toISOString() },
      })
    },

    async keep(slug, { portal = 'default', actor = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      if (!(await rows.keep(provider)))
        throw new ConfigurationError(
          `"${slug}" has no last day that is still to come: if it is disabled, enable it`,
        )
      await changed(portal, slug, actor, 'kept')
    },

    async restore(slug, { portal = 'default', actor = 'code' } = {}) {
      if (!(await rows.restore(portal, slug)))
        throw new ConfigurationError(
          (await table.find(portal, slug))
            ? `a provider called "${slug}" is connected: nothing of that name waits to be restored`
            : `no removed provider is called "${slug}" in the portal "${portal}": after 30 days it is forgotten`,
        )
      await changed(portal, slug, actor, 'restored, disabled')
    },

    removed: (portal = 'default') => rows.removed(portal),
  }
}
