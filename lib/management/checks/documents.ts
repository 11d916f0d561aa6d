import { createLocalJWKSet, errors, type JSONWebKeySet } from 'jose'
import { allowAddress, NotPublicError } from '../../oidc/address-rules.ts'
import { hasSameOrigin } from '../../oidc/client-methods.ts'
import {
  type DiscoverySettings,
  discover,
  documentUrl,
  IssuerMismatchError,
  type ProviderMetadata,
} from '../../oidc/discovery.ts'
import {
  type HttpClient,
  isFetchable,
  isUnreachable,
  PlainHttpError,
  UnreachableError,
} from '../../oidc/http-client.ts'
import { keyRequest } from '../../oidc/key-set.ts'
import { isIssuerOf, issuerOfMetadata, keyIssuersFor, type Tenancy } from '../../providers/issuer.ts'
import type { Check } from '../../providers/provider.ts'
import { type SigningAlgorithm, signingAlgorithms } from '../../providers/setting-values.ts'
import { CheckError, describeError } from '../../shared/errors.ts'
import { type AdminText, type Phrase, phrase } from '../../shared/phrase.ts'
import { failed, ok, type TestInput } from './candidate.ts'

export type Reached = { metadata: ProviderMetadata; checks: Check[] } | { metadata?: never; checks: Check[] }

type ReachInput = DiscoverySettings & Pick<TestInput, 'isIssuerKnown'>

/** Fetches the metadata. Without them no further check is possible. */
export async function reach(input: ReachInput, outbound: HttpClient): Promise<Reached> {
  try {
    const metadata = await discover(input, outbound)
    const issuer = checkIssuer(metadata.issuer, input)
    if (issuer.result === 'failed')
      return { checks: [ok('reached', phrase('{{url}} was read', { url: documentUrl(input) })), issuer] }
    const reached = phrase('the discovery document of {{issuer}} was read', { issuer: metadata.issuer })
    return { metadata, checks: [ok('reached', reached), issuer] }
  } catch (error) {
    return { checks: [describeUnreadable(error, input)] }
  }
}

/**
 * Attacker: a provider that names the issuer of another one, to sign in as its users. The document must name the entered issuer; one
 * that was entered by its URL names its issuer itself, on the same origin. Administrators drop or add a trailing slash; the issuer is
 * saved as the provider writes it.
 */
function checkIssuer(named: string, input: ReachInput): Check {
  const { issuer, metadataUrl, isIssuerKnown } = input
  const isSameSite = metadataUrl === undefined || hasSameOrigin(named, metadataUrl)
  const isOnlyUrl =
    !isIssuerKnown &&
    metadataUrl !== undefined &&
    issuerOfMetadata(metadataUrl) === issuer &&
    // Like an issuer that an administrator enters: it is stored, and shown in terminals.
    /^[!-~]{1,255}$/.test(named)
  const isEntered = isIssuerKnown ? named === issuer : withoutSlash(named) === withoutSlash(issuer)
  if (isSameSite && (isOnlyUrl || isEntered))
    return ok('issuer', phrase('the issuer is {{issuer}}', { issuer: named }))
  return anotherIssuer(named, documentUrl(input))
}

function anotherIssuer(named: string, url: string): Check {
  return failed(
    'issuer',
    phrase('the discovery document names another issuer: {{issuer}}', { issuer: JSON.stringify(named) }),
    phrase('open {{url}} and compare its "issuer" with what you entered', { url }),
  )
}

function describeUnreadable(error: unknown, input: DiscoverySettings): Check {
  const { protocol } = new URL(input.issuer)
  const url = documentUrl(input)
  const fails = (message: AdminText, hint: AdminText) => failed('reached', message, hint)
  const unusable = (reason: Phrase | string) =>
    phrase('no usable discovery document at {{issuer}}: {{error}}', { issuer: input.issuer, error: reason })
  // The issuer of a row for several tenants is compared with a template.
  if (error instanceof IssuerMismatchError) return anotherIssuer(error.issuer, url)
  const { origin } = new URL(url)
  if (!isFetchable(new URL(url)))
    return fails(
      unusable(phrase('the issuer {{issuer}} is not https (http is for loopback only)', { issuer: origin })),
      phrase('use an https issuer'),
    )
  const response = causeOf(error, Response)
  const wrong = response && describeResponse(response, url)
  if (wrong) return wrong
  const plainHttp = causeOf(error, PlainHttpError)
  if (plainHttp)
    return fails(
      phrase('{{error}}, not https', { error: plainHttp.message }),
      phrase(
        'enter the address at which the provider serves https; plain http is accepted only for localhost',
      ),
    )
  if (isUnreachable(error)) {
    const notPublic = causeOf(error, NotPublicError)
    const reason = notPublic?.problem ?? describeError(causeOf(error, UnreachableError)?.cause ?? error)
    const silent = phrase('{{url}} did not respond: {{reason}}', { url: origin, reason })
    if (notPublic) return fails(unusable(silent), allowAddress)
    return fails(
      unusable(silent),
      protocol === 'http:'
        ? phrase('open {{url}} from this server; if the provider speaks https, enter https', { url })
        : phrase(
            'open {{url}} from this server; check the host name, the firewall, the proxy and the certificate',
            { url },
          ),
    )
  }
  return fails(
    unusable(describeError(error)),
    phrase('open {{url}}: the provider must correct its document', { url }),
  )
}

/** @returns `undefined` if the response is JSON, whatever it contains */
function describeResponse({ headers, status }: Response, url: string): Check | undefined {
  const type = headers.get('content-type')?.split(';')[0]
  const fails = (message: AdminText, hint: AdminText) => failed('reached', message, hint)
  if (status === 404 || status === 410)
    return fails(
      phrase('{{url}} responded with {{status}}: is a part of the path missing, or the realm misspelled?', {
        url,
        status,
      }),
      phrase('compare the address with the provider’s console; it is case-sensitive'),
    )
  if (status === 200 && !type?.includes('json'))
    return fails(
      phrase('{{url}} responded with {{type}} instead of JSON: is a part of the path missing?', {
        url,
        type: type ?? phrase('an unknown type', {}),
      }),
      phrase('open it in a browser: it must show the discovery document'),
    )
  if (status === 200) return undefined
  return fails(
    phrase('{{url}} responded with {{status}} instead of 200', { url, status }),
    status >= 500 ? phrase('test again when the provider works') : openFromHere(url),
  )
}

const openFromHere = (url: string) => phrase('open {{url}} from this server', { url })

/** openid-client wraps the response that it refused, and our own errors. */
function causeOf<T>(error: unknown, type: new (...values: never[]) => T): T | undefined {
  for (let current = error, depth = 0; current && depth < 5; depth++) {
    if (current instanceof type) return current
    current = (current as { cause?: unknown }).cause
  }
  return undefined
}

function withoutSlash(issuer: string): string {
  return issuer.replace(/\/$/, '')
}

export async function checkKeys(
  metadata: ProviderMetadata,
  algorithms: readonly SigningAlgorithm[],
  tenancy: Tenancy,
  outbound: HttpClient,
): Promise<Check> {
  try {
    const response = await outbound.fetch(metadata.jwks_uri, keyRequest)
    if (response.status !== 200)
      throw new CheckError('jwks_uri', `the key set responded with ${response.status}`)
    // If the provider announces none of ours, another check reports that.
    const wanted = algorithms.length > 0 ? algorithms : signingAlgorithms
    const keySet = keysOfTenants((await response.json()) as JSONWebKeySet, tenancy)
    const usable = await findUsable(keySet, wanted)
    const algorithmsOfKeys = usable.join(', ')
    return ok(
      'keys',
      phrase('the key set contains a usable key for {{algorithms}}', { algorithms: algorithmsOfKeys }),
    )
  } catch (error) {
    const hint = keysHint(error, metadata.jwks_uri)
    return failed('keys', phrase('the keys cannot be used: {{error}}', { error: describeError(error) }), hint)
  }
}

function keysHint(error: unknown, url: string): AdminText {
  const code = (error as { code?: unknown } | null)?.code
  if (code === 'jwks')
    return phrase('create a signing key for this algorithm at the provider, or choose another algorithm')
  if (code === 'keys_issuer')
    return phrase('compare the tenant in the settings with the issuer of these keys')
  if (isUnreachable(error))
    return phrase('open {{url}} from this server; check the firewall, the proxy and the certificate', { url })
  return code === 'jwks_uri' ? openFromHere(url) : phrase('open {{url}}; it must be a JSON key set', { url })
}

/** Selects the keys that a sign-in may use: Entra names the issuer of each. @throws when all keys name other issuers */
function keysOfTenants(keySet: JSONWebKeySet, tenancy: Tenancy): JSONWebKeySet {
  if (tenancy.preset !== 'entra' || !Array.isArray(keySet?.keys)) return keySet
  const issuers = keySet.keys.map((key) => (key as { issuer?: unknown } | null)?.issuer)
  const isUsable = (issuer: unknown) =>
    keyIssuersFor(tenancy, tenancy.issuer).includes(issuer) || isIssuerOf(tenancy, String(issuer))
  if (issuers.length > 0 && !issuers.some(isUsable))
    throw new CheckError('keys_issuer', `they are for another issuer: ${JSON.stringify(issuers[0])}`)
  return { keys: keySet.keys.filter((_key, at) => isUsable(issuers[at])) }
}

/** Returns the algorithms for which the set has a key. @throws when it has none */
async function findUsable(keySet: JSONWebKeySet, algorithms: readonly SigningAlgorithm[]) {
  const resolver = createLocalJWKSet(keySet)
  const usable: SigningAlgorithm[] = []
  for (const alg of algorithms)
    try {
      await resolver({ alg })
      usable.push(alg)
    } catch (error) {
      // Several are fine: each token names its key (`kid`).
      if (error instanceof errors.JWKSMultipleMatchingKeys) usable.push(alg)
      else if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
    }
  if (usable.length === 0)
    throw new CheckError('jwks', `the key set contains no usable key for ${algorithms.join(', ')}`)
  return usable
}
