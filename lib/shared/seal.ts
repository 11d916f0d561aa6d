import { createHash, hkdfSync } from 'node:crypto'
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose'
import { ConfigurationError } from './errors.ts'

/** Encrypts and authenticates small values under a key of its own; `open` gives `undefined` for anything not sealed so. */
export interface Seal {
  /** @param context what the value belongs to; it opens only under the same context */
  close(value: unknown, context: string): Promise<string>
  open(sealed: string, context: string): Promise<unknown>
  /** whether it says that the first secret sealed it; only `open` knows whether that is true */
  isCurrent(sealed: string): boolean
}

/**
 * Keys for one purpose, derived from the operator's secrets by HKDF-SHA-256 (RFC 5869), so that what is sealed for one
 * purpose can never be passed off as something else. JWE `dir` with A256GCM (RFC 7516); the first secret writes, all read.
 *
 * @param secrets at least one, newest first
 */
export function createSeal(secrets: readonly string[], purpose: string): Seal {
  const keys = secrets.map((secret) => {
    const key = deriveKey(secret, purpose)
    return { key, kid: createHash('sha256').update(key).digest('base64url').slice(0, 8) }
  })
  const [writing] = keys
  if (!writing) throw new TypeError('a seal needs at least one secret')

  return {
    async close(value, context) {
      return await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(value)))
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: writing.kid, ctx: fingerprint(context) })
        .encrypt(writing.key)
    },
    isCurrent(sealed) {
      try {
        return decodeProtectedHeader(sealed).kid === writing.kid
      } catch {
        return false
      }
    },
    async open(sealed, context) {
      try {
        const { plaintext, protectedHeader } = await compactDecrypt(
          sealed,
          (header) => {
            const reading = keys.find(({ kid }) => kid === header.kid)
            if (!reading) throw new Error('sealed under an unknown key')
            return reading.key
          },
          { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] },
        )
        if (protectedHeader.ctx !== fingerprint(context)) return undefined
        return JSON.parse(new TextDecoder().decode(plaintext)) as unknown
      } catch {
        // Forged, cut off, or sealed under a secret that is gone: all the same to the caller.
        return undefined
      }
    },
  }
}

/** 32 bytes for one purpose. */
export function deriveKey(secret: string, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', `express-portal-sso ${purpose}`, 32))
}

// The header of a JWE is readable: the context stays out of it.
function fingerprint(context: string): string {
  return createHash('sha256').update(context).digest('base64url').slice(0, 16)
}

/** Client secrets at rest. Bound to their row: a value copied into another row does not open there. */
export interface SecretBox {
  close(secret: string, providerId: string): Promise<string>
  /** @throws ConfigurationError when none of the operator's secrets opens it */
  open(sealed: string, providerId: string): Promise<string>
  /** whether it is sealed under the first of the operator's secrets */
  isCurrent(sealed: string): boolean
}

export function createSecretBox(secrets: readonly string[]): SecretBox {
  const seal = createSeal(secrets, 'client-secret')
  return {
    close: (secret, providerId) => seal.close(secret, providerId),
    isCurrent: (sealed) => seal.isCurrent(sealed),
    async open(sealed, providerId) {
      const secret = await seal.open(sealed, providerId)
      if (typeof secret === 'string') return secret
      throw new ConfigurationError(
        'a client secret was sealed under another SSO_SECRET: add the old one behind the new one ' +
          '(secret: [new, old]), or set the client secret again',
      )
    },
  }
}
