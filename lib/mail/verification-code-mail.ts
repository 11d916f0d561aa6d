import type { Locale } from '../web/locale.ts'
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
export async function sendCodeMail(mail: Mail, { lang, t }: Locale, verification: CodeMail): Promise<void> {
  const { to, code, provider, minutes } = verification
  const names = { ...(provider && { provider: oneLine(provider) }), portal: oneLine(mail.branding.name) }
  const locals = { lang, t, code, ...names, minutes: String(minutes) }
  await mail.send('code', { to, subject: t('mail.code.subject', names), locals }, code)
}
