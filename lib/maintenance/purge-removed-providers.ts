import type { EventLog } from '../events/event-log.ts'
import { DAY } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** Until then a removed provider can be restored. */
const retentionMs = 30 * DAY
const rowsPerRun = 100

/** Deletes providers that were removed 30 days ago, with their encrypted secrets. */
export async function purgeRemovedProviders({ knex }: Pick<Core, 'knex'>, events: EventLog): Promise<void> {
  const removedBefore = new Date(Date.now() - retentionMs).toISOString()
  const old: { id: string; portal: string; slug: string }[] = await knex('sso_providers')
    .select('id', 'portal', 'slug')
    .where('removed_at', '<', removedBefore)
    .limit(rowsPerRun)
  for (const { id, portal, slug } of old) {
    // A provider that was just restored stays, and of several instances one records the event.
    const deleted = await knex('sso_providers').where({ id }).where('removed_at', '<', removedBefore).delete()
    if (deleted === 1)
      await events.record({ kind: 'provider-purged', portal, provider: slug, actor: 'maintenance' })
  }
}
