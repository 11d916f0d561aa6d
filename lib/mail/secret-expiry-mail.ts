import { type Mail, oneLine } from './mail.ts'

export interface ExpiryMail {
  to: string
  /** display name of the provider */
  provider: string
  slug: string
  /** which of its client secrets */
  secret: 'first' | 'second'
  /** until `end`; 0: it has expired */
  days: number
  /** ISO 8601 */
  end: string
}

/** @throws MailError */
export type SendExpiryMail = (expiry: ExpiryMail) => Promise<void>

/** Warns an administrator that a client secret expires, in English like all texts for administrators. @throws MailError */
export async function sendExpiryMail(mail: Mail, expiry: ExpiryMail): Promise<void> {
  const { to, slug, secret, days, end } = expiry
  const names = { provider: oneLine(expiry.provider), portal: oneLine(mail.branding.name) }
  const when = days === 0 ? 'has run out' : `runs out in ${days} ${days === 1 ? 'day' : 'days'}`
  const subject = `${names.portal}: the client secret of ${names.provider} ${when}`
  await mail.send('expiry', { to, subject, locals: { ...names, slug, secret, when, date: end.slice(0, 10) } })
}
