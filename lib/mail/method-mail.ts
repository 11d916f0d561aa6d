import { loggable } from '../loggable.ts'
import type { Locale } from '../web/locale.ts'
import type { Views } from '../web/views.ts'
import { oneLine, type SendMail } from './send-mail.ts'

export type MethodChange = 'linked' | 'unlinked'

export interface MethodMail {
  to: string
  change: MethodChange
  /** display name of the provider */
  provider: string
  at: Date
  browser: string | undefined
  system: string | undefined
  /** as far as the portal keeps it */
  place: string | undefined
  /** address of the page on which its reader can look; without anything that lets somebody in */
  account: string
}

/** @throws MailFailed */
export type SendMethodMail = (locale: Locale, mail: MethodMail) => Promise<void>

/**
 * The mail that tells a user that a way to sign in was added or taken away.
 *
 * Whoever did it may be a stranger, and must not speak to the reader under the portal's sender: so nothing of what the account at
 * the provider is called, and of the browser only names that we know.
 *
 * @param portal its name, as people know it
 * @param support whom to ask
 */
export function createSendMethodMail(
  sendMail: SendMail,
  views: Views,
  { portal, support }: { portal: string; support: string | undefined },
): SendMethodMail {
  return async ({ lang, t }, { to, change, provider, at, browser, system, place, account }) => {
    const names = { provider: oneLine(provider), portal: oneLine(portal) }
    const subject = change === 'linked' ? t('mail.linked.subject', names) : t('mail.unlinked.subject', names)
    const when = new Intl.DateTimeFormat(lang, { dateStyle: 'long', timeStyle: 'long', timeZone: 'UTC' })
    const locals = {
      lang,
      t,
      subject,
      ...names,
      change,
      time: when.format(at),
      device: [browser, system].filter(Boolean).join(', '),
      place: place === undefined ? '' : loggable(place, 100),
      account,
      support: support === undefined ? '' : oneLine(support),
    }
    const [text, html] = await Promise.all([
      views.render('mail/method.txt', locals, (value) => String(value)),
      views.render('mail/method.html', locals),
    ])
    await sendMail({ to, subject, text, html })
  }
}
