import { randomBytes } from 'node:crypto'
import { type ClientAuth, randomPKCECodeVerifier } from 'openid-client'
import {
  announcedMethods,
  type ClientMethod,
  clientCredential,
  otherMethods,
  secretForms,
} from '../../oidc/client-methods.ts'
import type { ProviderMetadata } from '../../oidc/discovery.ts'
import type { HttpClient } from '../../oidc/http-client.ts'
import { entraErrorOf, quoteRedacted } from '../../oidc/provider-error.ts'
import type { Check } from '../../providers/provider.ts'
import type { ClientAuthentication } from '../../providers/setting-values.ts'
import { describeError } from '../../shared/errors.ts'
import { type AdminText, asPhrase, phrase } from '../../shared/phrase.ts'
import type { CheckedAuthorization, Problem } from './authorization.ts'
import { failed, ok, type TestInput, warning } from './candidate.ts'

/** The token endpoint's response to an invented code. */
interface TokenEndpointResult {
  /** `known_client`: only the code was wrong; `unknown_client`: the client id or the credential was wrong */
  verdict: 'known_client' | 'unknown_client' | 'issues_tokens_for_fake_code' | 'no_response' | 'unclear'
  /** redacted: it is stored and shown, and a provider may quote our secret in its response */
  detail: string
  /** absent without a response */
  status?: number
  /** true if it refuses a request without a proof of possession (RFC 9449) */
  requiresDpop?: boolean
}

// RFC 6749, 5.2, and RFC 9449, 5 and 8. No other error is quoted as it is.
const errorCodes = [
  'invalid_client',
  'invalid_dpop_proof',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'unauthorized_client',
  'unsupported_grant_type',
  'use_dpop_nonce',
]

export interface CheckedCredentials {
  check: Check
  /** how the provider accepted the client, if it did */
  method?: ClientMethod | undefined
  requiresDpop?: boolean | undefined
}

const name = 'credentials'
const maxDetails = 3

/**
 * Requests tokens with an invented code. The provider authenticates the client before it looks at the code (RFC 6749, 3.2.1), so
 * an error about the code proves that it knows the client. A refused client is tried with each other method that fits it.
 *
 * @param page the response of the authorization endpoint, which may name the cause
 */
export async function checkCredentials(
  metadata: ProviderMetadata,
  method: ClientAuthentication,
  { page, ...input }: TestInput & { page: Partial<CheckedAuthorization> },
  outbound: HttpClient,
): Promise<CheckedCredentials> {
  if (method === 'private_key_jwt' && !input.clientKeys) return { check: notTestedYet }
  const { clientId, secretEncoding = 'form', assertionAudience = 'issuer' } = input
  const first: ClientMethod = { clientAuthentication: method, secretEncoding, assertionAudience }
  const send = async (way: ClientMethod) => {
    const credential = clientCredential({ ...way, clientId }, input, metadata.token_endpoint)
    return { method: way, ...(await requestTokens(credential, metadata, input, outbound)) }
  }
  let result = await send(first)
  const details = [result.detail]
  // Some providers expect another method, but report only that the request is wrong.
  if (result.verdict === 'unknown_client' || (result.verdict === 'unclear' && result.status === 400))
    for (const way of await otherMethods({ ...first, clientId }, input, metadata)) {
      const next = await send(way)
      if (next.verdict === 'no_response') break
      if (next.verdict === 'known_client' || next.verdict === 'issues_tokens_for_fake_code') {
        result = next
        break
      }
      details.push(next.detail)
    }
  // Providers name the expected method in the error for another one.
  const detail = [...new Set(details)].slice(0, maxDetails).join('; ')
  const refusal = page.unusable ?? describeRefusal(metadata, method, page.isClientKnown, detail)
  const check = checkFor({ ...result, detail }, refusal, method)
  const { verdict, requiresDpop } = result
  return { check, requiresDpop, method: verdict === 'known_client' ? result.method : undefined }
}

function describeRefusal(
  metadata: ProviderMetadata,
  method: ClientAuthentication,
  isIdKnown = false,
  detail = '',
): Problem {
  const found = registeredFor.find(([pattern, each]) => each !== method && pattern.test(detail))
  if (found) return { cause: found[2], hint: found[3] }
  const announced = announcedMethods(metadata)
  const others = ['private_key_jwt', 'none'].filter((each) => each !== method && announced.includes(each))
  const orWrongId = (cause: string) =>
    isIdKnown ? cause : phrase('{{cause}}, or the client ID is wrong', { cause: asPhrase(cause) })
  if (method === 'none')
    return {
      cause: orWrongId(phrase('it is not a public client')),
      hint: phrase('register a public client (PKCE, no secret) at the provider, or enter the client secret'),
    }
  if (method === 'private_key_jwt')
    return {
      cause: orWrongId(
        phrase(
          'the provider has not fetched the public keys, or the client is registered for another method or algorithm',
        ),
      ),
      hint: phrase(
        'enter the URL of the public keys at the provider, or let it fetch them again; compare the method and the algorithm there',
      ),
    }
  let hint = asPhrase(
    phrase(
      'copy the value of the client secret (not its ID) from the provider again, and check whether it has expired',
    ),
  )
  if (others.length > 0)
    hint = phrase('{{hint}}; if the client is registered for {{methods}}, choose that', {
      hint,
      methods: others.join(' / '),
    })
  if (announced.some((each) => each.includes('tls_client_auth')))
    hint = phrase('{{hint}}; mutual TLS (X.509 certificates) is not supported', { hint })
  const cause = isIdKnown
    ? phrase(
        'the client secret is wrong or has expired, or the client is registered for another authentication method',
      )
    : phrase('the client secret or the client ID is wrong')
  return { cause, hint }
}

/** Words of a provider that name the method for which the client is registered. */
const registeredFor: readonly [
  pattern: RegExp,
  method: ClientAuthentication | undefined,
  cause: string,
  hint: string,
][] = [
  [
    /client_assertion|private_key_jwt/,
    'private_key_jwt',
    phrase('the client is registered for private_key_jwt'),
    phrase(
      'choose private_key_jwt here, then enter the URL of the public keys at the provider; or choose a client secret there',
    ),
  ],
  [
    /certificate|x\.?509|tls_client_auth|mutual/i,
    undefined,
    phrase('the client is registered for a client certificate (mutual TLS)'),
    phrase('choose another method at the provider: mutual TLS is not supported'),
  ],
]

const knownBy: Record<ClientAuthentication, string> = {
  none: phrase('the provider knows the client by its ID alone'),
  private_key_jwt: phrase('the provider knows the client by its key'),
  client_secret_basic: phrase('the provider knows the client by its secret'),
  client_secret_post: phrase('the provider knows the client by its secret'),
  client_secret_jwt: phrase(
    'the provider knows the client by its secret, with which it signs (client_secret_jwt)',
  ),
}

const notTestedYet = warning(
  name,
  phrase('not tested yet: the provider must fetch the public keys first'),
  phrase('save, enter the URL of the public keys at the provider, then test again'),
)

function checkFor(
  { verdict, detail, method }: TokenEndpointResult & { method: ClientMethod },
  { cause, hint }: Problem,
  tried: ClientAuthentication,
): Check {
  switch (verdict) {
    case 'known_client':
      if (method.clientAuthentication === 'none' && tried !== 'none')
        return warning(
          name,
          phrase(
            'the provider knows the client by its ID alone: it is a public client, and the secret is not used',
          ),
          phrase('register a confidential client at the provider, or leave the secret empty here'),
        )
      return ok(name, describeKnown(method))
    case 'unknown_client': {
      const known = entraErrorOf(detail)
      const message = phrase('the provider does not accept the client: {{cause}} ({{detail}})', {
        cause: asPhrase(known?.cause ?? cause),
        detail,
      })
      return failed(name, message, known?.hint ?? hint)
    }
    case 'issues_tokens_for_fake_code':
      return failed(
        name,
        phrase('the provider issues tokens for an invented code'),
        phrase('do not use it: anyone could sign in with it'),
      )
    case 'no_response':
      return failed(
        name,
        phrase('the token endpoint cannot be reached ({{detail}})', { detail }),
        phrase('check whether this server can reach it: host name, firewall, proxy and certificate'),
      )
    case 'unclear':
      return warning(
        name,
        phrase('the test cannot tell whether the provider knows the client ({{detail}})', { detail }),
        phrase('do a test sign-in before you enable it'),
      )
  }
}

function describeKnown({ clientAuthentication, secretEncoding, assertionAudience }: ClientMethod): AdminText {
  const finding = asPhrase(knownBy[clientAuthentication])
  if (clientAuthentication === 'client_secret_basic' && secretEncoding === 'raw')
    return phrase('{{finding}}, which it reads without form encoding', { finding })
  return clientAuthentication.endsWith('_jwt') && assertionAudience === 'token_endpoint'
    ? phrase('{{finding}}, with its token endpoint as the audience', { finding })
    : finding
}

async function requestTokens(
  authenticate: ClientAuth,
  metadata: ProviderMetadata,
  { clientId, redirectUri, ...credentials }: TestInput,
  outbound: HttpClient,
): Promise<TokenEndpointResult> {
  const [code, verifier] = [randomBytes(32).toString('base64url'), randomPKCECodeVerifier()]
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    code,
    code_verifier: verifier,
    ...(redirectUri !== undefined && { redirect_uri: redirectUri }),
  })
  const given = new Headers({
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
  })
  await authenticate({ issuer: metadata.issuer }, { client_id: clientId }, body, given)
  const headers = Object.fromEntries(given)
  try {
    const request = { method: 'POST', headers, body, redirect: 'manual' } as const
    const response = await outbound.fetch(metadata.token_endpoint, request)
    return await classify(response, [...secretForms(clientId, credentials), code, verifier])
  } catch (error) {
    return { verdict: 'no_response', detail: describeError(error) }
  }
}

async function classify(response: Response, secrets: readonly string[]): Promise<TokenEndpointResult> {
  const { status } = response
  const body = ((await response.json().catch(() => undefined)) ?? {}) as Record<string, unknown>
  const { error, access_token, id_token, error_description: description } = body
  const errorCode = errorCodes.find((code) => code === error)
  const quoted = typeof description === 'string' ? quoteRedacted(description, secrets) : undefined
  const detail = [`status ${status}`, errorCode, quoted].filter(Boolean).join(', ')
  if (access_token !== undefined || id_token !== undefined)
    return { verdict: 'issues_tokens_for_fake_code', detail, status }
  // Glewlwyd has an error of its own for a wrong code, with status 403.
  if (errorCode === 'invalid_grant' || error === 'invalid_code')
    return { verdict: 'known_client', detail, status }
  const isDpopError = errorCode === 'invalid_dpop_proof' || errorCode === 'use_dpop_nonce'
  if (isDpopError || (errorCode === 'invalid_request' && /dpop/i.test(quoted ?? '')))
    return { verdict: 'known_client', detail, status, requiresDpop: true }
  // Keycloak sends `unauthorized_client` with 401 for a wrong secret, other providers 403. A firewall sends 403 without an error.
  const isRefusal = status === 401 || (status === 403 && typeof error === 'string')
  const isNamed = errorCode === 'invalid_client' || errorCode === 'unauthorized_client'
  return { verdict: isNamed || isRefusal ? 'unknown_client' : 'unclear', detail, status }
}
