import { closeSync, openSync, readSync } from 'node:fs'
import { ConfigurationError } from '../shared/errors.ts'
import { ask, atTerminal } from './prompt.ts'

/**
 * Reads a secret, never from an argument: every process on the machine can read those.
 *
 * @param file path, or `-` for standard input; at a terminal the input is not echoed
 */
export async function readSecret(file: string, flag: string): Promise<string> {
  if (file === '-' && atTerminal()) return await ask({ question: `${flag}, the secret`, flag, hidden: true })
  return readText(file, flag).trim()
}

/**
 * @param file path, or `-` for standard input
 * @param maxBytes a larger file is refused before it is read completely
 */
export function readText(file: string, flag: string, maxBytes = 65_536): string {
  const buffer = Buffer.alloc(maxBytes + 1)
  let length = 0
  try {
    const descriptor = file === '-' ? 0 : openSync(file, 'r')
    try {
      for (let bytesRead = -1; bytesRead !== 0 && length <= maxBytes; length += bytesRead)
        bytesRead = readSync(descriptor, buffer, length, buffer.length - length, null)
    } finally {
      if (descriptor !== 0) closeSync(descriptor)
    }
  } catch (cause) {
    throw new ConfigurationError(`${flag}: ${file} cannot be read`, { cause })
  }
  if (length > maxBytes) throw new ConfigurationError(`${flag}: ${file} is larger than ${maxBytes} bytes`)
  return buffer.toString('utf8', 0, length)
}
