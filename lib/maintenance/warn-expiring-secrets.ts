import type { Knex } from 'knex'
import type { EventLog } from '../events/event-log.ts'
import type { SendExpiryMail } from '../mail/secret-expiry-mail.ts'
import type { Provider } from '../providers/provider.ts'
import { columns, fromRow, type Row } from '../providers/settings.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { Task } from './maintenance.ts'

export interface WarnOfExpiryParts {
  /** where the mail goes */
  adminMail: readonly string[]
  events: EventLog
  knex: Knex
  logger: Logger
  /** left out: no mailer is given */
  sendExpiryMail: SendExpiryMail | undefined
}

type Which = 'first' | 'second'
/** what was warned of already: the end as it stood then, so that another date is warned of anew */
type Warned = { [which in Which]?: { end: string; days: number } }
type WarnedRow = Row & { expiry_warned: string | null }

const day = 24 * 3_600_000
/** rows that are read at once */
const batch = 500
/** milliseconds after which the rest is left for the next time: with a mail server that hangs nothing else would be looked after */
const patience = 30_000
/** days before the end */
const thresholds = [60, 30, 7, 1]

/**
 * Client secrets run out at the provider on a day, and then nobody comes in. Says so in the log, as an event and by mail, once
 * for each threshold, whatever the number of instances.
 */
export function createWarnOfExpiry(parts: WarnOfExpiryParts): Task {
  const { adminMail, events, knex, logger, sendExpiryMail } = parts

  /** @param after id of the last one of the batch before: none is passed over, however many there are */
  async function expiring(after: string): Promise<WarnedRow[]> {
    const soon = new Date(Date.now() + Math.max(...thresholds) * day).toISOString()
    return await knex('sso_providers')
      .select(...columns, 'expiry_warned')
      .whereNull('removed_at')
      .where((either) =>
        either
          .where('client_secret_expires_at', '<=', soon)
          .orWhere('second_client_secret_expires_at', '<=', soon),
      )
      .where('id', '>', after)
      .orderBy('id')
      .limit(batch)
  }

  /** @returns whether this call was the one that noted it: of all instances that one warns */
  async function note({ id, expiry_warned }: WarnedRow, now: Warned): Promise<boolean> {
    const noted = await knex('sso_providers')
      .where({ id, expiry_warned })
      .update({ expiry_warned: JSON.stringify(now) })
    return noted === 1
  }

  async function warn(provider: Provider, secret: Which, end: string): Promise<void> {
    const { portal, slug, displayName } = provider
    const days = Math.max(0, Math.ceil((Date.parse(end) - Date.now()) / day))
    logger.warn({ portal, provider: slug, secret, end, days }, 'a client secret runs out')
    await events.record({
      kind: 'client-secret-expiring',
      portal,
      provider: slug,
      actor: 'upkeep',
      detail: { secret, days, end },
    })
    if (!sendExpiryMail) return
    for (const to of adminMail)
      try {
        await sendExpiryMail({ to, provider: displayName, slug, secret, days, end })
      } catch (error) {
        logger.error({ portal, provider: slug, cause: describeError(error) }, 'the warning was not mailed')
      }
  }

  async function lookAt(row: WarnedRow): Promise<void> {
    const provider = fromRow(row)
    const warned = JSON.parse(row.expiry_warned ?? '{}') as Warned
    const due = dueWarnings(provider, warned)
    if (due.length === 0) return
    const noted = Object.fromEntries(due.map(({ which, end, days }) => [which, { end, days }]))
    if (!(await note(row, { ...warned, ...noted }))) return
    for (const { which, end } of due) await warn(provider, which, end)
  }

  return async () => {
    const until = Date.now() + patience
    let last = ''
    for (let rows = await expiring(last); rows.length > 0; rows = await expiring(last)) {
      for (const row of rows) {
        if (Date.now() > until) return
        await lookAt(row)
      }
      last = rows.at(-1)?.id ?? ''
    }
  }
}

function dueWarnings(provider: Provider, warned: Warned): { which: Which; end: string; days: number }[] {
  const { enabled, clientAuthentication, retireAt } = provider
  // Nobody misses the secret of one that is not in use.
  if (!enabled || !clientAuthentication.startsWith('client_secret')) return []
  const ends = { first: provider.clientSecretExpiresAt, second: provider.secondClientSecretExpiresAt }
  return (['first', 'second'] as const).flatMap((which) => {
    const end = ends[which]
    if (end === undefined || (retireAt !== undefined && retireAt < end)) return []
    const left = (Date.parse(end) - Date.now()) / day
    const days = thresholds.filter((threshold) => left <= threshold).at(-1)
    const before = warned[which]
    const isNew = days !== undefined && (before?.end !== end || days < before.days)
    return isNew ? [{ which, end, days }] : []
  })
}
