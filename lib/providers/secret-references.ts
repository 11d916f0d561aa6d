import { constants } from 'node:fs'
import { open, realpath } from 'node:fs/promises'
import path from 'node:path'
import * as z from 'zod'
import { issueAt, ManagementError } from '../shared/errors.ts'
import { type AdminText, phrase } from '../shared/phrase.ts'

/** Which references to client secrets are allowed. Default: none. */
export interface SecretReferenceOptions {
  /** Names of environment variables, such as `/SSO_[A-Z_]+/`. It must match the whole name. Default none. */
  env?: RegExp | undefined
  /** Absolute paths of folders whose files may be read, such as `/run/secrets`. Links out of them are refused. Default none. */
  directories?: readonly string[] | undefined
}

/** `env:NAME`, or `file:` and an absolute path without `.` and `..`. */
export const secretReference = z
  .string()
  .max(500, phrase('is too long'))
  .regex(/^(env:[A-Za-z_]\w*|file:\/\P{Cc}+)$/u, phrase('write `env:NAME` or `file:/path`'))

const maxSecretBytes = 10_000

/**
 * Reads client secrets from where a reference points. Attacker: an administrator of one portal who enters
 * `file:/run/secrets/db` and an issuer of their own, to receive the content in our token request. Hence the allow-list, which
 * the operator sets in code and which applies whenever a reference is read.
 */
export class SecretReferences {
  readonly #env: RegExp | undefined
  readonly #directories: readonly string[]

  constructor({ env, directories = [] }: SecretReferenceOptions = {}) {
    this.#env = env && new RegExp(`^(?:${env.source})$`, env.flags.replace(/[gmy]/g, ''))
    this.#directories = directories
  }

  /** @throws ManagementError `not_allowed` or `invalid`, without the content */
  async read(reference: string): Promise<string> {
    const [, kind, name = ''] = /^(env|file):([\s\S]+)$/.exec(reference) ?? []
    const secret = (kind === 'env' ? this.#readVariable(name) : await this.#readFile(name)).trim()
    if (secret === '' || /\p{Cc}/u.test(secret))
      throw referenceError('invalid', phrase('{{reference}} contains no client secret', { reference }))
    return secret
  }

  #readVariable(name: string): string {
    if (!this.#env?.test(name))
      throw referenceError(
        'not_allowed',
        phrase('the option secretReferences.env does not allow {{reference}}', { reference: `env:${name}` }),
      )
    const value = process.env[name]
    if (value === undefined)
      throw referenceError('invalid', phrase('the environment variable {{name}} is not set', { name }))
    return value
  }

  async #readFile(file: string): Promise<string> {
    const real = path.normalize(file) === file ? await realpath(file).catch(() => undefined) : undefined
    if (real === undefined || !(await this.#contains(real)))
      throw referenceError(
        'not_allowed',
        phrase('the option secretReferences.directories does not allow {{reference}}, or it does not exist', {
          reference: `file:${file}`,
        }),
      )
    const content = await readRegularFile(real).catch(() => undefined)
    if (content === undefined)
      throw referenceError(
        'invalid',
        phrase('{{reference}} cannot be read, is not a file, or is larger than {{most}} bytes', {
          reference: `file:${file}`,
          most: maxSecretBytes,
        }),
      )
    return content
  }

  async #contains(real: string): Promise<boolean> {
    for (const each of this.#directories) {
      const directory = await realpath(each).catch(() => undefined)
      if (directory !== undefined && real.startsWith(path.join(directory, path.sep))) return true
    }
    return false
  }
}

/** @returns undefined for a pipe or a device, which could block or never end, and for a file that is too large */
async function readRegularFile(file: string): Promise<string | undefined> {
  // Without O_NONBLOCK, opening a pipe waits until a process writes to it.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  try {
    if (!(await handle.stat()).isFile()) return undefined
    // Files below /proc have no size, so the size alone is no bound.
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(maxSecretBytes + 1))
    return bytesRead > maxSecretBytes ? undefined : buffer.toString('utf8', 0, bytesRead)
  } finally {
    await handle.close()
  }
}

function referenceError(code: 'not_allowed' | 'invalid', text: AdminText): ManagementError {
  return new ManagementError(code, [issueAt('clientSecretReference', text)])
}
