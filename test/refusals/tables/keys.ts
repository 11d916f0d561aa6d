import { publishedSecret } from '../../support/faulty-signing.ts'
import type { Group, Row } from '../../support/scene.ts'

type Key = Record<string, unknown>

const noKey = /no applicable keys/

/** The key that signs comes with these members changed. */
function main(changes: Key): Row[2] {
  return { jwks: (keys) => keys.map((key) => (key.alg === 'RS256' ? { ...key, ...changes } : key)) }
}

const set = (jwks: unknown): Row[2] => ({ jwks: () => jwks })

export const keys: Group[] = [
  {
    name: 'key set',
    rows: [
      ['no key', 'RFC 7517 5.1', set([]), noKey],
      ['keys that are missing', 'RFC 7517 5.1', set(undefined), /keys/],
      ['keys that are null', 'RFC 7517 5.1', set(null), /keys/],
      ['keys in an object', 'RFC 7517 5.1', { jwks: (keys) => ({ ...keys }) }, /keys/],
      ['a key that is null', 'RFC 7517 5', { jwks: (keys) => [null, ...keys] }, /keys/],
      ['a key that is text', 'RFC 7517 5', { jwks: (keys) => ['key', ...keys] }, /keys/],
      [
        'not the key that signed',
        'Core 10.1',
        { jwks: (keys) => keys.filter(({ alg }) => alg !== 'RS256') },
        noKey,
      ],
      ['a key without its type', 'RFC 7517 4.1', main({ kty: undefined }), noKey],
      ['a key of an unknown type', 'RFC 7517 4.1', main({ kty: 'MAGIC' }), noKey],
      ['a key whose type is a list', 'RFC 7517 4.1', main({ kty: ['RSA'] }), noKey],
      ['a key without its name', 'Core 10.1', main({ kid: undefined }), noKey],
      ['a key for encryption', 'RFC 7517 4.2', main({ use: 'enc' }), noKey],
      ['a key for wrapping keys', 'RFC 7517 4.3', main({ use: undefined, key_ops: ['wrapKey'] }), noKey],
      ['a key for another algorithm', 'RFC 7517 4.4', main({ alg: 'RS512' }), noKey],
      ['a key without its modulus', 'RFC 7518 6.3', main({ n: undefined }), /./],
      ['a key whose modulus is not base64url', 'RFC 7518 6.3', main({ n: '!' }), /./],
      ['a key whose modulus is a number', 'RFC 7518 6.3', main({ n: 42 }), /./],
      ['a key with another modulus', 'Core 10.1', main({ n: 'x'.repeat(342) }), /signature/],
      ['a key with the exponent 1', 'RFC 7518 6.3', main({ e: 'AQ' }), /./],
      ['a key of 1024 bits', 'RFC 7518 3.3', { weakKey: true }, /modulusLength/],
      // Who publishes it has no secret any more: whoever read it can sign.
      ['a private key', 'RFC 7518 6.3.2', main({ d: 'AQAB' }), /./],
      [
        'a symmetric key under the name of the right one',
        'RFC 8725 2.1',
        set([{ ...publishedSecret, kid: 'rsa-0' }]),
        noKey,
      ],
      ['two keys of one name', 'RFC 7517 4.5', { jwks: (keys) => [...keys, ...keys] }, /multiple applicable/],
      [
        'a thousand keys, and a token that names none',
        'Core 10.1',
        { kid: 'absent', jwks: (keys) => thousand(keys) },
        /multiple applicable/,
      ],
    ],
  },
  {
    name: 'key set, for ES256',
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

/** As many as a megabyte holds. */
export function thousand(keys: Key[]): Key[] {
  const [key] = keys
  return [...Array.from({ length: 1000 }, (_, n) => ({ ...key, kid: `key-${n}` })), ...keys]
}
