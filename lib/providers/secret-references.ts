import { readFileSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { ManagementError } from '../shared/errors.ts'

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
  .max(500)
  .regex(/^(env:[A-Za-z_]\w*|file:\/\P{Cc}+)$/u, 'write `env:NAME` or `file:/path`')

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
    this.#env = env && new RegExp(`^(?:${env.source})$`, env.flags.replace(/[gy]/g, ''))
    this.#directories = directories
  }

  /** @throws ManagementError `not_allowed` or `invalid`, without the content */
  read(reference: string): string {
    const [, kind, name = ''] = /^(env|file):([\s\S]+)$/.exec(reference) ?? []
    const secret = kind === 'env' ? this.#readVariable(name) : this.#readFile(name)
    if (secret === '' || /\p{Cc}/u.test(secret))
      throw refused('invalid', `${reference} contains no client secret`)
    return secret
  }

  #readVariable(name: string): string {
    if (!this.#env?.test(name))
      throw refused('not_allowed', `the option secretReferences.env does not allow env:${name}`)
    const value = process.env[name]
    if (value === undefined) throw refused('invalid', `the environment variable ${name} is not set`)
    return value.trim()
  }

  #readFile(file: string): string {
    const real = attempt(() => realpathSync(file))
    if (
      path.normalize(file) !== file ||
      real === undefined ||
      !this.#directories.some((each) => contains(each, real))
    )
      throw refused(
        'not_allowed',
        `the option secretReferences.directories does not allow file:${file}, or it does not exist`,
      )
    const content = attempt(() =>
      statSync(real).size > maxSecretBytes ? undefined : readFileSync(real, 'utf8'),
    )
    if (content === undefined) throw refused('invalid', `file:${file} cannot be read, or is too large`)
    return content.trim()
  }
}

function contains(directory: string, file: string): boolean {
  const real = attempt(() => realpathSync(directory))
  return real !== undefined && file.startsWith(real.endsWith(path.sep) ? real : real + path.sep)
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function refused(code: 'not_allowed' | 'invalid', message: string): ManagementError {
  return new ManagementError(code, [{ path: 'clientSecretReference', message }])
}
