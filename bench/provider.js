/** A fast OpenID provider without a login page: the parameter `person` of the authorization request signs in. */
import { createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { createServer } from 'node:http'

const issuer = `http://127.0.0.1:${process.env.PORT}`
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const jwk = {
  ...createPublicKey(privateKey).export({ format: 'jwk' }),
  kid: 'bench',
  alg: 'RS256',
  use: 'sig',
}
const codes = new Map()
let calls = 0

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const claimsOf = (person) => ({
  sub: `person-${person}`,
  name: `Person ${person}`,
  email: `person-${person}@example.com`,
  email_verified: true,
})

function idToken({ person, nonce, audience }) {
  const now = Math.floor(Date.now() / 1000)
  const times = { iat: now, auth_time: now, exp: now + 3600 }
  const claims = { iss: issuer, aud: audience, ...times, ...(nonce && { nonce }), ...claimsOf(person) }
  const signed = `${base64url({ alg: 'RS256', kid: 'bench', typ: 'JWT' })}.${base64url(claims)}`
  return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), privateKey).toString('base64url')}`
}

const documents = {
  '/.well-known/openid-configuration': () => ({
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    userinfo_endpoint: `${issuer}/userinfo`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    code_challenge_methods_supported: ['S256'],
    scopes_supported: ['openid', 'email', 'profile'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    authorization_response_iss_parameter_supported: true,
  }),
  '/jwks': () => ({ keys: [jwk] }),
  '/userinfo': ({ headers }) => claimsOf(headers.authorization?.split('-').at(-1)),
  '/token': (_req, body) => {
    const code = new URLSearchParams(body).get('code')
    const request = codes.get(code)
    codes.delete(code)
    if (!request) return { error: 'invalid_grant' }
    const accessToken = `access-${request.person}`
    return { access_token: accessToken, token_type: 'Bearer', expires_in: 3600, id_token: idToken(request) }
  },
}

function authorize(res, query) {
  const code = randomUUID()
  const request = { person: query.get('person'), nonce: query.get('nonce'), audience: query.get('client_id') }
  codes.set(code, request)
  const target = new URL(query.get('redirect_uri'))
  for (const [name, value] of Object.entries({ code, state: query.get('state'), iss: issuer }))
    if (value) target.searchParams.set(name, value)
  res.writeHead(302, { location: target.href }).end()
}

const server = createServer((req, res) => {
  const { pathname, searchParams } = new URL(req.url, issuer)
  if (pathname === '/authorize') return authorize(res, searchParams)
  const document = documents[pathname]
  if (!document) return res.writeHead(404).end()
  calls++
  let body = ''
  req.on('data', (chunk) => {
    body += chunk
  })
  req.on('end', () => {
    const response = document(req, body)
    res.writeHead(response.error ? 400 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(response))
  })
})
// Longer than any pause between two slices, so that no server reconnects more often than another.
server.keepAliveTimeout = 60_000
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.send('ready'))
process.on('message', () => process.send({ calls }))
process.on('disconnect', () => process.exit())
