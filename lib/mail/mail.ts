import { CheckError, describeError } from '../shared/errors.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { PageBranding } from '../web/branding.ts'
import type { Locale } from '../web/locale.ts'
import type { Pages } from '../web/pages.ts'

/** A mail, in the shape that nodemailer accepts. */
export interface MailMessage {
  /** Sender, from the option `mailFrom`. Omitted: the transport's own. */
  from?: string | undefined
  /** Address of the recipient. */
  to: string
  /** One line of text. */
  subject: string
  /** The mail as plain text. */
  text: string
  /** The mail as HTML. */
  html: string
}

/** Sends a mail within 10 seconds: a transport of nodemailer (`createTransport(…)`), or a function. It rejects if it cannot. */
export type Mailer =
  | { sendMail(message: MailMessage): Promise<unknown> }
  | ((message: MailMessage) => Promise<unknown>)

/** A mail was not sent, or not in time. The message is for the operator's log and quotes nothing of the mail. */
export class MailError extends CheckError {
  override readonly name = 'MailError'

  constructor(message: string) {
    super('mail_failed', message)
  }
}

/** Limits how long a user waits; the mail may still be sent later. */
const sendTimeoutMs = 10 * SECOND
const maxReasonLength = 200

/** Renders mails and passes them to the host's mailer. It knows no users and no providers. */
export class Mail {
  readonly #pages: Pages
  readonly #mailer: Mailer
  readonly #from: string | undefined

  /** @param from default: the transport's own */
  constructor(pages: Pages, mailer: Mailer, from: string | undefined) {
    this.#pages = pages
    this.#mailer = mailer
    this.#from = from && oneLine(from)
  }

  /** The portal's default language, for mails to administrators. */
  get adminLocale(): Locale {
    return this.#pages.locales.resolveForAdmin()
  }

  branding(locale: Locale): PageBranding {
    return this.#pages.branding(locale)
  }

  /**
   * @param view below `views/mail`, with a text and an HTML version
   * @param secret part of the mail that must not appear in a log, such as a code
   * @throws MailError
   */
  async send(
    view: string,
    { to, subject, locals }: { to: string; subject: string; locals: object },
    secret?: string,
  ): Promise<void> {
    const { button, views } = this.#pages
    const { logo } = this.branding(this.adminLocale)
    // A path has no host in a mail, and an http image would reveal to the network who reads it.
    const given = { subject, logo: logo?.startsWith('https://') ? logo : undefined, button, ...locals }
    const [text, html] = await Promise.all([
      views.render(`mail/${view}.txt`, given, (value) => String(value)),
      views.render(`mail/${view}.html`, given),
    ])
    const headers = {
      to: oneLine(to),
      subject: oneLine(subject.replace(/[\u2068\u2069]/g, '')),
      ...(this.#from && { from: this.#from }),
    }
    try {
      await withTimeout(sendTimeoutMs, this.#deliver({ ...headers, text, html }))
    } catch (error) {
      throw new MailError(`the mail could not be sent: ${redactedReason(describeError(error), secret)}`)
    }
  }

  async #deliver(message: MailMessage): Promise<void> {
    const mailer = this.#mailer
    await (typeof mailer === 'function' ? mailer(message) : mailer.sendMail(message))
  }
}

/** Removes line breaks: in a name, they could add headers such as further recipients. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim()
}

/**
 * Mail servers and libraries quote what they received. Keep the first line only, without long runs, which may be encoded text;
 * and nothing if it contains the secret.
 */
function redactedReason(reason: string, secret: string | undefined): string {
  const [line = ''] = reason.split(/[\r\n]/)
  const normalize = (text: string) => text.replace(/[^A-Za-z0-9]/g, '').toUpperCase()
  const isQuoted = secret !== undefined && normalize(reason).includes(normalize(secret))
  return isQuoted ? '(the reason quotes the mail)' : line.replace(/\S{40,}/g, '…').slice(0, maxReasonLength)
}
