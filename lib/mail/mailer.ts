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
