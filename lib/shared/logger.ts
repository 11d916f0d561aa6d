import { sanitizeText } from './sanitize-text.ts'

/** The subset of pino's interface that the plugin uses. Errors that a logger throws are ignored. */
export interface Logger {
  /** Logs the normal course of events. @param fields - plain values, without tokens, codes and secrets */
  info(fields: object, message: string): void
  /** Logs a problem that needs no immediate action, such as a refused sign-in. */
  warn(fields: object, message: string): void
  /** Logs a failure of the portal, its database, Redis or mailer. */
  error(fields: object, message: string): void
}

/** Writes one line of JSON per message to stderr, so that a line break in a value cannot forge a log line. */
export const consoleLogger: Logger = {
  info: (fields, message) => write('info', fields, message),
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
}

const maxDepth = 3
const maxListItems = 20
const maxFieldNameLength = 100

/**
 * Sanitizes everything that the host's logger receives. Errors of that logger are ignored: there is no other place to report
 * them, and an unhandled rejection would end the process.
 */
export function sanitizingLogger(logger: Logger): Logger {
  const line = (level: keyof Logger) => (fields: object, message: string) => {
    try {
      logger[level](sanitize(fields, maxDepth) as object, sanitizeText(message))
    } catch {}
  }
  return { info: line('info'), warn: line('warn'), error: line('error') }
}

function sanitize(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return sanitizeText(value)
  if (typeof value !== 'object' || value === null) return value
  // Libraries attach responses, headers and tokens to their errors: log the message only.
  if (depth === 0 || value instanceof Error) return sanitizeText(String(value))
  if (Array.isArray(value)) return value.slice(0, maxListItems).map((item) => sanitize(item, depth - 1))
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      sanitizeText(name, maxFieldNameLength),
      sanitize(field, depth - 1),
    ]),
  )
}

function write(level: string, fields: object, message: string): void {
  const line = JSON.stringify({
    level,
    time: new Date().toISOString(),
    name: 'portal-sso',
    message,
    ...fields,
  })
  process.stderr.write(`${line}\n`)
}
