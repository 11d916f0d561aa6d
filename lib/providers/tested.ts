import type { Candidate } from './checks/candidate.ts'
import { FailedTest } from './failed-test.ts'
import type { Outbound } from './outbound-http.ts'
import type { ProviderSettings } from './provider.ts'
import { testProvider } from './test-provider.ts'

/**
 * The settings with what the test found out: the issuer as the provider spells it, how to authenticate and sign where that was
 * left open, and how the provider reads the client secret.
 *
 * @param redirectUri where answers go
 * @throws FailedTest
 */
export async function tested(
  { preset, signingKey, ...settings }: ProviderSettings & Pick<Candidate, 'preset' | 'signingKey'>,
  redirectUri: string,
  outbound: Outbound,
) {
  const test = await testProvider({ ...settings, preset, signingKey, redirectUri }, outbound)
  const { issuer, clientAuthentication, signingAlgorithm } = test
  if (!test.ok || !issuer || !clientAuthentication || !signingAlgorithm) throw new FailedTest(test.checks)
  const { secretEncoding = settings.secretEncoding, secretInUse, clientKeyAlgorithm, checks } = test
  return {
    found: { ...settings, issuer, clientAuthentication, signingAlgorithm, secretEncoding },
    // None is needed, and none is made, for any other way to authenticate.
    keyAlgorithm: clientAuthentication === 'private_key_jwt' ? clientKeyAlgorithm : undefined,
    secretInUse,
    checks,
  }
}
