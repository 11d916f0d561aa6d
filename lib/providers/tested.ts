import { ConfigurationError } from '../errors.ts'
import type { Outbound } from './outbound-http.ts'
import { type Candidate, testProvider } from './test-provider.ts'

/**
 * The settings with what the test found out: the issuer as the provider spells it, and how to authenticate and sign where that
 * was left open.
 *
 * @throws ConfigurationError that names each failed check and says what to do
 */
export async function tested<T extends Candidate>(settings: T, outbound: Outbound) {
  const test = await testProvider(settings, outbound)
  const { issuer, clientAuthentication, signingAlgorithm } = test
  if (!test.ok || !issuer || !clientAuthentication || !signingAlgorithm) {
    const failed = test.checks.filter(({ result }) => result === 'failed')
    throw new ConfigurationError(
      failed.map(({ finding, remedy }) => (remedy ? `${finding} – ${remedy}` : finding)).join('; '),
    )
  }
  return { ...settings, issuer, clientAuthentication, signingAlgorithm, checks: test.checks }
}
