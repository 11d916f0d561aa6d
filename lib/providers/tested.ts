import { FailedTest } from './failed-test.ts'
import type { Outbound } from './outbound-http.ts'
import type { ProviderSettings } from './provider.ts'
import { testProvider } from './test-provider.ts'

/**
 * The settings with what the test found out: the issuer as the provider spells it, and how to authenticate and sign where that
 * was left open.
 *
 * @throws FailedTest
 */
export async function tested(settings: ProviderSettings, outbound: Outbound) {
  const test = await testProvider(settings, outbound)
  const { issuer, clientAuthentication, signingAlgorithm } = test
  if (!test.ok || !issuer || !clientAuthentication || !signingAlgorithm) throw new FailedTest(test.checks)
  return { ...settings, issuer, clientAuthentication, signingAlgorithm, checks: test.checks }
}
