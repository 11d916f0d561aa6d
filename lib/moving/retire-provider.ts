import type { Knex } from 'knex'
import { ConfigurationError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { How } from '../providers/how.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { createDependents } from './dependents.ts'
import { createRetirementRows } from './retirement-rows.ts'

/** Taking a provider away without locking anybody out. */
export interface Retirement {
  /**
   * How many people have signed in with it, and for how many of them no other enabled provider is linked. Ask before disabling
   * or removing. In doubt somebody counts as one who has no other way.
   */
  whoDependsOn(slug: string, portal?: string): Promise<{ people: number; onlyWayIn: number }>
  /**
   * From `at` on it is disabled and its sessions end; until then the login page says so.
   *
   * @param at to come, within a year
   * @throws ConfigurationError when it is not, or when the provider is disabled
   */
  retire(slug: string, at: Date, how?: How): Promise<void>
  /** Takes that back. @throws ConfigurationError when the day has come */
  keep(slug: string, how?: How): Promise<void>
  /** Brings a removed one back, disabled. @throws ConfigurationError when it is forgotten, or another has its slug by now */
  restore(slug: string, how?: How): Promise<void>
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
  const dependents = createDependents(knex)
  const changed = (portal: string, provider: string, by: string, change: string) =>
    events.record({ kind: 'provider-changed', portal, provider, by, detail: { change } })

  return {
    async whoDependsOn(slug, portal = 'default') {
      const provider = await table.existing(portal, slug)
      return await dependents.of(provider, await table.listEnabled(portal))
    },

    async retire(slug, at, { portal = 'default', by = 'code' } = {}) {
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
        by,
        detail: { at: at.toISOString() },
      })
    },

    async keep(slug, { portal = 'default', by = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      if (!(await rows.keep(provider)))
        throw new ConfigurationError(
          `"${slug}" has no last day that is still to come: if it is disabled, enable it`,
        )
      await changed(portal, slug, by, 'kept')
    },

    async restore(slug, { portal = 'default', by = 'code' } = {}) {
      if (!(await rows.restore(portal, slug)))
        throw new ConfigurationError(
          (await table.find(portal, slug))
            ? `a provider called "${slug}" is connected: nothing of that name waits to be restored`
            : `no removed provider is called "${slug}" in the portal "${portal}": after 30 days it is forgotten`,
        )
      await changed(portal, slug, by, 'restored, disabled')
    },

    removed: (portal = 'default') => rows.removed(portal),
  }
}
