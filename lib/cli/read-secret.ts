import { closeSync, openSync, readSync } from 'node:fs'
import { ConfigurationError } from '../shared/errors.ts'
import { ask, atTerminal } from './prompt.ts'

/**
 * A secret, never from the argument list, where every process on the machine can read it.
 *
 * @param file path, or `-` for standard input, which a person types without seeing it
 */
export async function readSecret(file: string, flag: string): Promise<string> {
  if (file === '-' && atTerminal()) return await ask({ question: `${flag}, the secret`, flag, hidden: true })
  return readText(file, flag).trim()
}

/** Reads the client secret if a file is given for it. */
export async function readClientSecret({
  clientSecretFile: file,
}: {
  clientSecretFile?: string | undefined
}): Promise<{ clientSecret?: string }> {
  return file === undefined ? {} : { clientSecret: await readSecret(file, '--client-secret-file') }
}

/** Twice, so that a slip does not seal something for ever. */
export async function choosePassphrase(flag: string): Promise<string> {
  const question = 'Passphrase for the secrets'
  const passphrase = await ask({ question, flag, hidden: true, hint: '12 characters or more' })
  const again = await ask({ question: `${question}, again`, flag, hidden: true })
  if (again !== passphrase) throw new ConfigurationError('the two passphrases differ; nothing is exported')
  return passphrase
}

/**
 * @param file path, or `-` for standard input
 * @param longest bytes; whatever is larger is refused before it is all in memory
 */
export function readText(file: string, flag: string, longest = 65_536): string {
  const piece = Buffer.alloc(longest + 1)
  let length = 0
  try {
    const from = file === '-' ? 0 : openSync(file, 'r')
    try {
      for (let read = -1; read !== 0 && length <= longest; length += read)
        read = readSync(from, piece, length, piece.length - length, null)
    } finally {
      if (from !== 0) closeSync(from)
    }
  } catch (cause) {
    throw new ConfigurationError(`${flag}: ${file} cannot be read`, { cause })
  }
  if (length > longest) throw new ConfigurationError(`${flag}: ${file} is larger than ${longest} bytes`)
  return piece.toString('utf8', 0, length)
}
