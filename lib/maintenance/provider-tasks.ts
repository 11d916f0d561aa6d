import type { Knex } from 'knex'
import { inTransaction } from '../database/connect.ts'
import type { EventLog } from '../events/event-log.ts'
import type { SessionsTable } from '../sessions/sessions-table.ts'
import { DAY, SECOND } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** A sign-in that passed the check just before the retirement has its session within seconds, so that it is found and ended. */
const graceMs = 15 * SECOND
const rowsPerRun = 100

interface DueProvider {
  id: string
  portal: string
  slug: string
  retireAt: string
}

/** Disables providers whose retirement date has passed, and ends their sessions. */
export async function retireDueProviders(
  { knex }: Pick<Core, 'knex'>,
  events: EventLog,
  sessionsTable: SessionsTable,
): Promise<void> {
  const due: DueProvider[] = await knex('sso_providers')
    .select('id', 'portal', 'slug', { retireAt: 'retire_at' })
    .where('retire_at', '<=', new Date(Date.now() - graceMs).toISOString())
    .limit(rowsPerRun)
  for (const provider of due) {
    const { portal, slug } = provider
    // One transaction: if this instance dies in between, no other one would end the sessions.
    const sessions = await inTransaction(knex, async (transaction) =>
      (await disable(transaction, provider))
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

/** @returns false when another instance did it, or the date has changed */
async function disable(knex: Knex, { id, retireAt }: DueProvider): Promise<boolean> {
  const updated = await knex('sso_providers')
    .where({ id, retire_at: retireAt })
    .update({
      enabled: false,
      retire_at: null,
      version: knex.raw('version + 1'),
      updated_at: new Date().toISOString(),
    })
  return updated === 1
}

/** Until then a removed provider can be restored. */
const retentionMs = 30 * DAY

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
