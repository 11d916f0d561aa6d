import { deleteInBatches } from '../database/delete-in-batches.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Mail } from '../mail/mail.ts'
import type { SessionsTable } from '../sessions/sessions-table.ts'
import { DAY, HOUR } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import type { Task } from './maintenance.ts'
import { purgeRemovedProviders } from './purge-removed-providers.ts'
import { retireDueProviders } from './retire-due-providers.ts'
import { warnExpiringSecrets } from './warn-expiring-secrets.ts'

/** @returns all tasks in the order in which they run; expired rows are kept as long as a rule or a slow clock needs them */
export function maintenanceTasks(
  core: Core,
  modules: {
    events: EventLog
    sessionsTable: SessionsTable
    mail: Mail | undefined
    adminMail: readonly string[]
    /** days for which events are kept */
    retentionDays: number
  },
): Readonly<Record<string, Task>> {
  const { knex } = core
  const { events, sessionsTable, mail, adminMail, retentionDays } = modules
  return {
    'retire providers': () => retireDueProviders(core, events, sessionsTable),
    'warn of expiring secrets': () => warnExpiringSecrets(core, { events, mail, adminMail }),
    'purge removed providers': () => purgeRemovedProviders(core, events),
    'delete sessions': () => deleteInBatches(knex, 'sso_sessions', 'expires_at', HOUR),
    // The limits on mails count those of the last hour.
    'delete codes': () => deleteInBatches(knex, 'sso_email_verifications', 'sent_at', 2 * HOUR),
    'delete logout tokens': () => deleteInBatches(knex, 'sso_logout_tokens', 'expires_at', HOUR),
    'delete one-time links': () => deleteInBatches(knex, 'sso_one_time_links', 'expires_at', DAY),
    'delete events': () => deleteInBatches(knex, 'sso_events', 'at', retentionDays * DAY),
  }
}
