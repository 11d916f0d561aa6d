import type { Knex } from 'knex'
import type { Provider } from '../providers/provider.ts'

type Named = Pick<Provider, 'id' | 'portal' | 'slug'>

/** What becomes of a row of `sso_providers` at its end. Whatever several instances may do at once is done by one. */
export interface RetirementRows {
  /** @param at ISO 8601 */
  setRetiring(provider: Named, at: string): Promise<void>
  /** @returns whether the day was still to come */
  keep(provider: Named): Promise<boolean>
  /** Those whose day came before `until`, removed ones too; at most 100. */
  due(until: string): Promise<(Named & { retiringAt: string })[]>
  /** @returns whether this call was the one that did it */
  retire(provider: Named & { retiringAt: string }, on: Knex): Promise<boolean>
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
      await rows().where({ id }).update({ retiring_at: at, updated_at: now() })
    },
    async keep({ id }) {
      const kept = await rows()
        .where({ id })
        .where('retiring_at', '>', now())
        .update({ retiring_at: null, updated_at: now() })
      return kept === 1
    },
    async due(until) {
      return await rows()
        .select('id', 'portal', 'slug', { retiringAt: 'retiring_at' })
        .where('retiring_at', '<=', until)
        .limit(100)
    },
    async retire({ id, retiringAt }, on) {
      const retired = await rows(on)
        .where({ id, retiring_at: retiringAt })
        .update({ enabled: false, retiring_at: null, version: knex.raw('version + 1'), updated_at: now() })
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
