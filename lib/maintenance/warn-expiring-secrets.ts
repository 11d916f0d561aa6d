import type { EventLog } from '../events/event-log.ts'
import type { Mail } from '../mail/mail.ts'
import { sendExpiryMail } from '../mail/mails.ts'
import type { Provider } from '../providers/provider.ts'
import { type ProviderRow, providerColumns, providerFromRow } from '../providers/providers-table.ts'
import { describeError } from '../shared/errors.ts'
import { DAY, SECOND } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** The last warning. It names the expiry date, so that a new date is warned of again. */
interface Warning {
  end: string
  /** the threshold that was reached */
  days: number
}
type WarnedRow = ProviderRow & {
  id: string
  expiry_warned: string | null
  client_secret_expires_at: string
  removed_at: string | null
}

const rowsPerQuery = 500
/** leaves the rest for the next run, so that a mail server that hangs does not block the other tasks */
const runTimeoutMs = 30 * SECOND
/** before the expiry */
const thresholdDays = [60, 30, 7, 1]

interface WarningModules {
  events: EventLog
  mail: Mail | undefined
  /** Recipients of the warning. */
  adminMail: readonly string[]
}

/** No user can sign in with an expired client secret. Warns in the log, as an event and by mail, once for each threshold. */
export async function warnExpiringSecrets(core: Core, modules: WarningModules): Promise<void> {
  const deadline = Date.now() + runTimeoutMs
  let rows = await findExpiring(core, undefined)
  while (rows.length > 0) {
    for (const row of rows) {
      if (Date.now() > deadline) return
      if (row.removed_at !== null) continue
      const provider = providerFromRow(row)
      const warning = dueWarning(provider, JSON.parse(row.expiry_warned ?? 'null') as Warning | null)
      if (warning && (await recordWarning(core, row, warning))) await warn(core, modules, provider)
    }
    rows = await findExpiring(core, rows.at(-1))
  }
}

/** By the index of the date: a condition for removed rows would make SQLite read all others. @param last of the previous query */
async function findExpiring({ knex }: Core, last: WarnedRow | undefined): Promise<WarnedRow[]> {
  const latest = new Date(Date.now() + Math.max(...thresholdDays) * DAY).toISOString()
  const expiring = knex('sso_providers')
    .select(providerColumns(), 'expiry_warned', 'client_secret_expires_at', 'removed_at')
    .where('client_secret_expires_at', '<=', latest)
    .orderBy(['client_secret_expires_at', 'id'])
    .limit(rowsPerQuery)
  if (!last) return await expiring
  const { client_secret_expires_at: date, id } = last
  return await expiring
    .where('client_secret_expires_at', '>=', date)
    .whereNot((earlier) => earlier.where({ client_secret_expires_at: date }).where('id', '<=', id))
}

/** @returns false when another instance recorded it first, and sends the warning */
async function recordWarning({ knex }: Core, row: WarnedRow, warning: Warning): Promise<boolean> {
  const { id, expiry_warned } = row
  const updated = await knex('sso_providers')
    .where({ id, expiry_warned })
    .update({ expiry_warned: JSON.stringify(warning) })
  return updated === 1
}

async function warn(
  { logger }: Core,
  { events, mail, adminMail }: WarningModules,
  { portal, slug, displayName, clientSecretExpiresAt: end = '' }: Provider,
): Promise<void> {
  const days = Math.max(0, Math.ceil((Date.parse(end) - Date.now()) / DAY))
  logger.warn({ portal, provider: slug, end, days }, 'a client secret is about to expire or has expired')
  const by = { portal, provider: slug, actor: 'maintenance' }
  await events.record({ kind: 'client-secret-expiring', ...by, detail: { days, end } })
  if (!mail) return
  for (const to of adminMail)
    try {
      await sendExpiryMail(mail, { to, provider: displayName, slug, days, end })
    } catch (error) {
      const cause = describeError(error)
      logger.error({ portal, provider: slug, cause }, 'the warning could not be sent by mail')
    }
}

function dueWarning(provider: Provider, last: Warning | null): Warning | undefined {
  const { enabled, clientAuthentication, retireAt, clientSecretExpiresAt: end } = provider
  // The secret of a provider that is not in use is not needed.
  if (!enabled || !clientAuthentication.startsWith('client_secret')) return undefined
  if (end === undefined || (retireAt !== undefined && retireAt < end)) return undefined
  const daysLeft = (Date.parse(end) - Date.now()) / DAY
  const days = thresholdDays.filter((threshold) => daysLeft <= threshold).at(-1)
  const isDue = days !== undefined && (last?.end !== end || days < last.days)
  return isDue ? { end, days } : undefined
}
