import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { ConfigurationError } from '../errors.ts'

/** Asks the person at the terminal. @throws ConfigurationError when there is none, naming the flag to use instead */
export async function ask(
  question: string,
  flag: string,
  options: { hidden?: boolean } = {},
): Promise<string> {
  if (!process.stdin.isTTY) throw new ConfigurationError(`${question}: give ${flag}`)
  const output = options.hidden ? silence() : process.stderr
  const terminal = createInterface({ input: process.stdin, output, terminal: true })
  // Ctrl-C and Ctrl-D: the question alone would then never be answered, and the command end as if all were well.
  const stopped = new Promise<never>((_, reject) => {
    terminal.once('close', () => reject(new ConfigurationError('\nstopped; nothing is changed')))
  })
  try {
    process.stderr.write(options.hidden ? `${question} (not shown): ` : '')
    const asked = terminal.question(options.hidden ? '' : `${question}: `)
    const answer = await Promise.race([asked, stopped])
    if (options.hidden) process.stderr.write('\n')
    return answer.trim()
  } finally {
    terminal.close()
  }
}

/** @param file path, or `-` for standard input */
export function readSecret(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8').trim()
  } catch (cause) {
    throw new ConfigurationError(`--client-secret-file: ${file} cannot be read`, { cause })
  }
}

function silence(): Writable {
  return new Writable({
    write(_chunk, _encoding, done) {
      done()
    },
  })
}
