import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { domainToASCII } from 'node:url'
import { createTransport, type Transporter } from 'nodemailer'
import { SMTPServer, type SMTPServerDataStream } from 'smtp-server'

export interface ReceivedMail {
  /** actual recipients, from the envelope */
  recipients: string[]
  /** lower-case names and decoded values, including duplicates */
  headers: [name: string, value: string][]
  text: string
  html: string
}

export interface MailServer {
  /** a real nodemailer transport to this server */
  readonly transport: Transporter
  readonly mails: ReceivedMail[]
  /** mails with a code; notices of a new sign-in method can arrive later */
  readonly codes: ReceivedMail[]
  readonly faults: {
    /** Never responds to a mail. */
    hang?: true
    /** Refuses a mail, and quotes all of it in the response. */
    refuse?: true
  }
  /** The code in the last mail to an address. */
  codeTo(address: string): string
  reset(): void
  close(): Promise<void>
}

const code = /\b[2-9A-Z]{4}-[2-9A-Z]{4}\b/

/** An SMTP server on a free port that stores all mails. */
export async function startMailServer(): Promise<MailServer> {
  const mails: ReceivedMail[] = []
  const faults: MailServer['faults'] = {}
  const hanging: ((error: Error) => void)[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    hideSMTPUTF8: false,
    disableReverseLookup: true,
    closeTimeout: 50,
    onData(stream, session, done) {
      read(stream)
        .then((raw) => {
          if (faults.hang) return void hanging.push(done)
          if (faults.refuse) return done(new Error(`refused: ${raw.replace(/\s+/g, ' ')}`))
          mails.push({
            ...parse(raw),
            recipients: session.envelope.rcptTo.map(({ address }) => toAsciiDomain(address)),
          })
          done()
        })
        .catch(done)
    },
  })
  server.on('error', () => {})
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address() as AddressInfo
  // The server greets each new connection after 100 ms, so the transport reuses its connections.
  const transport = createTransport({ host: '127.0.0.1', port, secure: false, pool: true })
  return {
    transport,
    mails,
    get codes() {
      return mails.filter(({ text }) => code.test(text))
    },
    faults,
    codeTo(address) {
      const mail = mails.findLast(({ recipients, text }) => recipients.includes(address) && code.test(text))
      const [found] = code.exec(mail?.text ?? '') ?? []
      if (!found) throw new Error(`no code was sent to ${address}`)
      return found
    },
    reset() {
      mails.length = 0
      delete faults.hang
      delete faults.refuse
    },
    async close() {
      transport.close()
      for (const done of hanging) done(new Error('too late'))
      await new Promise<void>((resolve) => server.close(resolve))
    },
  }
}

/** The library decodes domains; this restores the domain that was sent. */
function toAsciiDomain(address: string): string {
  const at = address.lastIndexOf('@') + 1
  return address.slice(0, at) + domainToASCII(address.slice(at))
}

async function read(stream: SMTPServerDataStream): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

function parse(raw: string): Omit<ReceivedMail, 'recipients'> {
  const { headers, body } = split(raw)
  const boundary = /boundary="([^"]+)"/.exec(headerOf(headers, 'content-type'))?.[1] ?? 'none'
  const parts = body.split(`--${boundary}`).map((part) => split(part.trimStart()))
  const part = (type: string) => {
    const found = parts.find((each) => headerOf(each.headers, 'content-type').startsWith(type))
    return found ? decode(found.body, headerOf(found.headers, 'content-transfer-encoding')) : ''
  }
  return { headers, text: part('text/plain'), html: part('text/html') }
}

function split(part: string): { headers: [string, string][]; body: string } {
  const end = part.indexOf('\r\n\r\n')
  const lines = part
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n')
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), decodeWords(line.slice(colon + 1).trim())]
  })
  return { headers, body: part.slice(end + 4) }
}

function headerOf(headers: [string, string][], name: string): string {
  return headers.find(([each]) => each === name)?.[1] ?? ''
}

/** Encoded words (RFC 2047). */
function decodeWords(value: string): string {
  return value
    .replace(/(\?=)\s+(=\?)/g, '$1$2')
    .replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_word, kind: string, text: string) =>
      kind.toLowerCase() === 'b'
        ? Buffer.from(text, 'base64').toString('utf8')
        : decode(text.replace(/_/g, ' '), 'quoted-printable'),
    )
}

function decode(body: string, encoding: string): string {
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString('utf8')
  if (encoding !== 'quoted-printable') return body
  const bytes = body
    .replace(/=\r\n/g, '')
    .replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
