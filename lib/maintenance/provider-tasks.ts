import type { Knex } from 'knex'
import { inTransaction } from '../database/connect.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Sessions } from '../sessions/sessions.ts'
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
  { clock, knex }: Pick<Core, 'clock' | 'knex'>,
  events: EventLog,
  sessions: Sessions,
): Promise<void> {
  const now = await clock.measure()
  const due: DueProvider[] = await knex('sso_providers')
    .select('id', 'portal', 'slug', { retireAt: 'retire_at' })
    .where('retire_at', '<=', new Date(now - graceMs).toISOString())
    .limit(rowsPerRun)
  for (const provider of due) {
    const { portal, slug } = provider
    const match = { portal, provider: slug }
    // One transaction: if this instance dies afterwards, another one ends the sessions.
    const ending = await inTransaction(knex, async (transaction) =>
      (await disable(transaction, provider, now))
        ? await sessions.table.recordEnding(match, { on: transaction, now })
        : undefined,
    )
    if (!ending) continue
    const detail = { sessions: await sessions.table.count(match) }
    await events.record({ kind: 'provider-retired', ...match, actor: 'maintenance', detail })
    await sessions.finish(ending)
  }
}

/** @returns false when another instance did it, or the date has changed */
async function disable(knex: Knex, { id, retireAt }: DueProvider, now: number): Promise<boolean> {
  const updated = await knex('sso_providers')
    .where({ id, retire_at: retireAt })
    .update({
      enabled: false,
      retire_at: null,
      version: knex.raw('version + 1'),
      updated_at: new Date(now).toISOString(),
    })
  return updated === 1
}

/** Until then a removed provider can be restored. */
const retentionMs = 30 * DAY

/** Deletes providers that were removed 30 days ago, with their encrypted secrets and logos. */
export async function purgeRemovedProviders(
  { clock, knex }: Pick<Core, 'clock' | 'knex'>,
  events: EventLog,
): Promise<void> {
  // By our clock, too: after a failover, that of the database may be wrong.
  const now = Math.min(await clock.measure(), Date.now())
  const removedBefore = new Date(now - retentionMs).toISOString()
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
  // Also those of providers that another version deleted, or whose slug was connected again.
  const provider = knex('sso_providers')
    .select('id')
    .whereRaw('sso_providers.id = sso_provider_logos.provider_id')
  await knex('sso_provider_logos').whereNotExists(provider).delete()
}
