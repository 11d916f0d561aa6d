export interface Mail {
  to: string
  subject: string
  text: string
}

/** Keeps the last 20 mails instead of sending them, and prints where to read them. */
export function createMailbox(address: string): {
  readonly mails: Mail[]
  sendMail(mail: Mail): Promise<void>
} {
  const mails: Mail[] = []
  return {
    mails,
    async sendMail({ to, subject, text }) {
      mails.unshift({ to, subject, text })
      mails.splice(20)
      console.log(`  A mail to ${to} is in ${address}`)
    },
  }
}
