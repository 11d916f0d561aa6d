import { describeError } from '../shared/errors.ts'
import { withTimeout } from '../shared/with-timeout.ts'

/** A mail as nodemailer takes it. */
export interface Mail {
  /** left out: the transport's own */
  from?: string | undefined
  to: string
  subject: string
  text: string
  html: string
}

/** Sends mail: any transport of nodemailer's (`createTransport(…)`), or a function that does the same. */
export type Mailer = { sendMail(mail: Mail): Promise<unknown> } | ((mail: Mail) => Promise<unknown>)

/** A mail was not sent, or not in time. The message is for the operator's log, and free of what the mail holds. */
export class MailError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MailFailed'
  }
}

/**
 * @param secret what the mail holds and no log may; left out: it holds none
 * @throws MailFailed
 */
export type SendMail = (mail: Omit<Mail, 'from'>, secret?: string) => Promise<void>

/** milliseconds that a person waits for it; it may still be sent after that */
const patience = 10_000

/** @param from left out: the transport's own */
export function createSendMail(mailer: Mailer, from: string | undefined): SendMail {
  const deliver = async (mail: Mail) => {
    await (typeof mailer === 'function' ? mailer(mail) : mailer.sendMail(mail))
  }
  return async ({ to, subject, text, html }, secret) => {
    const headers = { to: oneLine(to), subject: oneLine(subject), ...(from && { from: oneLine(from) }) }
    try {
      await withTimeout(patience, deliver({ ...headers, text, html }))
    } catch (error) {
      throw new MailError(`the mail could not be sent: ${withoutSecret(describeError(error), secret)}`)
    }
  }
}

/** A line break in a header begins another one: a name could add recipients, or a text of its own. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim()
}

/**
 * What a mail server or a library says went wrong, from which may be quoted what it was given. Only the first line counts, no
 * run of it that could be encoded text, and nothing of it where the secret is spelled out.
 */
function withoutSecret(told: string, secret: string | undefined): string {
  const [line = ''] = told.split(/[\r\n]/)
  const said = line.replace(/\S{40,}/g, '…').slice(0, 200)
  const plain = (text: string) => text.replace(/[^A-Za-z0-9]/g, '').toUpperCase()
  const isQuoted = secret !== undefined && plain(told).includes(plain(secret))
  return isQuoted ? '(what was said quotes the mail)' : said
}
