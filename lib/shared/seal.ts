import { createHash, hkdfSync } from 'node:crypto'
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose'
import { ConfigurationError } from './errors.ts'

/**
 * Encrypts and authenticates small values: JWE `dir` with A256GCM (RFC 7516). Each purpose has keys of its own (HKDF-SHA-256,
 * RFC 5869), so that a value sealed for one purpose does not open for another. The first secret seals, all secrets open.
 */
export class Seal {
  /** by key ID, newest first */
  readonly #keys = new Map<string, Uint8Array>()
  readonly #newestId: string
  readonly #newestKey: Uint8Array

  /** @param secrets at least one, newest first */
  constructor(secrets: readonly string[], purpose: string) {
    for (const secret of secrets) {
      const key = deriveKey(secret, purpose)
      this.#keys.set(digest(key).slice(0, 8), key)
    }
    const [newest] = this.#keys
    if (!newest) throw new ConfigurationError('a seal needs at least one secret')
    ;[this.#newestId, this.#newestKey] = newest
  }

  /** @param context binds the value to its place, such as a row or a cookie: it opens only with the same context */
  async close(value: unknown, context: string): Promise<string> {
    // The header of a JWE is readable, so it holds hashes of the key and of the context only.
    return await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(value)))
      .setProtectedHeader({
        alg: 'dir',
        enc: 'A256GCM',
        kid: this.#newestId,
        ctx: digest(context).slice(0, 16),
      })
      .encrypt(this.#newestKey)
  }

  /** @returns `undefined` for everything that we did not seal for this purpose and context */
  async open(sealed: string, context: string): Promise<unknown> {
    try {
      const key = this.#keys.get(decodeProtectedHeader(sealed).kid ?? '')
      if (!key) return undefined
      const { plaintext, protectedHeader } = await compactDecrypt(sealed, key, {
        keyManagementAlgorithms: ['dir'],
        contentEncryptionAlgorithms: ['A256GCM'],
      })
      if (protectedHeader.ctx !== digest(context).slice(0, 16)) return undefined
      return JSON.parse(new TextDecoder().decode(plaintext)) as unknown
    } catch {
      // Forged, truncated, or sealed with a secret that was removed.
      return undefined
    }
  }

  /** True if the header names the key of the first secret. Only `open` checks that the header is authentic. */
  isCurrent(sealed: string): boolean {
    try {
      return decodeProtectedHeader(sealed).kid === this.#newestId
    } catch {
      return false
    }
  }
}

/** @returns 32 bytes for one purpose */
export function deriveKey(secret: string, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', `express-portal-sso ${purpose}`, 32))
}

/** @returns 43 characters that do not reveal the value, such as the public id of a session, or the key of a marker */
export function digest(value: string | Uint8Array): string {
  return createHash('sha256').update(value).digest('base64url')
}

/** Client secrets at rest. A sealed secret opens only in its own row: a copy in another row is useless. */
export class SecretBox extends Seal {
  /** @param secrets at least one, newest first */
  constructor(secrets: readonly string[]) {
    super(secrets, 'client-secret')
  }

  /** @throws ConfigurationError if none of the operator's secrets opens it */
  override async open(sealed: string, context: string): Promise<string> {
    const secret = await super.open(sealed, context)
    if (typeof secret === 'string') return secret
    throw new ConfigurationError(
      'a client secret was sealed under another SSO_SECRET: add the old one behind the new one ' +
        '(secret: [new, old]), or set the client secret again',
    )
  }
}
