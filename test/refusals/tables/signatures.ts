import { publishedSecret } from '../../support/faulty-signing.ts'
import type { Group, Row } from '../../support/scene.ts'

// The attacker is whoever can put a token into the token endpoint's answer: a provider that was broken into, or one that
// is careless with what it signs. What stops him is that a token counts only if a published key signed it, by the one
// algorithm of the provider's row.

const bad = /signature/

/** The same for every algorithm: certification asks it of RS256, ES256 and HS256 (…-invalid-sig-…), we of all. */
const everywhere: Row[] = [
  ['a signature with one bit changed', 'Core 3.1.3.7 (6)', { signature: 'bad' }, bad],
  ['a signature by a foreign key', 'Core 3.1.3.7 (6)', { signature: 'foreign-key' }, bad],
  ['the signature of another token', 'RFC 7515 5.2', { signature: 'of-another-token' }, bad],
  ['a signature that is cut', 'RFC 7515 5.2', { signature: 'cut' }, bad],
  ['a signature of zeros', 'RFC 7518 3.4', { signature: 'zeros' }, bad],
  ['no signature', 'Core 3.1.3.7 (6)', { signature: 'stripped' }, bad],
]

export const signatures: Group[] = [
  {
    name: 'ID token, its signature by RS256 (oidcc-client-test-invalid-sig-rs256)',
    rows: [...everywhere, ['one padded as PS256', 'RFC 7518 3.3', { signature: 'other-padding' }, bad]],
  },
  {
    name: 'ID token, its signature by PS256',
    slug: 'acme-ps256',
    rows: [
      ...everywhere.map(actor('PS256')),
      ['one padded as RS256', 'RFC 7518 3.5', { alg: 'PS256', signature: 'other-padding' }, bad],
    ],
  },
  {
    name: 'ID token, its signature by ES256 (oidcc-client-test-invalid-sig-es256)',
    slug: 'acme-es256',
    rows: [
      ...everywhere.map(actor('ES256')),
      ['one in the form of DER', 'RFC 7518 3.4', { alg: 'ES256', signature: 'der' }, bad],
    ],
  },
  {
    name: 'ID token, its signature by EdDSA',
    slug: 'acme-eddsa',
    rows: [
      ...everywhere.map(actor('EdDSA')),
      ['one of small order', 'RFC 8032 5.1.7', { alg: 'EdDSA', signature: 'small-order' }, bad],
    ],
  },
]

function actor(alg: 'PS256' | 'ES256' | 'EdDSA') {
  return ([fault, clause, faults, cause]: Row): Row => [fault, clause, { alg, ...faults }, cause]
}

const unexpected = /unexpected JWT "alg"/
const algOf = (alg: unknown) => ({ header: { alg } })

export const algorithms: Group[] = [
  {
    name: 'ID token, its algorithm',
    rows: [
      // oidcc-client-test-idtoken-sig-none wants it accepted by clients that registered `none`: here nobody can.
      ['alg none', 'Core 3.1.3.7 (7), RFC 8725 2.1', { alg: 'none' }, unexpected],
      ['alg none, with a good signature', 'RFC 8725 2.1', algOf('none'), unexpected],
      ['alg NONE', 'RFC 7515 4.1.1', { signature: 'stripped', ...algOf('NONE') }, unexpected],
      ['alg nOnE', 'RFC 7515 4.1.1', { signature: 'stripped', ...algOf('nOnE') }, unexpected],
      [
        'alg "none " with a space',
        'RFC 7515 4.1.1',
        { signature: 'stripped', ...algOf('none ') },
        unexpected,
      ],
      ['alg in lower case', 'RFC 7515 4.1.1', algOf('rs256'), unexpected],
      ['no alg', 'RFC 7515 4.1.1', algOf(undefined), unexpected],
      ['an empty alg', 'RFC 7515 4.1.1', algOf(''), unexpected],
      ['alg null', 'RFC 7515 4.1.1', algOf(null), unexpected],
      ['alg as a list', 'RFC 7515 4.1.1', algOf(['RS256']), unexpected],
      ['alg as an object', 'RFC 7515 4.1.1', algOf({ RS256: true }), unexpected],
      ['alg as a number', 'RFC 7515 4.1.1', algOf(256), unexpected],
      ['alg __proto__', 'RFC 7515 4.1.1', algOf('__proto__'), unexpected],
      ['alg RS512 over an RS256 signature', 'Core 3.1.3.7 (7)', algOf('RS512'), unexpected],
      ['a good ES256 signature where RS256 is registered', 'Core 3.1.3.7 (7)', { alg: 'ES256' }, unexpected],
      ['a good PS256 signature where RS256 is registered', 'Core 3.1.3.7 (7)', { alg: 'PS256' }, unexpected],
      ['a good EdDSA signature where RS256 is registered', 'Core 3.1.3.7 (7)', { alg: 'EdDSA' }, unexpected],
      // oidcc-client-test-invalid-sig-hs256: with an HMAC whoever verifies can also sign.
      ['HS256 by the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS256-client-secret' }, unexpected],
      ['HS384 by the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS384-client-secret' }, unexpected],
      ['HS512 by the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS512-client-secret' }, unexpected],
      ['HS256 by the public key as PEM', 'RFC 8725 2.1', { alg: 'HS256-public-key' }, unexpected],
      ['HS384 by the public key as PEM', 'RFC 8725 2.1', { alg: 'HS384-public-key' }, unexpected],
      ['HS512 by the public key as PEM', 'RFC 8725 2.1', { alg: 'HS512-public-key' }, unexpected],
      ['HS256 by the public key as DER', 'RFC 8725 2.1', { alg: 'HS256-public-key-der' }, unexpected],
      ['HS256 by the public key as JWK', 'RFC 8725 2.1', { alg: 'HS256-public-key-jwk' }, unexpected],
      ['HS256 by the modulus of the key', 'RFC 8725 2.1', { alg: 'HS256-public-key-modulus' }, unexpected],
      ['HS256 by an empty secret', 'RFC 8725 2.1', { alg: 'HS256-empty' }, unexpected],
      [
        'HS256 by a secret that stands in the key set',
        'RFC 8725 2.1',
        {
          alg: 'HS256-published-secret',
          header: { kid: publishedSecret.kid },
          jwks: (keys) => [...keys, publishedSecret],
        },
        unexpected,
      ],
    ],
  },
  {
    name: 'ID token, its algorithm where ES256 is registered',
    slug: 'acme-es256',
    rows: [
      ['a good RS256 signature', 'Core 3.1.3.7 (7)', {}, unexpected],
      ['HS256 by the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS256-client-secret' }, unexpected],
      ['ES256 under the key for RS256', 'RFC 7517 4.4', { alg: 'ES256', header: { kid: 'rsa-0' } }, /key/],
      ['alg ES256K', 'RFC 8812 3.2', { alg: 'ES256', header: { alg: 'ES256K' } }, unexpected],
    ],
  },
]
