import type { Locale } from '../web/locale.ts'
import { type Mail, oneLine } from './mail.ts'

export interface MethodMail {
  /** the user's address */
  to: string
  /** the change of the sign-in method */
  what: 'linked' | 'replaced' | 'unlinked'
  /** display name of the provider */
  provider: string
  at: Date
  /** the client, as far as it is known */
  browser: string | undefined
  os: string | undefined
  location: string | undefined
  /** the page with all sign-in methods, on which the user can remove this one */
  href: string
}

/**
 * Tells a user that a sign-in method was added, replaced or removed. The mail contains no claims of the provider's account, which an
 * attacker can choose, and its link leads to a page that requires a sign-in.
 *
 * @throws MailError
 */
export async function sendMethodMail(mail: Mail, { lang, t }: Locale, change: MethodMail): Promise<void> {
  const { to, what, provider, at, browser, os, location, href } = change
  const { name: portal, support } = mail.branding
  const names = { provider: oneLine(provider), portal: oneLine(portal) }
  const subject = t(`mail.method.${what}.subject`, names)
  const device = browser && (os ? t('account.device', { browser, os }) : browser)
  const format = { dateStyle: 'long', timeStyle: 'long', timeZone: 'UTC' } as const
  const when = new Intl.DateTimeFormat(lang, format).format(at)
  const from = [device, location].filter((part) => part !== undefined).map(oneLine)
  const locals = { lang, t, ...names, what, when, from: from.join(', '), href, support }
  await mail.send('method', { to, subject, locals })
}
