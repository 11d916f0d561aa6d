import { describe, expect, it } from '@jest/globals'
import { assertIdTokenForm } from '../../lib/oidc/identity.ts'

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const token = (header: object = {}) => `${encoded({ alg: 'RS256', ...header })}.e30.c2ln`

describe('an ID token is accepted', () => {
  it.each([{}, { typ: 'JWT' }, { typ: 'jwt' }, { typ: 'application/jwt' }, { kid: 'a key' }, { kid: '' }])(
    'with the header %j',
    (header) => {
      expect(() => assertIdTokenForm(token(header))).not.toThrow()
    },
  )

  it('with every character of base64url', () => {
    expect(() => assertIdTokenForm(`${encoded({})}.a-Z_09.-_`)).not.toThrow()
  })
})

describe('an ID token is refused', () => {
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
  ])('in another encoding: %j', (text) => {
    expect(() => assertIdTokenForm(text)).toThrow('the ID token is not in base64url')
  })

  it.each(['at+jwt', 'logout+jwt', 'JOSE', 'xjwt', 'jwtx', 'x/application/jwt', '', null, 42, ['JWT']])(
    'with the type %j',
    (typ) => {
      expect(() => assertIdTokenForm(token({ typ }))).toThrow('the ID token is of another type (typ)')
    },
  )

  it.each([42, null, ['a key'], {}])('with the key id %j', (kid) => {
    expect(() => assertIdTokenForm(token({ kid }))).toThrow(
      'the key ID of the ID token is not a string (kid)',
    )
  })

  it.each([false, true, null])('with b64 %j', (b64) => {
    expect(() => assertIdTokenForm(token({ b64 }))).toThrow('an unsupported payload encoding (b64)')
  })
})
