import { publishedSecret } from '../../support/faulty-signing.ts'
import type { Group, Row } from '../../support/refusals.ts'

// The attacker controls the token response: the provider was compromised, or signs tokens carelessly. The defence: a
// published key must have signed the token with the one algorithm of the provider's row.

const badSignature = /signature/

/** For every algorithm. Certification tests RS256, ES256 and HS256 only (…-invalid-sig-…). */
const everyAlgorithm: Row[] = [
  ['a signature with one bit changed', 'Core 3.1.3.7 (6)', { signature: 'bad' }, badSignature],
  ['a signature by a foreign key', 'Core 3.1.3.7 (6)', { signature: 'foreign-key' }, badSignature],
  ['the signature of another token', 'RFC 7515 5.2', { signature: 'of-another-token' }, badSignature],
  ['a truncated signature', 'RFC 7515 5.2', { signature: 'cut' }, badSignature],
  ['a signature of zeros', 'RFC 7518 3.4', { signature: 'zeros' }, badSignature],
  ['no signature', 'Core 3.1.3.7 (6)', { signature: 'stripped' }, badSignature],
]

export const signatures: Group[] = [
  {
    name: 'RS256 signature of the ID token (oidcc-client-test-invalid-sig-rs256)',
    rows: [
      ...everyAlgorithm,
      ['a signature with PS256 padding', 'RFC 7518 3.3', { signature: 'other-padding' }, badSignature],
    ],
  },
  {
    name: 'PS256 signature of the ID token',
    slug: 'acme-ps256',
    rows: [
      ...everyAlgorithm.map(signedWith('PS256')),
      [
        'a signature with RS256 padding',
        'RFC 7518 3.5',
        { alg: 'PS256', signature: 'other-padding' },
        badSignature,
      ],
    ],
  },
  {
    name: 'ES256 signature of the ID token (oidcc-client-test-invalid-sig-es256)',
    slug: 'acme-es256',
    rows: [
      ...everyAlgorithm.map(signedWith('ES256')),
      ['a signature in DER format', 'RFC 7518 3.4', { alg: 'ES256', signature: 'der' }, badSignature],
    ],
  },
  {
    name: 'EdDSA signature of the ID token',
    slug: 'acme-eddsa',
    rows: [
      ...everyAlgorithm.map(signedWith('EdDSA')),
      [
        'a signature with a small-order point',
        'RFC 8032 5.1.7',
        { alg: 'EdDSA', signature: 'small-order' },
        badSignature,
      ],
    ],
  },
]

function signedWith(alg: 'PS256' | 'ES256' | 'EdDSA') {
  return ([fault, clause, faults, cause]: Row): Row => [fault, clause, { alg, ...faults }, cause]
}

const unexpected = /unexpected JWT "alg"/
const withAlg = (alg: unknown) => ({ header: { alg } })

function announces(...algorithms: (string | undefined)[]) {
  const [first] = algorithms
  return {
    discovery: { id_token_signing_alg_values_supported: first === undefined ? undefined : algorithms },
  }
}

export const algorithms: Group[] = [
  {
    name: 'algorithm of the ID token',
    rows: [
      // oidcc-client-test-idtoken-sig-none applies to clients that register `none`, which is impossible here.
      ['alg none', 'Core 3.1.3.7 (7), RFC 8725 2.1', { alg: 'none' }, unexpected],
      ['alg none, with a valid signature', 'RFC 8725 2.1', withAlg('none'), unexpected],
      ['alg NONE', 'RFC 7515 4.1.1', { signature: 'stripped', ...withAlg('NONE') }, unexpected],
      ['alg nOnE', 'RFC 7515 4.1.1', { signature: 'stripped', ...withAlg('nOnE') }, unexpected],
      [
        'alg "none " with a space',
        'RFC 7515 4.1.1',
        { signature: 'stripped', ...withAlg('none ') },
        unexpected,
      ],
      ['alg in lower case', 'RFC 7515 4.1.1', withAlg('rs256'), unexpected],
      ['no alg', 'RFC 7515 4.1.1', withAlg(undefined), unexpected],
      ['an empty alg', 'RFC 7515 4.1.1', withAlg(''), unexpected],
      ['alg null', 'RFC 7515 4.1.1', withAlg(null), unexpected],
      ['alg as an array', 'RFC 7515 4.1.1', withAlg(['RS256']), unexpected],
      ['alg as an object', 'RFC 7515 4.1.1', withAlg({ RS256: true }), unexpected],
      ['alg as a number', 'RFC 7515 4.1.1', withAlg(256), unexpected],
      ['alg __proto__', 'RFC 7515 4.1.1', withAlg('__proto__'), unexpected],
      ['alg RS512 over an RS256 signature', 'Core 3.1.3.7 (7)', withAlg('RS512'), unexpected],
      // oidcc-client-test-invalid-sig-hs256: everyone who can verify an HMAC can also sign.
      ['HS256 with the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS256-client-secret' }, unexpected],
      ['HS384 with the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS384-client-secret' }, unexpected],
      ['HS512 with the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS512-client-secret' }, unexpected],
      ['HS256 with the public key as PEM', 'RFC 8725 2.1', { alg: 'HS256-public-key' }, unexpected],
      ['HS384 with the public key as PEM', 'RFC 8725 2.1', { alg: 'HS384-public-key' }, unexpected],
      ['HS512 with the public key as PEM', 'RFC 8725 2.1', { alg: 'HS512-public-key' }, unexpected],
      ['HS256 with the public key as DER', 'RFC 8725 2.1', { alg: 'HS256-public-key-der' }, unexpected],
      ['HS256 with the public key as JWK', 'RFC 8725 2.1', { alg: 'HS256-public-key-jwk' }, unexpected],
      ['HS256 with the modulus of the key', 'RFC 8725 2.1', { alg: 'HS256-public-key-modulus' }, unexpected],
      ['HS256 with an empty secret', 'RFC 8725 2.1', { alg: 'HS256-empty' }, unexpected],
      [
        'HS256 with a secret that is in the key set',
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
    name: 'algorithm of the ID token, while RS256 is configured',
    slug: 'acme-rs256',
    rows: [
      ['a valid ES256 signature', 'Core 3.1.3.7 (7)', { alg: 'ES256' }, unexpected],
      ['a valid PS256 signature', 'Core 3.1.3.7 (7)', { alg: 'PS256' }, unexpected],
      ['a valid EdDSA signature', 'Core 3.1.3.7 (7)', { alg: 'EdDSA' }, unexpected],
    ],
  },
  {
    name: 'algorithm of the ID token, of those that the provider announces',
    rediscovers: true,
    rows: [
      [
        'one that it does not announce',
        'Core 3.1.3.7 (7)',
        { ...announces('RS256'), alg: 'ES256' },
        unexpected,
      ],
      [
        'any but RS256 if it announces none',
        'Discovery 3',
        { ...announces(undefined), alg: 'ES256' },
        unexpected,
      ],
      ['none, announced', 'RFC 8725 3.1', { ...announces('none'), alg: 'none' }, unexpected],
      [
        'HS256 with the client secret, announced',
        'RFC 8725 3.1',
        { ...announces('HS256', 'RS256'), alg: 'HS256-client-secret' },
        unexpected,
      ],
      [
        'ES256 with the kid of an RS256 key',
        'RFC 7517 4.4',
        { alg: 'ES256', header: { kid: 'rsa-0' } },
        /no applicable key/,
      ],
    ],
  },
  {
    name: 'algorithm of the ID token, while ES256 is configured',
    slug: 'acme-es256',
    rows: [
      ['a valid RS256 signature', 'Core 3.1.3.7 (7)', {}, unexpected],
      ['HS256 with the client secret', 'Core 3.1.3.7 (8)', { alg: 'HS256-client-secret' }, unexpected],
      [
        'ES256 with the kid of an RS256 key',
        'RFC 7517 4.4',
        { alg: 'ES256', header: { kid: 'rsa-0' } },
        /key/,
      ],
      ['alg ES256K', 'RFC 8812 3.2', { alg: 'ES256', header: { alg: 'ES256K' } }, unexpected],
    ],
  },
]
