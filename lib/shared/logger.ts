import { sanitizeText } from './sanitize-text.ts'

/** The shape that pino has; give your own as the option `logger`. */
export interface Logger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** One line of JSON per message on stderr: line breaks in a value cannot forge a line of their own. */
export const consoleLogger: Logger = {
  info: (fields, message) => write('info', fields, message),
  warn: (fields, message) => write('warn', fields, message),
  error: (fields, message) => write('error', fields, message),
}

/**
 * A logger that gets nothing but what is fit for one, so that no caller has to remember. One that throws is not heard: who tells
 * it of a failure has nobody else to tell, and a rejection that nobody hears would end the process.
 */
export function sanitizingLogger(logger: Logger): Logger {
  const line = (level: keyof Logger) => (fields: object, message: string) => {
    try {
      logger[level](cleaned(fields, 3) as object, sanitizeText(message))
    } catch {}
  }
  return { info: line('info'), warn: line('warn'), error: line('error') }
}

function cleaned(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return sanitizeText(value)
  if (typeof value !== 'object' || value === null) return value
  // An error carries along whatever somebody hung onto it: answers, headers, tokens.
  if (depth === 0 || value instanceof Error) return sanitizeText(String(value))
  if (Array.isArray(value)) return value.slice(0, 20).map((each) => cleaned(each, depth - 1))
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [sanitizeText(name, 100), cleaned(each, depth - 1)]),
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
