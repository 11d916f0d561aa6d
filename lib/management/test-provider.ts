import type { HttpClients } from '../oidc/http-client.ts'
import { type ClientKeyAlgorithm, keyAlgorithmFor } from '../providers/client-key.ts'
import type { Check } from '../providers/provider.ts'
import {
  acceptedAlgorithms,
  type ClientAuthentication,
  type SecretEncoding,
} from '../providers/setting-values.ts'
import { ManagementError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import type { TestInput } from './checks/candidate.ts'
import { createClock } from './checks/clock.ts'
import { type CheckedCredentials, checkCredentials } from './checks/credentials.ts'
import { checkKeys, reach } from './checks/documents.ts'
import {
  checkAuthentication,
  checkFlow,
  checkLogout,
  checkPkce,
  checkSigning,
  checkUserInfo,
  chooseAuthentication,
} from './checks/metadata.ts'
import { checkVouching } from './checks/vouching.ts'

/** Thrown if the connection test failed: such a provider is not saved. The message names each failed check and what to do. */
export class ProviderTestError extends ManagementError {
  /** All results of the test. */
  readonly checks: readonly Check[]

  constructor(checks: readonly Check[]) {
    const failed = checks.filter(({ result }) => result === 'failed')
    super(
      'test_failed',
      failed.map(({ message, hint }) => ({ message: hint ? `${message} – ${hint}` : message })),
    )
    this.name = 'ProviderTestError'
    this.checks = checks
  }
}

/** Result of the connection test: everything that can be tested before a user signs in. */
export interface ProviderTest {
  /** True if no check failed. */
  ok: boolean
  /** Results in the order of the checks. */
  checks: Check[]
  /** As the provider's metadata spell it. Absent if they could not be read. */
  issuer?: string
  /** The method to use, as entered or from the metadata. Absent if none fits. */
  clientAuthentication?: ClientAuthentication
  /** The encoding of `client_secret_basic` that the provider accepted. */
  secretEncoding?: SecretEncoding | undefined
  /** The algorithm for a new key of `private_key_jwt`. */
  clientKeyAlgorithm?: ClientKeyAlgorithm | undefined
}

/** Failures here do not count against a provider that is in use: the test has connections and limits of its own. */
export async function testProvider(input: TestInput, http: HttpClients): Promise<ProviderTest> {
  const clock = createClock(http.clientFor('candidate', input))
  const { metadata, checks: reached } = await reach(input, clock.outbound)
  if (!metadata) return sanitizeChecks({ checks: reached })
  const clientAuthentication = input.clientAuthentication ?? chooseAuthentication(metadata, input)
  const announced: unknown = metadata.id_token_signing_alg_values_supported
  const algorithms = acceptedAlgorithms(input.signingAlgorithm, announced)
  const authentication = checkAuthentication(metadata, clientAuthentication, input)
  const keys = await checkKeys(metadata, algorithms, input, clock.outbound)
  // The secret is sent only to a provider whose identity was verified.
  const verified = [...reached, authentication].every(({ result }) => result !== 'failed')
  const { check: credentials, ...found }: Partial<CheckedCredentials> = verified
    ? await checkCredentials(metadata, clientAuthentication, input, clock.outbound)
    : {}
  return sanitizeChecks({
    checks: [
      ...reached,
      checkFlow(metadata),
      checkSigning(announced, algorithms),
      keys,
      authentication,
      ...(credentials ? [credentials] : []),
      checkPkce(metadata, input),
      checkUserInfo(metadata),
      ...checkLogout(metadata),
      checkVouching(input),
      clock.check(),
    ],
    issuer: metadata.issuer,
    clientAuthentication,
    clientKeyAlgorithm: keyAlgorithmFor(metadata.token_endpoint_auth_signing_alg_values_supported),
    ...found,
  })
}

/** Shortens the provider's text to one line of bounded length, because checks are stored and shown. */
function sanitizeChecks(test: Omit<ProviderTest, 'ok'>): ProviderTest {
  const checks = test.checks.map(({ message, hint, ...check }) => ({
    ...check,
    message: sanitizeText(message, 500),
    ...(hint !== undefined && { hint: sanitizeText(hint, 500) }),
  }))
  return { ...test, checks, ok: checks.every(({ result }) => result !== 'failed') }
}
