import { CheckError } from '../shared/errors.ts'
/**
 * Checks the form of an ID token, which openid-client leaves to its caller. Signature and claims are already validated.
 *
 * @throws Error when two readers could understand it differently, or as another kind of token
 */
export function assertIdTokenForm(idToken: string): void {
  // RFC 7515, 2: no padding, no white space, no other alphabet. The encoding of the signature is not itself signed, so one
  // token could otherwise have several forms.
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(idToken))
    throw new CheckError('jws', 'the ID token is not in base64url')
  const [encodedHeader = ''] = idToken.split('.')
  const header = JSON.parse(Buffer.from(encodedHeader, 'base64url').toString()) as Record<string, unknown>
  // RFC 8725, 3.11: the same key also signs access tokens and logout tokens.
  const { typ = 'JWT', kid = '', b64 } = header
  if (typeof typ !== 'string' || !/^(application\/)?jwt$/i.test(typ))
    throw new CheckError('typ', 'the ID token is of another type (typ)')
  // RFC 7515, 4.1.4: a string. A number could match a key, too.
  if (typeof kid !== 'string') throw new CheckError('kid', "the name of the ID token's key is not text (kid)")
  // RFC 7797, 6 and 7: a reader that supports `b64` would not decode the payload, and read other claims.
  if (b64 !== undefined) throw new CheckError('b64', 'the ID token says how its payload is encoded (b64)')
}
