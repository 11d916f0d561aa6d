import type { Views } from '../web/pages.ts'
import { oneLine, type SendMail } from './send-mail.ts'

export interface ExpiryMail {
  to: string
  /** display name of the provider */
  provider: string
  slug: string
  /** until then; 0: it has expired */
  days: number
  /** ISO 8601 */
  end: string
}

/** @throws MailError */
export type SendExpiryMail = (mail: ExpiryMail) => Promise<void>

/**
 * Warns an administrator before a client secret expires. In English, like everything for administrators.
 *
 * @param portal its display name
 */
export function createSendExpiryMail(sendMail: SendMail, views: Views, portal: string): SendExpiryMail {
  return async ({ to, provider, slug, days, end }) => {
    const names = { provider: oneLine(provider), portal: oneLine(portal) }
    const when = days === 0 ? 'has expired' : `expires in ${days} ${days === 1 ? 'day' : 'days'}`
    const subject = `${names.portal}: the client secret of ${names.provider} ${when}`
    const locals = { ...names, slug, when, subject, date: end.slice(0, 10) }
    const [text, html] = await Promise.all([
      views.render('mail/expiry.txt', locals, (value) => String(value)),
      views.render('mail/expiry.html', locals),
    ])
    await sendMail({ to, subject, text, html })
  }
}
