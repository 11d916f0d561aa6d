export interface Mail {
  to: string
  subject: string
  text: string
}

/** Keeps the last mails instead of sending them, and says on the console where they are. */
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
