import { describe, expect, it } from '@jest/globals'
import { assertIdTokenForm } from '../../lib/oidc/id-token.ts'

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const token = (header: object = {}) => `${encoded({ alg: 'RS256', ...header })}.e30.c2ln`

describe('an ID token may be', () => {
  it.each([{}, { typ: 'JWT' }, { typ: 'jwt' }, { typ: 'application/jwt' }, { kid: 'a key' }, { kid: '' }])(
    'one with the header %j',
    (header) => {
      expect(() => assertIdTokenForm(token(header))).not.toThrow()
    },
  )

  it('of any characters that base64url has', () => {
    expect(() => assertIdTokenForm(`${encoded({})}.a-Z_09.-_`)).not.toThrow()
  })
})

describe('an ID token may not be', () => {
  it.each([
    ...[
      `${token()}=`,
      `${token()}\n`,
      ` ${token()}`,
      token().replace('.', '..'),
      `${token()}.c2ln`,
      `=${token()}`,
    ],
    ...[
      token().replace('e30', ''),
      token().replace('e30', 'e3+'),
      token().replace('e30', 'e/0'),
      `.e30.c2ln`,
    ],
    ...[`${encoded({})}.e30.`, `${encoded({})}.e30`, ''],
  ])('spelt in another way: %j', (text) => {
    expect(() => assertIdTokenForm(text)).toThrow('the ID token is not in base64url')
  })

  it.each(['at+jwt', 'logout+jwt', 'JOSE', 'xjwt', 'jwtx', 'x/application/jwt', '', null, 42, ['JWT']])(
    'of the type %j',
    (typ) => {
      expect(() => assertIdTokenForm(token({ typ }))).toThrow('the ID token is of another type (typ)')
    },
  )

  it.each([42, null, ['a key'], {}])('signed by the key %j', (kid) => {
    expect(() => assertIdTokenForm(token({ kid }))).toThrow(
      "the name of the ID token's key is not text (kid)",
    )
  })

  it.each([false, true, null])('one that says of its payload: b64 %j', (b64) => {
    expect(() => assertIdTokenForm(token({ b64 }))).toThrow('how its payload is encoded (b64)')
  })
})
