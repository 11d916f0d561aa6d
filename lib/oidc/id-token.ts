/**
 * What openid-client leaves to its caller of an ID token's form. Signature and claims have been judged before.
 *
 * @throws Error when it could be read in two ways, or as something else than an ID token
 */
export function assertIdTokenForm(idToken: string): void {
  // RFC 7515, 2: no padding, white space or other alphabet. The signature's own spelling is not signed, so that one token
  // would have many.
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(idToken)) throw new Error('the ID token is not in base64url')
  const [encodedHeader = ''] = idToken.split('.')
  const header = JSON.parse(Buffer.from(encodedHeader, 'base64url').toString()) as Record<string, unknown>
  // RFC 8725, 3.11: what the same key signed for another purpose (an access token, a logout token) is no ID token.
  const { typ = 'JWT', kid = '', b64 } = header
  if (typeof typ !== 'string' || !/^(application\/)?jwt$/i.test(typ))
    throw new Error('the ID token is of another type (typ)')
  // RFC 7515, 4.1.4. A number could be found in a key set, too.
  if (typeof kid !== 'string') throw new Error("the name of the ID token's key is not text (kid)")
  // RFC 7797, 6 and 7: who understands it would take the payload as it stands, and read other claims than we did.
  if (b64 !== undefined) throw new Error('the ID token says how its payload is encoded (b64)')
}
