import type { EventLog } from '../events/event-log.ts'
import { createRetirementRows } from '../management/retire-provider.ts'
import { DAY } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** Until then a removed provider can be restored. */
const retentionMs = 30 * DAY

/** Deletes providers that were removed 30 days ago, with their sealed secrets. */
export async function purgeRemovedProviders({ knex }: Pick<Core, 'knex'>, events: EventLog): Promise<void> {
  const removedBefore = new Date(Date.now() - retentionMs).toISOString()
  const purged = await createRetirementRows(knex).forgetRemoved(removedBefore)
  for (const { portal, slug } of purged)
    await events.record({ kind: 'provider-purged', portal, provider: slug, actor: 'maintenance' })
}
