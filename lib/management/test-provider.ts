import type { ClientMethod } from '../oidc/client-methods.ts'
import type { HttpClients } from '../oidc/http-client.ts'
import { pushesRequests } from '../oidc/provider-client.ts'
import type { Check } from '../providers/provider.ts'
import {
  type AssertionAudience,
  acceptedAlgorithms,
  type ClientAuthentication,
  type SecretEncoding,
} from '../providers/setting-values.ts'
import { sanitizePhrase, sanitizeText } from '../shared/sanitize-text.ts'
import { checkAuthorization } from './checks/authorization.ts'
import { checkVouching, type TestInput } from './checks/candidate.ts'
import { createClock } from './checks/clock.ts'
import { type CheckedCredentials, checkCredentials } from './checks/credentials.ts'
import { checkKeys, reach } from './checks/documents.ts'
import {
  checkAuthentication,
  checkDpop,
  checkFlow,
  checkLogout,
  checkPkce,
  checkPushedRequests,
  checkSigning,
  checkUnsupported,
  checkUserInfo,
  chooseAuthentication,
} from './checks/metadata.ts'

/** Result of the connection test: everything that can be tested before a user signs in. */
export interface ProviderTest {
  /** True if no check failed. */
  ok: boolean
  /** Results in the order of the checks. */
  checks: Check[]
  /** As the provider's metadata spells it. Absent if the metadata could not be read. */
  issuer?: string
  /** The method that the provider accepted, or else the one to use, as entered or from the metadata. Absent if none fits. */
  clientAuthentication?: ClientAuthentication
  /** The encoding of `client_secret_basic` that the provider accepted. */
  secretEncoding?: SecretEncoding | undefined
  /** The audience of client assertions that the provider accepted. */
  assertionAudience?: AssertionAudience | undefined
  /** The key of `private_key_jwt` that the provider accepted, if it was a spare one. */
  clientKeyId?: string | undefined
  /** The algorithms of `private_key_jwt` that the provider announces. Absent: none. */
  clientKeyAlgorithms?: readonly string[] | undefined
}

/** Failures here do not count against a provider that is in use: the test has connections and limits of its own. */
export async function testProvider(input: TestInput, http: HttpClients): Promise<ProviderTest> {
  const outbound = http.clientFor('candidate', input)
  const clock = createClock(outbound)
  const { metadata, checks: reached } = await reach(input, clock.outbound)
  if (!metadata) return sanitizeChecks({ checks: reached })
  const entered = chooseAuthentication(metadata, input)
  const announced: unknown = metadata.id_token_signing_alg_values_supported
  const algorithms = acceptedAlgorithms(input.signingAlgorithm, announced)
  const requirement = checkAuthentication(metadata, entered, input)
  const keys = await checkKeys(metadata, algorithms, input, clock.outbound)
  const isIssuerRight = reached.every(({ result }) => result !== 'failed')
  const isPushed = pushesRequests(input, metadata)
  const unpushed = isIssuerRight && !isPushed ? await checkAuthorization(metadata, input, outbound) : {}
  // The secret is sent only to a provider whose identity was verified.
  const credentials: Partial<CheckedCredentials> =
    isIssuerRight && requirement.result !== 'failed'
      ? await checkCredentials(metadata, entered, { ...input, page: unpushed }, clock.outbound)
      : {}
  const { method } = credentials
  const clientAuthentication = method?.clientAuthentication ?? input.clientAuthentication ?? entered
  // Only a client that authenticates can push a request.
  const { check: authorization } =
    isPushed && method ? await checkAuthorization(metadata, input, outbound, method) : unpushed
  return sanitizeChecks({
    checks: [
      ...reached,
      checkFlow(metadata),
      checkSigning(announced, algorithms),
      keys,
      clientAuthentication === entered
        ? requirement
        : checkAuthentication(metadata, clientAuthentication, input),
      credentials.check,
      checkPushedRequests(metadata, input),
      checkDpop(metadata, input, credentials.requiresDpop),
      authorization,
      checkPkce(metadata, input),
      checkUserInfo(metadata),
      checkUnsupported(metadata),
      ...checkLogout(metadata, input),
      checkVouching(input),
      clock.check(),
    ].filter((check) => check !== undefined),
    issuer: metadata.issuer,
    clientAuthentication,
    clientKeyAlgorithms: metadata.token_endpoint_auth_signing_alg_values_supported,
    ...describeMethod(method),
  })
}

function describeMethod(method: ClientMethod | undefined): Partial<ProviderTest> {
  if (!method) return {}
  const { clientAuthentication, secretEncoding, assertionAudience, kid } = method
  return {
    ...(clientAuthentication.startsWith('client_secret') && { secretEncoding }),
    ...(clientAuthentication.endsWith('_jwt') && { assertionAudience }),
    ...(kid !== undefined && { clientKeyId: kid }),
  }
}

/** Shortens the provider's text to one line of bounded length, because checks are stored and shown. */
function sanitizeChecks(test: Omit<ProviderTest, 'ok'>): ProviderTest {
  const checks = test.checks.map(({ message, hint, phrases = {}, ...check }) => ({
    ...check,
    message: sanitizeText(message, 500),
    ...(hint !== undefined && { hint: sanitizeText(hint, 500) }),
    ...((phrases.message || phrases.hint) && {
      phrases: {
        ...(phrases.message && { message: sanitizePhrase(phrases.message, 255) }),
        ...(phrases.hint && { hint: sanitizePhrase(phrases.hint, 255) }),
      },
    }),
  }))
  return { ...test, checks, ok: checks.every(({ result }) => result !== 'failed') }
}
