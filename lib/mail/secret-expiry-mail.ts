import { type Mail, oneLine } from './mail.ts'

export interface ExpiryMail {
  to: string
  /** Display name of the provider. */
  provider: string
  slug: string
  /** Until `end`; 0: it has expired. */
  days: number
  /** ISO 8601. */
  end: string
}

/** Warns an administrator that a client secret expires, in English like all texts for administrators. @throws MailError */
export async function sendExpiryMail(
  mail: Mail,
  { to, slug, provider, days, end }: ExpiryMail,
): Promise<void> {
  const names = { provider: oneLine(provider), portal: oneLine(mail.branding.name) }
  const when = days === 0 ? 'has expired' : `expires in ${days} ${days === 1 ? 'day' : 'days'}`
  const subject = `${names.portal}: the client secret of ${names.provider} ${when}`
  await mail.send('expiry', { to, subject, locals: { ...names, slug, when, date: end.slice(0, 10) } })
}
