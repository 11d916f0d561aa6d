import { randomBytes } from 'node:crypto'
import { type ClientAuth, randomPKCECodeVerifier } from 'openid-client'
import type { ProviderMetadata } from '../../oidc/discovery.ts'
import type { HttpClient } from '../../oidc/http-client.ts'
import { alternateEncoding, clientCredential } from '../../oidc/provider-client.ts'
import { entraCode, entraErrorOf } from '../../oidc/provider-error.ts'
import type { Check } from '../../providers/provider.ts'
import type { ClientAuthentication, SecretEncoding } from '../../providers/setting-values.ts'
import { describeError } from '../../shared/errors.ts'
import { failed, ok, type TestInput, warning } from './candidate.ts'

/** The token endpoint's response to an invented code. */
interface TokenEndpointResult {
  /** `known_client`: only the code was wrong; `unknown_client`: the client id or the credential was wrong */
  verdict: 'known_client' | 'unknown_client' | 'issues_tokens_for_fake_code' | 'no_response' | 'unclear'
  /** contains known words only: it is stored and shown, and a provider may quote our secret in its response */
  detail: string
}

// RFC 6749, 5.2. No other error is quoted.
const errorCodes = [
  'invalid_client',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'unauthorized_client',
  'unsupported_grant_type',
]

export interface CheckedCredentials {
  check: Check
  /** the encoding of the client secret that the provider accepted, if any */
  secretEncoding?: SecretEncoding | undefined
}

const name = 'credentials'

/**
 * Requests tokens with an invented code. The provider authenticates the client before it looks at the code (RFC 6749, 3.2.1), so
 * an error about the code proves that it knows the client. Tries the other encoding of the secret if the first is refused.
 */
export async function checkCredentials(
  metadata: ProviderMetadata,
  method: ClientAuthentication,
  input: TestInput,
  outbound: HttpClient,
): Promise<CheckedCredentials> {
  if (method === 'private_key_jwt' && !input.signingKey) return { check: notTestedYet }
  const client = {
    clientId: input.clientId,
    clientAuthentication: method,
    secretEncoding: input.secretEncoding ?? 'form',
  }
  const send = async (secretEncoding: SecretEncoding) => {
    const credential = clientCredential({ ...client, secretEncoding }, input)
    return { secretEncoding, ...(await requestTokens(credential, metadata, input, outbound)) }
  }
  let result = await send(client.secretEncoding)
  const other = alternateEncoding(client, input)
  if (result.verdict === 'unknown_client' && other) {
    const second = await send(other)
    if (second.verdict !== 'unknown_client') result = second
  }
  const usesSecret = method.startsWith('client_secret')
  const secretEncoding = usesSecret ? result.secretEncoding : undefined
  const check = checkFor(result, method, secretEncoding)
  return { check, ...(result.verdict === 'known_client' && usesSecret && { secretEncoding }) }
}

interface Texts {
  /** how the provider recognizes the client */
  knownBy: string
  cause: string
  hint: string
}

const secretTexts: Texts = {
  knownBy: 'by its secret',
  cause: 'the client secret or the client ID is wrong',
  hint: 'copy the value of the client secret (not its ID) from the provider again, and check whether it has expired',
}

const texts: Record<ClientAuthentication, Texts> = {
  none: {
    knownBy: 'by its id alone',
    cause: 'the client ID is wrong, or it is not a public client',
    hint: 'check the client ID; register a public client (PKCE, no secret) at the provider, or enter the client secret',
  },
  private_key_jwt: {
    knownBy: 'by its key',
    cause: 'the client ID is wrong, or the provider has not fetched the public keys',
    hint: 'check the client ID; enter the URL of the public keys at the provider, or let it fetch them again',
  },
  client_secret_basic: secretTexts,
  client_secret_post: secretTexts,
}

const notTestedYet = warning(
  name,
  'not tested yet: the provider must fetch the public keys first',
  'save, enter the URL of the public keys at the provider, then test again',
)

function checkFor(
  { verdict, detail }: TokenEndpointResult,
  method: ClientAuthentication,
  secretEncoding: SecretEncoding | undefined,
): Check {
  const { knownBy, cause, hint } = texts[method]
  switch (verdict) {
    case 'known_client': {
      const note = secretEncoding === 'raw' ? ', which it reads without form encoding' : ''
      return ok(name, `the provider knows the client ${knownBy}${note}`)
    }
    case 'unknown_client': {
      const known = entraErrorOf(detail)
      const because = known?.cause
        ? `refuses the client: ${known.cause}`
        : `does not know the client: ${cause}`
      const message = `the provider ${because} (${detail})`
      return failed(name, message, known?.hint ?? hint)
    }
    case 'issues_tokens_for_fake_code':
      return failed(
        name,
        'the provider issues tokens for an invented code',
        'do not use it: anyone could sign in with it',
      )
    case 'no_response':
      return failed(
        name,
        `the token endpoint cannot be reached (${detail})`,
        'check whether this server can reach it: host name, firewall, proxy and certificate',
      )
    case 'unclear':
      return warning(
        name,
        `the test cannot tell whether the provider knows the client (${detail})`,
        'do a test sign-in before you enable it',
      )
  }
}

async function requestTokens(
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
  const request = {
    method: 'POST',
    headers: Object.fromEntries(headers),
    body,
    redirect: 'manual',
  } as const
  try {
    return await classify(await outbound.fetch(metadata.token_endpoint, request))
  } catch (error) {
    return { verdict: 'no_response', detail: describeError(error) }
  }
}

async function classify(response: Response): Promise<TokenEndpointResult> {
  const body: unknown = await response.json().catch(() => undefined)
  const { error, access_token, id_token, error_description } = (body ?? {}) as Record<string, unknown>
  const errorCode = errorCodes.find((code) => code === error)
  const detail = [`status ${response.status}`, errorCode, entraCode(error_description)]
    .filter(Boolean)
    .join(', ')
  if (access_token !== undefined || id_token !== undefined)
    return { verdict: 'issues_tokens_for_fake_code', detail }
  if (errorCode === 'invalid_grant') return { verdict: 'known_client', detail }
  // Keycloak sends `unauthorized_client` with 401 for a wrong secret.
  const refused =
    errorCode === 'invalid_client' || errorCode === 'unauthorized_client' || response.status === 401
  return { verdict: refused ? 'unknown_client' : 'unclear', detail }
}
