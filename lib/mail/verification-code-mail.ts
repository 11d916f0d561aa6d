import type { Locale } from '../web/locale.ts'
import type { Views } from '../web/pages.ts'
import { oneLine, type SendMail } from './send-mail.ts'

export interface CodeMail {
  to: string
  /** as the person reads it */
  code: string
  /** display name of the provider that is being connected */
  provider: string
  /** how long the code is good for */
  minutes: number
}

/** @throws MailFailed */
export type SendCodeMail = (locale: Locale, mail: CodeMail) => Promise<void>

/**
 * The mail with the code that proves an address.
 *
 * It goes to whomever a stranger names. So it holds nothing that the stranger could write (no name, no address of his: spam
 * under the portal's sender), no link to click, the same words whether the reader has an account or not, and what the code
 * is for: who is talked into passing it on gives away the account.
 *
 * @param portal its name, as people know it
 */
export function createSendCodeMail(sendMail: SendMail, views: Views, portal: string): SendCodeMail {
  return async ({ lang, t }, { to, code, provider, minutes }) => {
    const names = { provider: oneLine(provider), portal: oneLine(portal) }
    const subject = t('mail.code.subject', names)
    const locals = { lang, t, code, subject, ...names, minutes: String(minutes) }
    const [text, html] = await Promise.all([
      views.render('mail/code.txt', locals, (value) => String(value)),
      views.render('mail/code.html', locals),
    ])
    await sendMail({ to, subject, text, html }, code)
  }
}
