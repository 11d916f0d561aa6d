import { randomBytes } from 'node:crypto'
import { type ClientAuth, randomPKCECodeVerifier } from 'openid-client'
import type { ProviderMetadata } from '../../oidc/discovery.ts'
import type { HttpClient } from '../../oidc/http-client.ts'
import { credentialsOf, isSpelledTheSame, withSecret } from '../../oidc/provider-client.ts'
import {
  type Check,
  type ClientAuthentication,
  type SecretEncoding,
  secretEncodings,
} from '../../providers/provider.ts'
import { describeError } from '../../shared/errors.ts'
import { failed, ok, type TestInput, warning } from './candidate.ts'

/** What an answer to a made-up code tells of the client. */
export interface TokenEndpointResult {
  /**
   * `known`: only the code was wrong; `unknown client`: the id or what proves it; `reckless`: there are tokens; `silent`: no
   * answer at all; `unclear`: something else
   */
  said: 'known' | 'unknown client' | 'reckless' | 'silent' | 'unclear'
  /** fit for everybody's eyes: a provider may quote our secret in its answer, and this is kept and shown */
  quoted: string
}

// RFC 6749, 5.2. Nothing else is repeated.
const errors = [
  'invalid_client',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'unauthorized_client',
  'unsupported_grant_type',
]

export async function classify(ask: () => Promise<Response>): Promise<TokenEndpointResult> {
  let response: Response
  try {
    response = await ask()
  } catch (error) {
    return { said: 'silent', quoted: describeError(error) }
  }
  const body: unknown = await response.json().catch(() => undefined)
  const { error, access_token, id_token, error_description } = (body ?? {}) as Record<string, unknown>
  const described = typeof error_description === 'string' ? error_description : ''
  const [microsoft] = /\bAADSTS\d{4,7}\b/.exec(described) ?? []
  const named = errors.find((known) => known === error)
  const quoted = [`status ${response.status}`, named, microsoft].filter(Boolean).join(', ')
  if (access_token !== undefined || id_token !== undefined) return { said: 'reckless', quoted }
  if (named === 'invalid_grant') return { said: 'known', quoted }
  // Keycloak says `unauthorized_client` of a wrong secret, with 401.
  const refused = named === 'invalid_client' || named === 'unauthorized_client' || response.status === 401
  return { said: refused ? 'unknown client' : 'unclear', quoted }
}

export interface CheckedCredentials {
  check: Check
  /** the spelling that the provider takes, and the secret that it knows, where that was found out */
  secretEncoding?: SecretEncoding | undefined
  secretInUse?: 'first' | 'second' | undefined
}

const name = 'credentials'

/**
 * Asks for tokens with a made-up code. Who we are is looked at before the code is (RFC 6749, 3.2.1), so what the provider says of
 * the code tells that it knows us. One request for each secret and spelling that there is, and none after one that fails.
 */
export async function checkCredentials(
  metadata: ProviderMetadata,
  method: ClientAuthentication,
  candidate: TestInput,
  outbound: HttpClient,
): Promise<CheckedCredentials> {
  const ask = (authenticate: ClientAuth) => askWith(authenticate, metadata, candidate, outbound)
  if (method === 'client_secret_basic' || method === 'client_secret_post')
    return await checkSecrets(method, candidate, ask)
  if (method === 'private_key_jwt' && !candidate.signingKey) return { check: notTriedYet }
  const [proof] = credentialsOf(
    { ...candidate, clientAuthentication: method, secretEncoding: 'form' },
    { signingKey: candidate.signingKey },
  )
  const answer = proof ? await ask(proof.authenticate) : undefined
  return { check: verdict(answer, method === 'none' ? ofPublic : ofKey) }
}

/** How the provider would know us, what else is wrong, and what to do then. */
interface Words {
  actor: string
  wrong: string
  remedy: string
}

const ofPublic: Words = {
  actor: 'by its client ID alone',
  wrong: 'the client ID is wrong, or the client is not a public one',
  remedy:
    'check the client ID. Register a public client (PKCE, no secret) at the provider, or enter the client secret',
}

const ofKey: Words = {
  actor: 'by its key',
  wrong: 'the client ID is wrong, or the provider has not fetched the public keys',
  remedy: 'check the client ID. Enter the JWKS URI at the provider, or have it fetch the keys again',
}

const ofSecret: Words = {
  actor: 'by its secret',
  wrong: 'the client secret or the client ID is wrong',
  remedy:
    'copy the value of the client secret (not its ID) from the provider again, and check whether it has expired',
}

const ofTwoSecrets: Words = { ...ofSecret, wrong: 'both client secrets or the client ID are wrong' }

const notTriedYet = warning(
  name,
  'not tested yet, because the provider must fetch the public keys first',
  'save, enter the JWKS URI at the provider, then test again',
)

interface Tried {
  secret: 'first' | 'second'
  answer: TokenEndpointResult
  encoding: SecretEncoding
}

async function checkSecrets(
  method: 'client_secret_basic' | 'client_secret_post',
  candidate: TestInput,
  ask: (authenticate: ClientAuth) => Promise<TokenEndpointResult>,
): Promise<CheckedCredentials> {
  let encoding = candidate.secretEncoding ?? 'form'
  let withDefaults = method === 'client_secret_post'
  const tried: Tried[] = []
  const secrets = { first: candidate.clientSecret, second: candidate.secondClientSecret }
  for (const secret of ['first', 'second'] as const) {
    const text = secrets[secret]
    if (text === undefined) continue
    const same = isSpelledTheSame(candidate.clientId, text)
    const others = withDefaults || same ? [] : secretEncodings.filter((each) => each !== encoding)
    for (const each of [encoding, ...others]) {
      const last = { secret, encoding: each, answer: await ask(withSecret(method, text, each)) }
      tried.push(last)
      if (last.answer.said !== 'unknown client') break
    }
    const found = tried.at(-1)
    if (found?.answer.said === 'known') {
      encoding = found.encoding
      withDefaults ||= !same
    }
    if (found?.answer.said === 'silent') break
  }
  const known = tried.filter(({ answer }) => answer.said === 'known')
  return {
    check: ofSecrets(tried, known, secrets.first !== undefined && secrets.second !== undefined),
    ...(known[0] && { secretEncoding: known[0].encoding, secretInUse: known[0].secret }),
  }
}

function ofSecrets(tried: Tried[], known: Tried[], two: boolean): Check {
  const [one, other] = known
  const spelling = one?.encoding === 'raw' ? ', which it reads as it is (not form-encoded)' : ''
  if (!one) {
    const telling = tried.find(({ answer }) => answer.said !== 'unknown client') ?? tried[0]
    return verdict(telling?.answer, two ? ofTwoSecrets : ofSecret)
  }
  if (!two) return ok(name, `the provider knows the client by its secret${spelling}`)
  if (other) return ok(name, `the provider knows the client by both of its secrets${spelling}`)
  const wrong = one.secret === 'first' ? 'second' : 'first'
  const quoted = tried.findLast(({ secret }) => secret === wrong)?.answer.quoted ?? 'not tried'
  return warning(
    name,
    `the provider knows the client by its ${one.secret} secret${spelling}, and does not take the ${wrong} one (${quoted})`,
    `sign-ins work; give the ${wrong} secret anew, or take it away`,
  )
}

function verdict(answer: TokenEndpointResult | undefined, { actor, wrong, remedy }: Words): Check {
  const quoted = answer?.quoted ? ` (${answer.quoted})` : ''
  switch (answer?.said) {
    case 'known':
      return ok(name, `the provider knows the client ${actor}`)
    case 'unknown client':
      return failed(name, `the provider rejects the client, because ${wrong}${quoted}`, remedy)
    case 'reckless':
      return failed(
        name,
        'the provider issues tokens for a code that it never issued',
        'do not use this provider. Anyone could sign in with it',
      )
    case 'silent':
      return failed(
        name,
        `the token endpoint cannot be reached${quoted}`,
        'check that this server can reach it. Check the name, the firewall, the proxy and the certificate',
      )
    default:
      return warning(
        name,
        `the test could not find out whether the provider knows the client${quoted}`,
        'test a sign-in before you enable it',
      )
  }
}

async function askWith(
  authenticate: ClientAuth,
  metadata: ProviderMetadata,
  { clientId, redirectUri }: TestInput,
  outbound: HttpClient,
): Promise<TokenEndpointResult> {
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    code: randomBytes(32).toString('base64url'),
    code_verifier: randomPKCECodeVerifier(),
    ...(redirectUri !== undefined && { redirect_uri: redirectUri }),
  })
  const headers = new Headers({
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
  })
  await authenticate({ issuer: metadata.issuer }, { client_id: clientId }, body, headers)
  return await classify(() =>
    outbound.fetch(metadata.token_endpoint, {
      method: 'POST',
      headers: Object.fromEntries(headers),
      body,
      redirect: 'manual',
    }),
  )
}
