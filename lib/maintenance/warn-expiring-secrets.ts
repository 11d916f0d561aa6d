import type { Knex } from 'knex'
import type { EventLog } from '../events/event-log.ts'
import type { SendExpiryMail } from '../mail/secret-expiry-mail.ts'
import type { Provider } from '../providers/provider.ts'
import { columns, fromRow, type Row } from '../providers/settings.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { Task } from './scheduler.ts'

export interface WarnOfExpiryParts {
  /** recipients of the warning */
  adminMail: readonly string[]
  events: EventLog
  knex: Knex
  logger: Logger
  /** `undefined` without a mailer */
  sendExpiryMail: SendExpiryMail | undefined
}

/** The last warning. It names the expiry date, so that a new date is warned of again. */
interface Warning {
  end: string
  /** the threshold that was reached */
  days: number
}
type WarnedRow = Row & { expiry_warned: string | null }

const dayMs = 24 * 3_600_000
const rowsPerQuery = 500
/** leaves the rest for the next run, so that a mail server that hangs does not block the other tasks */
const runTimeoutMs = 30_000
/** before the expiry */
const thresholdDays = [60, 30, 7, 1]

/** Nobody can sign in with an expired client secret. Warns in the log, as an event and by mail, once for each threshold. */
export function createWarnOfExpiry(parts: WarnOfExpiryParts): Task {
  const { adminMail, events, knex, logger, sendExpiryMail } = parts

  /** @param afterId last id of the previous query */
  async function findExpiring(afterId: string): Promise<WarnedRow[]> {
    const latest = new Date(Date.now() + Math.max(...thresholdDays) * dayMs).toISOString()
    return await knex('sso_providers')
      .select(...columns, 'expiry_warned')
      .whereNull('removed_at')
      .where('client_secret_expires_at', '<=', latest)
      .where('id', '>', afterId)
      .orderBy('id')
      .limit(rowsPerQuery)
  }

  /** @returns false when another instance recorded it first, and sends the warning */
  async function recordWarning({ id, expiry_warned }: WarnedRow, warning: Warning): Promise<boolean> {
    const updated = await knex('sso_providers')
      .where({ id, expiry_warned })
      .update({ expiry_warned: JSON.stringify(warning) })
    return updated === 1
  }

  async function warn({ portal, slug, displayName }: Provider, end: string): Promise<void> {
    const days = Math.max(0, Math.ceil((Date.parse(end) - Date.now()) / dayMs))
    logger.warn({ portal, provider: slug, end, days }, 'a client secret is about to expire or has expired')
    await events.record({
      kind: 'client-secret-expiring',
      portal,
      provider: slug,
      actor: 'upkeep',
      detail: { days, end },
    })
    if (!sendExpiryMail) return
    for (const to of adminMail)
      try {
        await sendExpiryMail({ to, provider: displayName, slug, days, end })
      } catch (error) {
        logger.error(
          { portal, provider: slug, cause: describeError(error) },
          'the warning could not be sent by mail',
        )
      }
  }

  return async () => {
    const deadline = Date.now() + runTimeoutMs
    let lastId = ''
    for (let rows = await findExpiring(lastId); rows.length > 0; rows = await findExpiring(lastId)) {
      for (const row of rows) {
        if (Date.now() > deadline) return
        const provider = fromRow(row)
        const warning = dueWarning(provider, JSON.parse(row.expiry_warned ?? 'null') as Warning | null)
        if (warning && (await recordWarning(row, warning))) await warn(provider, warning.end)
      }
      lastId = rows.at(-1)?.id ?? ''
    }
  }
}

function dueWarning(provider: Provider, last: Warning | null): Warning | undefined {
  const { enabled, clientAuthentication, retireAt, clientSecretExpiresAt: end } = provider
  // Nobody needs the secret of a provider that is not in use.
  if (!enabled || !clientAuthentication.startsWith('client_secret')) return undefined
  if (end === undefined || (retireAt !== undefined && retireAt < end)) return undefined
  const daysLeft = (Date.parse(end) - Date.now()) / dayMs
  const days = thresholdDays.filter((threshold) => daysLeft <= threshold).at(-1)
  const isDue = days !== undefined && (last?.end !== end || days < last.days)
  return isDue ? { end, days } : undefined
}
