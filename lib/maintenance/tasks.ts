import { deleteInBatches } from '../database/delete-in-batches.ts'
import type { EventLog } from '../events/event-log.ts'
import type { RefusalLog } from '../events/refusal-log.ts'
import type { Mail } from '../mail/mail.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { DAY, HOUR } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { Maintenance } from './maintenance.ts'
import { retireDueProviders } from './retire-due-providers.ts'
import { warnExpiringSecrets } from './warn-expiring-secrets.ts'

/** The tasks in the order in which they run. Expired rows are kept as long as a rule or a slow clock needs them. */
export function createMaintenance(
  core: Core,
  modules: {
    events: EventLog
    refusalLog: RefusalLog
    sessions: Sessions
    mail: Mail | undefined
    adminMail: readonly string[]
    /** days for which events are kept */
    retentionDays: number
  },
): Maintenance {
  const { knex } = core
  const { events, refusalLog, sessions, mail, adminMail, retentionDays } = modules
  return new Maintenance(core, {
    'summarize omitted records': () => refusalLog.summarize(),
    'retire providers': () => retireDueProviders(core, events, sessions.table),
    'warn of expiring secrets': () => warnExpiringSecrets(core, { events, mail, adminMail }),
    'purge removed providers': () => purgeRemovedProviders(core, events),
    'delete sessions': () => deleteInBatches(knex, 'sso_sessions', 'expires_at', HOUR),
    // The mail limits count the codes of the last hour.
    'delete codes': () => deleteInBatches(knex, 'sso_email_verifications', 'sent_at', 2 * HOUR),
    'delete logout tokens': () => deleteInBatches(knex, 'sso_logout_tokens', 'expires_at', HOUR),
    'delete one-time links': () => deleteInBatches(knex, 'sso_one_time_links', 'expires_at', DAY),
    'delete redeemed codes': () => deleteInBatches(knex, 'sso_redeemed_codes', 'expires_at', HOUR),
    'delete events': () => deleteInBatches(knex, 'sso_events', 'at', retentionDays * DAY),
  })
}

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
