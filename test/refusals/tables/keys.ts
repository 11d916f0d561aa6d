import { publishedSecret } from '../../support/faulty-signing.ts'
import type { Group, Row } from '../../support/refusals.ts'

type Key = Record<string, unknown>

const noKey = /no applicable key found/

/** Publishes the signing key with these members changed. */
function signingKey(changes: Key): Row[2] {
  return { jwks: (keys) => keys.map((key) => (key.alg === 'RS256' ? { ...key, ...changes } : key)) }
}

const keySet = (jwks: unknown): Row[2] => ({ jwks: () => jwks })

export const keys: Group[] = [
  {
    name: 'key set',
    rediscovers: true,
    rows: [
      ['no key', 'RFC 7517 5.1', keySet([]), noKey],
      ['no member keys', 'RFC 7517 5.1', keySet(undefined), /keys/],
      ['keys that are null', 'RFC 7517 5.1', keySet(null), /keys/],
      ['keys in an object', 'RFC 7517 5.1', { jwks: (keys) => ({ ...keys }) }, /keys/],
      [
        'all keys but the one that signed',
        'Core 10.1',
        { jwks: (keys) => keys.filter(({ alg }) => alg !== 'RS256') },
        noKey,
      ],
      ['a key without a type', 'RFC 7517 4.1', signingKey({ kty: undefined }), noKey],
      ['a key of an unknown type', 'RFC 7517 4.1', signingKey({ kty: 'MAGIC' }), noKey],
      ['a key whose type is an array', 'RFC 7517 4.1', signingKey({ kty: ['RSA'] }), noKey],
      ['a key without a kid', 'Core 10.1', signingKey({ kid: undefined }), noKey],
      ['a key for encryption', 'RFC 7517 4.2', signingKey({ use: 'enc' }), noKey],
      [
        'a key for wrapping keys',
        'RFC 7517 4.3',
        signingKey({ use: undefined, key_ops: ['wrapKey'] }),
        noKey,
      ],
      ['a key for another algorithm', 'RFC 7517 4.4', signingKey({ alg: 'RS512' }), noKey],
      ['a key without a modulus', 'RFC 7518 6.3', signingKey({ n: undefined }), /./],
      ['a key whose modulus is not base64url', 'RFC 7518 6.3', signingKey({ n: '!' }), /./],
      ['a key whose modulus is a number', 'RFC 7518 6.3', signingKey({ n: 42 }), /./],
      ['a key with another modulus', 'Core 10.1', signingKey({ n: 'x'.repeat(342) }), /signature/],
      ['a key with the exponent 1', 'RFC 7518 6.3', signingKey({ e: 'AQ' }), /./],
      ['a key of 1024 bits', 'RFC 7518 3.3', { weakKey: true }, /modulusLength/],
      // A published private key is compromised: anyone who has read it can sign.
      ['a private key', 'RFC 7518 6.3.2', signingKey({ d: 'AQAB' }), /./],
      [
        'a symmetric key with the kid of the signing key',
        'RFC 8725 2.1',
        keySet([{ ...publishedSecret, kid: 'rsa-0' }]),
        noKey,
      ],
      [
        'two keys with one kid',
        'RFC 7517 4.5',
        { jwks: (keys) => [...keys, ...keys] },
        /multiple matching keys/,
      ],
      [
        'a thousand keys, and a token without a kid',
        'Core 10.1',
        { kid: 'absent', jwks: (keys) => thousandKeys(keys) },
        /multiple matching keys/,
      ],
    ],
  },
  {
    name: 'key set, for ES256',
    rediscovers: true,
    slug: 'acme-es256',
    rows: [
      ['an unknown curve', 'RFC 7518 6.2', curve({ crv: 'P-0' }), noKey],
      ['the curve of another algorithm', 'RFC 7518 3.4', curve({ crv: 'P-384' }), noKey],
      ['a point that is not on the curve', 'RFC 7518 6.2.2', curve({ x: 'A'.repeat(43) }), /./],
      ['a private key', 'RFC 7518 6.2.2', curve({ d: 'A'.repeat(43) }), /./],
    ],
  },
]

function curve(changes: Key): Row[2] {
  const jwks = (keys: Key[]) => keys.map((key) => (key.alg === 'ES256' ? { ...key, ...changes } : key))
  return { alg: 'ES256', jwks }
}

/** Adds a thousand keys, about as many as fit into the size limit. */
export function thousandKeys(keys: Key[]): Key[] {
  const [key] = keys
  return [...Array.from({ length: 1000 }, (_, n) => ({ ...key, kid: `key-${n}` })), ...keys]
}
