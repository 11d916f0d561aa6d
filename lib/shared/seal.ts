import { createCipheriv, createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto'
import { ConfigurationError } from './errors.ts'

const algorithm = 'aes-256-gcm'
// Fixed, because Node accepts shorter tags by default: an attacker could guess a tag of four bytes.
const options = { authTagLength: 16 }
const ivLength = 12

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
  close(value: unknown, context: string): string {
    const header = protectedHeader(this.#newestId, context)
    const iv = randomBytes(ivLength)
    const cipher = createCipheriv(algorithm, this.#newestKey, iv, options).setAAD(Buffer.from(header))
    const encrypted = cipher.update(JSON.stringify(value), 'utf8', 'base64url') + cipher.final('base64url')
    const parts = [header, '', iv.toString('base64url'), encrypted, cipher.getAuthTag().toString('base64url')]
    return parts.join('.')
  }

  /** @returns `undefined` for everything that we did not seal for this purpose and context */
  open(sealed: string, context: string): unknown {
    try {
      for (const [id, key] of this.#keys) {
        // The header is compared as text, so nothing in a forged one is interpreted, such as another algorithm.
        const header = protectedHeader(id, context)
        if (!sealed.startsWith(`${header}..`)) continue
        const [, , iv = '', encrypted = '', tag = '', ...more] = sealed.split('.')
        const [bytes, tagBytes] = [Buffer.from(iv + encrypted, 'base64url'), Buffer.from(tag, 'base64url')]
        // Only one spelling of each value is valid, without unused bits or characters that Node ignores.
        const isCanonical =
          bytes.toString('base64url') === iv + encrypted && tagBytes.toString('base64url') === tag
        if (!isCanonical || iv.length !== 16 || more.length > 0) return undefined
        const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, ivLength), options)
        decipher.setAAD(Buffer.from(header)).setAuthTag(tagBytes)
        return JSON.parse(
          decipher.update(bytes.subarray(ivLength), undefined, 'utf8') + decipher.final('utf8'),
        ) as unknown
      }
    } catch {
      // Forged, truncated, or sealed with a secret that was removed.
    }
    return undefined
  }

  /** True if the header names the key of the first secret. Only `open` checks that the value is authentic. */
  isCurrent(sealed: string, context: string): boolean {
    return sealed.startsWith(`${protectedHeader(this.#newestId, context)}.`)
  }
}

/** @returns 32 bytes for one purpose */
export function deriveKey(secret: string, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', `express-portal-sso ${purpose}`, 32))
}

/** @returns 43 characters that do not reveal the value, such as the public id of a session, or the key of a marker */
export function digest(value: string | Uint8Array): string {
  return hash('sha256', value, 'base64url')
}

// The header of a JWE is readable, so it contains hashes of the key and of the context only.
function protectedHeader(kid: string, context: string): string {
  const ctx = digest(context).slice(0, 16)
  return Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM', kid, ctx })).toString('base64url')
}

/** Client secrets at rest. A sealed secret opens only in its own row: a copy in another row is useless. */
export class SecretBox extends Seal {
  /** @param secrets at least one, newest first */
  constructor(secrets: readonly string[]) {
    super(secrets, 'client-secret')
  }

  /** @throws ConfigurationError if none of the operator's secrets opens it */
  override open(sealed: string, context: string): string {
    const secret = super.open(sealed, context)
    if (typeof secret === 'string') return secret
    throw new ConfigurationError(
      'a client secret was sealed under another SSO_SECRET: add the old one behind the new one ' +
        '(secret: [new, old]), or set the client secret again',
    )
  }
}
