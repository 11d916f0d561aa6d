import { closeSync, openSync, readSync } from 'node:fs'
import { ConfigurationError } from '../shared/errors.ts'
import { ask, atTerminal } from './prompt.ts'

/**
 * Reads a secret, never from the argument list, which every process on the machine can read.
 *
 * @param file path, or `-` for standard input; at a terminal it is not echoed
 */
export async function readSecret(file: string, flag: string): Promise<string> {
  if (file === '-' && atTerminal()) return await ask({ question: `${flag}, the secret`, flag, hidden: true })
  return readText(file, flag).trim()
}

/**
 * @param file path, or `-` for standard input
 * @param maxBytes bytes; a larger file is refused before it is read completely
 */
export function readText(file: string, flag: string, maxBytes = 65_536): string {
  const piece = Buffer.alloc(maxBytes + 1)
  let length = 0
  try {
    const from = file === '-' ? 0 : openSync(file, 'r')
    try {
      for (let read = -1; read !== 0 && length <= maxBytes; length += read)
        read = readSync(from, piece, length, piece.length - length, null)
    } finally {
      if (from !== 0) closeSync(from)
    }
  } catch (cause) {
    throw new ConfigurationError(`${flag}: ${file} cannot be read`, { cause })
  }
  if (length > maxBytes) throw new ConfigurationError(`${flag}: ${file} is larger than ${maxBytes} bytes`)
  return piece.toString('utf8', 0, length)
}
