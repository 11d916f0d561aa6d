import type { EventLog } from '../events/event-log.ts'
import { createRetirementRows } from '../management/retire-provider.ts'
import type { SessionsTable } from '../sessions/sessions-table.ts'
import { SECOND } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** A sign-in that passed the check just before the retirement has its session within seconds, so that it is found and ended. */
const graceMs = 15 * SECOND

/** Disables providers whose retirement date has passed, and ends their sessions. */
export async function retireDueProviders(
  { knex }: Pick<Core, 'knex'>,
  events: EventLog,
  sessionsTable: SessionsTable,
): Promise<void> {
  const rows = createRetirementRows(knex)
  for (const provider of await rows.due(new Date(Date.now() - graceMs).toISOString())) {
    const { portal, slug } = provider
    // One transaction: if this instance dies in between, no other one would end the sessions.
    const sessions = await knex.transaction(async (transaction) =>
      (await rows.retire(provider, transaction))
        ? await sessionsTable.removeQuietly({ portal, provider: slug }, transaction)
        : undefined,
    )
    if (sessions === undefined) continue
    await events.record({
      kind: 'provider-retired',
      portal,
      provider: slug,
      actor: 'maintenance',
      detail: { sessions },
    })
  }
}
