import { createLocalJWKSet, errors, type JSONWebKeySet } from 'jose'
import { explain } from '../errors.ts'
import { discover, type ProviderMetadata } from './discover.ts'
import type { Outbound } from './outbound-http.ts'
import {
  type Check,
  type ClientAuthentication,
  type ProviderSettings,
  type SigningAlgorithm,
  signingAlgorithms,
} from './provider.ts'

/** What can be seen of a provider from outside, before anybody signs in. */
export interface ProviderTest {
  /** no check failed */
  ok: boolean
  checks: Check[]
  /** as the provider's own document spells it; `undefined` when it could not be read */
  issuer?: string
  clientAuthentication?: ClientAuthentication
  signingAlgorithm?: SigningAlgorithm
}

export type Candidate = Pick<
  ProviderSettings,
  'issuer' | 'clientId' | 'clientSecret' | 'clientAuthentication' | 'signingAlgorithm'
> & { preset: string }

export async function testProvider(candidate: Candidate, outbound: Outbound): Promise<ProviderTest> {
  const reached = await reach(candidate, outbound)
  if (reached.failed) return { ok: false, checks: [reached.failed] }
  const { metadata } = reached
  const clientAuthentication = candidate.clientAuthentication ?? chooseAuthentication(metadata, candidate)
  const signingAlgorithm = candidate.signingAlgorithm ?? chooseAlgorithm(metadata)
  const checks: Check[] = [
    { name: 'reached', result: 'ok', finding: `the discovery document of ${metadata.issuer} was read` },
    checkIssuer(metadata, candidate),
    checkFlow(metadata),
    checkSigning(metadata, signingAlgorithm),
    await checkKeys(metadata, signingAlgorithm, outbound),
    checkAuthentication(metadata, clientAuthentication, candidate),
    checkPkce(metadata),
    ...checkLogout(metadata),
  ]
  const ok = checks.every(({ result }) => result !== 'failed')
  return { ok, checks, issuer: metadata.issuer, clientAuthentication, signingAlgorithm }
}

type Reached = { metadata: ProviderMetadata; failed?: never } | { failed: Check }

async function reach({ issuer, preset }: Candidate, outbound: Outbound): Promise<Reached> {
  const failures: unknown[] = []
  // Administrators lose or add the last slash; the provider's own spelling is the one that is kept.
  for (const spelling of [issuer, issuer.endsWith('/') ? issuer.slice(0, -1) : `${issuer}/`]) {
    try {
      return { metadata: await discover({ issuer: spelling, preset }, outbound) }
    } catch (error) {
      failures.push(error)
    }
  }
  return {
    failed: {
      name: 'reached',
      result: 'failed',
      finding: `no usable discovery document at ${issuer}: ${explain(failures[0])}`,
      remedy: `open ${withoutSlash(issuer)}/.well-known/openid-configuration and compare its "issuer" with what you entered`,
    },
  }
}

function checkIssuer(metadata: ProviderMetadata, candidate: Candidate): Check {
  const same = withoutSlash(metadata.issuer) === withoutSlash(candidate.issuer)
  if (same) return { name: 'issuer', result: 'ok', finding: `the issuer is ${metadata.issuer}` }
  return {
    name: 'issuer',
    result: 'failed',
    finding: `the discovery document names another issuer: ${JSON.stringify(metadata.issuer)}`,
    remedy: 'enter the issuer exactly as the provider spells it',
  }
}

function checkFlow(metadata: ProviderMetadata): Check {
  const types = metadata.response_types_supported
  if (!Array.isArray(types) || types.includes('code'))
    return { name: 'flow', result: 'ok', finding: 'the authorization code flow is supported' }
  return {
    name: 'flow',
    result: 'failed',
    finding: `the provider does not announce the response type "code", only ${types.join(', ')}`,
    remedy: 'switch the authorization code flow on at the provider',
  }
}

function checkSigning(metadata: ProviderMetadata, algorithm: SigningAlgorithm): Check {
  const announced = metadata.id_token_signing_alg_values_supported
  if (!Array.isArray(announced) || announced.includes(algorithm))
    return { name: 'signing', result: 'ok', finding: `ID tokens are to be signed with ${algorithm}` }
  return {
    name: 'signing',
    result: 'failed',
    finding: `the provider does not announce ${algorithm} for ID tokens, only ${announced.join(', ')}`,
    remedy: `have ID tokens signed with an asymmetric algorithm (${signingAlgorithms.slice(0, 4).join(', ')}); HS256 and none are refused`,
  }
}

async function checkKeys(
  metadata: ProviderMetadata,
  algorithm: SigningAlgorithm,
  outbound: Outbound,
): Promise<Check> {
  try {
    const response = await outbound.fetch(metadata.jwks_uri, {
      method: 'GET',
      headers: { accept: 'application/json' },
      body: undefined,
      redirect: 'manual',
    })
    if (response.status !== 200) throw new Error(`the key set answered with status ${response.status}`)
    await findKey((await response.json()) as JSONWebKeySet, algorithm)
    return { name: 'keys', result: 'ok', finding: `the key set holds a usable key for ${algorithm}` }
  } catch (error) {
    return {
      name: 'keys',
      result: 'failed',
      finding: `the keys cannot be used: ${explain(error)}`,
      remedy: `open ${metadata.jwks_uri} from this server; it must answer with a JSON key set`,
    }
  }
}

function checkAuthentication(
  metadata: ProviderMetadata,
  method: ClientAuthentication,
  { clientSecret }: Candidate,
): Check {
  if (method !== 'none' && clientSecret === undefined)
    return {
      name: 'authentication',
      result: 'failed',
      finding: `${method} needs a client secret`,
      remedy: 'give the client secret, or choose `none` for a public client',
    }
  const announced = announcedMethods(metadata)
  if (
    announced.includes(method) ||
    (method === 'none' && metadata.token_endpoint_auth_methods_supported === undefined)
  )
    return { name: 'authentication', result: 'ok', finding: `the client authenticates with ${method}` }
  return {
    name: 'authentication',
    result: 'failed',
    finding: `the provider does not announce ${method}, only ${announced.join(', ')}`,
    remedy: 'choose a method that the provider announces',
  }
}

function checkPkce(metadata: ProviderMetadata): Check {
  if (metadata.code_challenge_methods_supported?.includes('S256'))
    return { name: 'pkce', result: 'ok', finding: 'PKCE with S256 is supported' }
  return {
    name: 'pkce',
    result: 'warning',
    finding: 'the provider does not announce PKCE with S256; it is sent all the same',
    remedy: 'nothing, if a sign-in works: many providers support it without saying so',
  }
}

/** Never a fault: signing out here works without either. */
function checkLogout(metadata: ProviderMetadata): Check[] {
  const findings = [
    metadata.end_session_endpoint === undefined
      ? 'signing out ends the portal session only: the provider announces no usable end_session_endpoint'
      : 'signing out leads on to the provider, which ends its own session too',
    metadata.backchannel_logout_supported === true
      ? 'the provider can say when its own session ends (back-channel logout)'
      : 'the provider does not announce back-channel logout',
  ]
  return findings.map((finding) => ({ name: 'logout', result: 'ok', finding }))
}

function chooseAuthentication(metadata: ProviderMetadata, { clientSecret }: Candidate): ClientAuthentication {
  const announced = announcedMethods(metadata)
  // Without a secret it is a public client only where the provider says that it has such: else the secret was forgotten.
  if (clientSecret === undefined && announced.includes('none')) return 'none'
  return !announced.includes('client_secret_basic') && announced.includes('client_secret_post')
    ? 'client_secret_post'
    : 'client_secret_basic'
}

// OpenID Connect Discovery 1.0, 3: what the absence of the member means.
function announcedMethods(metadata: ProviderMetadata): readonly string[] {
  const announced = metadata.token_endpoint_auth_methods_supported
  return Array.isArray(announced) ? announced : ['client_secret_basic']
}

function chooseAlgorithm(metadata: ProviderMetadata): SigningAlgorithm {
  const announced = metadata.id_token_signing_alg_values_supported
  return (Array.isArray(announced) && signingAlgorithms.find((known) => announced.includes(known))) || 'RS256'
}

/** @throws when no key of the set can verify a signature of this algorithm */
async function findKey(keys: JSONWebKeySet, alg: SigningAlgorithm): Promise<void> {
  try {
    await createLocalJWKSet(keys)({ alg })
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey)
      throw new Error(`the key set holds no usable key for ${alg}`)
    // Several are fine: each token says by its `kid` which one.
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
  }
}

function withoutSlash(issuer: string): string {
  return issuer.replace(/\/$/, '')
}
