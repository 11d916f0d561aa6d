import type { Views } from '../web/pages.ts'
import { oneLine, type SendMail } from './send-mail.ts'

export interface ExpiryMail {
  to: string
  /** display name of the provider */
  provider: string
  slug: string
  /** which of its client secrets */
  secret: 'first' | 'second'
  /** until then; 0: it has run out */
  days: number
  /** ISO 8601 */
  end: string
}

/** @throws MailFailed */
export type SendExpiryMail = (mail: ExpiryMail) => Promise<void>

/**
 * The mail that warns an administrator of a client secret's end, in English as all that administrators read.
 *
 * @param portal its name, as people know it
 */
export function createSendExpiryMail(sendMail: SendMail, views: Views, portal: string): SendExpiryMail {
  return async ({ to, provider, slug, secret, days, end }) => {
    const names = { provider: oneLine(provider), portal: oneLine(portal) }
    const when = days === 0 ? 'has expired' : `expires in ${days} ${days === 1 ? 'day' : 'days'}`
    const subject = `${names.portal}: the client secret of ${names.provider} ${when}`
    const locals = { ...names, slug, secret, when, subject, date: end.slice(0, 10) }
    const [text, html] = await Promise.all([
      views.render('mail/expiry.txt', locals, (value) => String(value)),
      views.render('mail/expiry.html', locals),
    ])
    await sendMail({ to, subject, text, html })
  }
}
