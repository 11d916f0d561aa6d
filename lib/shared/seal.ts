import { createHash, hkdfSync } from 'node:crypto'
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose'
import { CheckError, ConfigurationError } from './errors.ts'

interface Key {
  key: Uint8Array
  kid: string
}

/**
 * Encrypts and authenticates small values: JWE `dir` with A256GCM (RFC 7516). Each purpose has keys of its own (HKDF-SHA-256,
 * RFC 5869), so that a value sealed for one purpose does not open for another. The first secret seals, all secrets open.
 */
export class Seal {
  readonly #keys: readonly Key[]
  readonly #newest: Key

  /** @param secrets at least one, newest first */
  constructor(secrets: readonly string[], purpose: string) {
    this.#keys = secrets.map((secret) => {
      const key = deriveKey(secret, purpose)
      return { key, kid: createHash('sha256').update(key).digest('base64url').slice(0, 8) }
    })
    const [newest] = this.#keys
    if (!newest) throw new ConfigurationError('a seal needs at least one secret')
    this.#newest = newest
  }

  /** @param context binds the value to its place, such as a row or a cookie: it opens only with the same context */
  async close(value: unknown, context: string): Promise<string> {
    const { key, kid } = this.#newest
    return await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(value)))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid, ctx: fingerprint(context) })
      .encrypt(key)
  }

  /** @returns `undefined` for everything that we did not seal for this purpose and context */
  async open(sealed: string, context: string): Promise<unknown> {
    try {
      const { plaintext, protectedHeader } = await compactDecrypt(
        sealed,
        (header) => {
          const found = this.#keys.find(({ kid }) => kid === header.kid)
          if (!found) throw new CheckError('kid', 'sealed under an unknown key')
          return found.key
        },
        { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] },
      )
      if (protectedHeader.ctx !== fingerprint(context)) return undefined
      return JSON.parse(new TextDecoder().decode(plaintext)) as unknown
    } catch {
      // Forged, truncated, or sealed with a secret that was removed.
      return undefined
    }
  }

  /** True if the header names the key of the first secret. Only `open` checks that the header is authentic. */
  isCurrent(sealed: string): boolean {
    try {
      return decodeProtectedHeader(sealed).kid === this.#newest.kid
    } catch {
      return false
    }
  }
}

/** @returns 32 bytes for one purpose */
export function deriveKey(secret: string, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', `express-portal-sso ${purpose}`, 32))
}

// The header of a JWE is readable, so it holds a hash of the context only.
function fingerprint(context: string): string {
  return createHash('sha256').update(context).digest('base64url').slice(0, 16)
}

/** Client secrets at rest. A sealed secret opens only in its own row: a copy in another row is useless. */
export class SecretBox {
  readonly #seal: Seal

  /** @param secrets at least one, newest first */
  constructor(secrets: readonly string[]) {
    this.#seal = new Seal(secrets, 'client-secret')
  }

  async close(secret: string, providerId: string): Promise<string> {
    return await this.#seal.close(secret, providerId)
  }

  /** @throws ConfigurationError if none of the operator's secrets opens it */
  async open(sealed: string, providerId: string): Promise<string> {
    const secret = await this.#seal.open(sealed, providerId)
    if (typeof secret === 'string') return secret
    throw new ConfigurationError(
      'a client secret was sealed under another SSO_SECRET: add the old one behind the new one ' +
        '(secret: [new, old]), or set the client secret again',
    )
  }

  /** True if the first of the operator's secrets sealed it. */
  isCurrent(sealed: string): boolean {
    return this.#seal.isCurrent(sealed)
  }
}
