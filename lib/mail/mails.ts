import { dateFormat, type Locale } from '../web/locale.ts'
import { placeName } from '../web/request.ts'
import { type Mail, oneLine } from './mail.ts'

export interface CodeMail {
  to: string
  /** as shown to the user */
  code: string
  /** display name of the provider that is being connected; omitted: the code confirms who a signed-in user is */
  provider?: string
  /** until the code expires */
  minutes: number
}

/**
 * Sends the code that verifies an address, which an attacker may have entered. The mail holds no text of theirs (spam), no link,
 * the same words with and without an account, and the purpose of the code, so that users do not pass it on.
 *
 * @throws MailError
 */
export async function sendCodeMail(mail: Mail, locale: Locale, verification: CodeMail): Promise<void> {
  const { lang, t } = locale
  const { to, code, provider, minutes } = verification
  const names = {
    ...(provider && { provider: oneLine(provider) }),
    portal: oneLine(mail.branding(locale).name),
  }
  const locals = { lang, t, code, ...names, minutes: String(minutes) }
  await mail.send('code', { to, subject: t('mail.code.subject', names), locals }, code)
}

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
export async function sendMethodMail(mail: Mail, locale: Locale, change: MethodMail): Promise<void> {
  const { lang, t } = locale
  const { to, what, provider, at, browser, os, location, href } = change
  const { name: portal, support } = mail.branding(locale)
  const names = { provider: oneLine(provider), portal: oneLine(portal) }
  const subject = t(`mail.method.${what}.subject`, names)
  const device = browser && (os ? t('account.device', { browser, os }) : browser)
  const format = { dateStyle: 'long', timeStyle: 'long', timeZone: 'UTC' } as const
  const when = dateFormat(lang, format).format(at)
  const from = [device, placeName(location)].filter((part) => part !== undefined).map(oneLine)
  const locals = { lang, t, ...names, what, when, from: from.join(', '), href, support }
  await mail.send('method', { to, subject, locals })
}

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

/** Warns an administrator that a client secret expires, in the portal's default language. @throws MailError */
export async function sendExpiryMail(
  mail: Mail,
  { to, slug, provider, days, end }: ExpiryMail,
): Promise<void> {
  const { adminLocale: locale } = mail
  const { lang, say, t } = locale
  const portal = oneLine(mail.branding(locale).name)
  const values = { portal, provider: oneLine(provider), slug, date: end.slice(0, 10), count: days }
  const subject =
    days === 0
      ? say('{{portal}}: the client secret of {{provider}} has expired', values)
      : say('{{portal}}: the client secret of {{provider}} expires in {{count}} days', values)
  await mail.send('expiry', { to, subject, locals: { lang, say, t, portal, values } })
}
