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
