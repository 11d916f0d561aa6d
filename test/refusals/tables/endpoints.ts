import type { Faults } from '../../support/faulty-provider.ts'
import type { Group, Row } from '../../support/refusals.ts'

// The portal fetches from servers that may be broken or taken over. A bad response ends one sign-in, never the process,
// and never redirects the portal to another server.

type Endpoint = 'discovery' | 'token' | 'jwks' | 'userinfo'

/** The ID token has no address, so the portal requests UserInfo. */
const inUserInfo: Faults = { claimsInUserinfoOnly: true }

const html = { headers: { 'Content-Type': 'text/html' }, body: '<!doctype html><title>Log in</title>' }
const any = /./
const large = /larger than/

/** The portal has no address then, and sends no codes. */
const noAddress = 403

/** Invalid responses of any of the four endpoints. The status is 502 if the provider itself failed. */
function everywhere(at: Endpoint, clause: string): Row[] {
  const on = at === 'userinfo' ? inUserInfo : {}
  const response = (raw: Faults['tokenResponse']) => ({ ...on, [`${at}Response`]: raw })
  const body = (text: string) => response({ body: text })
  const redirect = (status: number, location: string) => response({ status, headers: { Location: location } })
  const delivery = (fault: string) => ({ ...on, [`${at}${fault}`]: true })
  // The provider refuses the portal (401) or is overloaded (429): neither is the user's fault. A token endpoint that is gone may have
  // moved, and then the next sign-in works.
  const failedStatuses = [
    429,
    500,
    503,
    ...(at === 'jwks' ? [] : [401]),
    ...(at === 'token' ? [404, 410] : []),
  ]
  const refusedStatuses = [201, 204, 304, 401, 403, 404, 410].filter((each) => !failedStatuses.includes(each))
  const rows: Row[] = [
    ['an empty response', clause, body(''), any],
    ['HTML', clause, response(html), any],
    ['HTML with the type application/json', clause, body(html.body), any],
    ['text that is not JSON', clause, body('access_token=x&token_type=bearer'), any],
    ['truncated JSON', clause, body('{"issuer":"'), any],
    ['an array', clause, body('[]'), any],
    ['null', clause, body('null'), any],
    ['a string', clause, body('"x"'), any],
    ['a number', clause, body('1e999'), any],
    ['an empty object', clause, body('{}'), any],
    ['a million brackets', clause, body('['.repeat(1_000_000)), any],
    ['bytes that are not UTF-8', clause, response({ body: Buffer.from([0xff, 0xfe, 0, 0xd8]) }), any],
    ['invalid gzip', clause, response({ headers: { 'Content-Encoding': 'gzip' } }), any, 502],
    ['a redirect to an attacker (302)', clause, (s) => redirect(302, `${s.attacker.url}/keys`), any],
    ['a redirect to an attacker (307)', clause, (s) => redirect(307, `${s.attacker.url}/keys`), any],
    ['a redirect to a file: URL', clause, redirect(302, 'file:///etc/passwd'), any],
    ['a redirect to a data: URL', clause, redirect(302, 'data:application/json,{}'), any],
    ...refusedStatuses.map((status): Row => [`status ${status}`, clause, response({ status }), any]),
    ...failedStatuses.map((status): Row => [`status ${status}`, clause, response({ status }), any, 502]),
    ['11 MB', 'ours', delivery('Huge'), large],
    ['11 MB, compressed', 'ours', delivery('Bomb'), large],
    ['an endless body', 'ours', delivery('Endless'), large],
    ['a dropped connection', 'ours', delivery('Drop'), any, 502],
    ['a connection that drops in the middle of the body', 'ours', delivery('Midway'), any, 502],
    ['100 KB of headers', 'ours', delivery('Headers'), any, 502],
  ]
  if (at !== 'userinfo') return rows
  return rows.map(([fault, rule, faults, cause]) =>
    // An object without a subject is a response of somebody else (Core 5.3.2).
    [fault, rule, faults, cause, fault === 'an empty object' ? 400 : noAddress],
  )
}

const tokenAnswer = (answer: object): Faults => ({
  tokenAnswer: answer as NonNullable<Faults['tokenAnswer']>,
})
const tokenError = (status: number, body: object): Faults => ({ tokenError: { status, body } })

const token: Row[] = [
  ['a redirect to itself', 'RFC 6749 5.1', redirectHome('token'), any],
  ['no access token', 'RFC 6749 5.1', tokenAnswer({ access_token: undefined }), /access_token/],
  ['an empty access token', 'RFC 6749 5.1', tokenAnswer({ access_token: '' }), /access_token/],
  ['an access token that is a number', 'RFC 6749 5.1', tokenAnswer({ access_token: 1 }), /access_token/],
  ['no token type', 'RFC 6749 5.1', tokenAnswer({ token_type: undefined }), /token_type/],
  ['an unknown token type', 'RFC 6749 7.1', tokenAnswer({ token_type: 'mac' }), /token_type/],
  ['a token type that is an array', 'RFC 6749 5.1', tokenAnswer({ token_type: ['Bearer'] }), /token_type/],
  ['a wrong code', 'RFC 6749 5.2', { callbackParams: { code: 'guessed' } }, /invalid_grant/],
  [
    'an error that the portal caused',
    'RFC 6749 5.2',
    tokenError(401, { error: 'invalid_client', error_description: '<b>no</b>' }),
    /invalid_client: <b>no<\/b>/,
    502,
  ],
  ['an error that is a number', 'RFC 6749 5.2', tokenError(400, { error: 42 }), any],
  [
    'an error with a description that is an object',
    'RFC 6749 5.2',
    tokenError(400, { error: 'x', error_description: { toString: 1 } }),
    /refused/,
  ],
  ['an error of 500 KB', 'RFC 6749 5.2', tokenError(400, { error: 'x'.repeat(500_000) }), /^.{1,500}$/],
  [
    'an error that quotes the code and the verifier',
    'ours',
    { tokenQuotes: true },
    /^(?=.*&code=…)(?=.*&code_verifier=…)(?!.*code\w*=[\w-]{8})/,
  ],
  ['an authentication challenge', 'RFC 9110 11.6', tokenError(401, {}), any, 502],
]

const userInfo: Row[] = [
  [
    'a redirect to itself',
    'Core 5.3.3',
    redirectHome('userinfo'),
    /does not vouch.*UserInfo responded with status 307/,
    noAddress,
  ],
  ['no subject (oidcc-client-test-userinfo-invalid-sub)', 'Core 5.3.2', says({ sub: undefined }), /sub/],
  ['another subject', 'Core 5.3.2', says({ sub: 'victim' }), /sub/],
  ['a subject with a trailing space', 'Core 5.3.2', says({ sub: 'ada ' }), /sub/],
  ['a subject that is an array', 'Core 5.3.2', says({ sub: ['ada'] }), /sub/],
  ['a subject that is null', 'Core 5.3.2', says({ sub: null }), /sub/],
  ['no address', 'ours', says({ email: undefined }), /does not vouch/, noAddress],
  [
    'an address that is an array',
    'Core 5.1',
    says({ email: ['ada@example.com'] }),
    /does not vouch/,
    noAddress,
  ],
  ['an address of 500 KB', 'ours', says({ email: `${'a'.repeat(500_000)}@example.com` }), any, noAddress],
  ['an unverified address', 'Core 5.1', says({ email_verified: false }), /does not vouch/, noAddress],
  [
    'an access token with a line break, which no header can contain',
    'RFC 6750 2.1',
    { ...inUserInfo, ...tokenAnswer({ access_token: 'secret\ntoken' }) },
    /^(?!.*secret).*access token/s,
    noAddress,
  ],
  ['JSON with the type application/jwt', 'Core 5.3.2', asJwt(async () => '{"sub":"ada"}'), any],
  ['a JWT without a signature', 'Core 5.3.2', asJwt((s, c) => s.provider.sign(c, { alg: 'none' })), any],
  ['a signed JWT', 'ours', asJwt((s, c) => s.provider.sign(c)), any],
  [
    'a JWT signed with a foreign key',
    'Core 5.3.2',
    asJwt((s, c) => s.provider.sign(c, { signature: 'foreign-key' }), { announced: ['RS256'] }),
    /signature/,
  ],
  [
    'a JWT without a signature, as the provider announces',
    'Core 5.3.2',
    asJwt((s, c) => s.provider.sign(c, { alg: 'none' }), { announced: ['none'] }),
    any,
  ],
]

function says(userinfoClaims: Record<string, unknown>): Faults {
  return { ...inUserInfo, userinfoClaims }
}

type SceneOf = Parameters<Extract<Row[2], (...given: never[]) => unknown>>[0]

function asJwt(
  token: (scene: SceneOf, claims: Record<string, unknown>) => Promise<string>,
  { announced }: { announced?: string[] } = {},
): Row[2] {
  return async (scene) => {
    const { issuer: iss, clientId: aud, person } = scene.provider
    const body = await token(scene, { iss, aud, ...person })
    return {
      ...inUserInfo,
      ...(announced && { discovery: { userinfo_signing_alg_values_supported: announced } }),
      userinfoResponse: { headers: { 'Content-Type': 'application/jwt' }, body },
    }
  }
}

function redirectHome(at: Endpoint): Row[2] {
  return ({ provider }) => ({
    ...(at === 'userinfo' ? inUserInfo : {}),
    [`${at}Response`]: { status: 307, headers: { Location: `${provider.issuer}/${at}` } },
  })
}

const discovered = (discovery: Faults['discovery'] & object): Faults => ({ discovery })

const discovery: Row[] = [
  [
    'another issuer',
    'Discovery 4.3, oidcc-client-test-discovery-issuer-mismatch',
    discovered({ issuer: 'https://evil.example' }),
    /issuer/,
  ],
  ['no issuer', 'Discovery 3', discovered({ issuer: undefined }), /issuer/],
  ['the issuer as an array', 'Discovery 3', (s) => discovered({ issuer: [s.provider.issuer] }), /issuer/],
  [
    'the issuer with an extra slash',
    'Discovery 4.3',
    (s) => discovered({ issuer: `${s.provider.issuer}/` }),
    /issuer/,
  ],
  [
    'no authorization endpoint',
    'Discovery 3',
    discovered({ authorization_endpoint: undefined }),
    /authorization/,
  ],
  ['no token endpoint', 'Discovery 3', discovered({ token_endpoint: undefined }), /token_endpoint/],
  ['no key set', 'Discovery 3', discovered({ jwks_uri: undefined }), /jwks_uri/],
  ['a token endpoint that is an object', 'Discovery 3', discovered({ token_endpoint: {} }), /token_endpoint/],
  [
    'a token endpoint without TLS',
    'Discovery 3',
    discovered({ token_endpoint: 'http://evil.example/' }),
    /https/,
  ],
  ['a file: URL as key set', 'Discovery 3', discovered({ jwks_uri: 'file:///etc/passwd' }), /https/],
  ['a data: URL as key set', 'Discovery 3', discovered({ jwks_uri: 'data:application/json,{}' }), /https/],
  [
    'a javascript: URL as authorization endpoint',
    'Discovery 3',
    discovered({ authorization_endpoint: 'javascript:alert(1)' }),
    /https/,
  ],
  ['an invalid URL', 'Discovery 3', discovered({ jwks_uri: 'https://' }), /https/],
]

export const endpoints: Group[] = [
  { name: 'token endpoint', rows: [...everywhere('token', 'RFC 6749 5.1'), ...token] },
  { name: 'UserInfo', rediscovers: true, rows: [...everywhere('userinfo', 'Core 5.3.2'), ...userInfo] },
  { name: 'response of the JWKS endpoint', rediscovers: true, rows: everywhere('jwks', 'RFC 7517 5') },
  {
    name: 'discovery document',
    rediscovers: true,
    status: 502,
    rows: [...everywhere('discovery', 'Discovery 4.2'), ...discovery],
  },
]
