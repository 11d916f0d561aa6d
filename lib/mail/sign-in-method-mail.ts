import type { Locale } from '../web/locale.ts'
import type { Views } from '../web/pages.ts'
import { oneLine, type SendMail } from './send-mail.ts'

export interface MethodMail {
  /** the user's address */
  to: string
  /** what became of a way to sign in */
  what: 'linked' | 'unlinked'
  /** display name of the provider */
  provider: string
  at: Date
  /** from where, as far as that is known */
  browser: string | undefined
  os: string | undefined
  location: string | undefined
  /** page of ours on which the user sees all ways, and takes this one away */
  href: string
}

/** @throws MailFailed */
export type SendMethodMail = (locale: Locale, mail: MethodMail) => Promise<void>

/**
 * The mail that says that somebody can sign in in another way as its reader from now on, or no longer.
 *
 * Nothing of it is what the account at the provider says of itself, which may be anything. The link opens nothing: it leads to a
 * page that asks who one is.
 *
 * @param portal its name, as people know it
 * @param support whom to ask
 */
export function createSendMethodMail(
  sendMail: SendMail,
  views: Views,
  { name: portal, support }: { name: string; support?: string | undefined },
): SendMethodMail {
  return async ({ lang, t }, { to, what, provider, at, browser, os, location, href }) => {
    const names = { provider: oneLine(provider), portal: oneLine(portal) }
    const subject = t(`mail.method.${what}.subject`, names)
    const device = browser && (os ? t('account.device', { browser, os }) : browser)
    const when = new Intl.DateTimeFormat(lang, {
      dateStyle: 'long',
      timeStyle: 'long',
      timeZone: 'UTC',
    }).format(at)
    const from = [device, location].filter((part) => part !== undefined).map(oneLine)
    const locals = { lang, t, subject, ...names, what, when, from: from.join(', '), href, support }
    const [text, html] = await Promise.all([
      views.render('mail/method.txt', locals, (value) => String(value)),
      views.render('mail/method.html', locals),
    ])
    await sendMail({ to, subject, text, html })
  }
}
