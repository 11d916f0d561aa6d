import type { HttpClients } from '../oidc/http-client.ts'
import { type ClientKeyAlgorithm, keyAlgorithmFor } from '../providers/client-key.ts'
import type {
  Check,
  ClientAuthentication,
  ProviderSettings,
  SecretEncoding,
  SigningAlgorithm,
} from '../providers/provider.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { checkAuthentication, chooseAuthentication } from './checks/authentication.ts'
import type { TestInput } from './checks/candidate.ts'
import { createClock } from './checks/clock.ts'
import { type CheckedCredentials, checkCredentials } from './checks/credentials.ts'
import { checkKeys } from './checks/keys.ts'
import {
  checkFlow,
  checkLogout,
  checkPkce,
  checkSigning,
  checkUserInfo,
  chooseSigningAlgorithm,
} from './checks/metadata.ts'
import { reach } from './checks/reach.ts'

/** A provider that cannot work is not saved: names each failed check and says what to do. */
export class ProviderTestError extends ConfigurationError {
  readonly checks: readonly Check[]

  constructor(checks: readonly Check[]) {
    const failed = checks.filter(({ result }) => result === 'failed')
    super(failed.map(({ finding, remedy }) => (remedy ? `${finding} – ${remedy}` : finding)).join('; '))
    this.name = 'FailedTest'
    this.checks = checks
  }
}

/** What can be seen of a provider from outside, before anybody signs in. */
export interface ProviderTest {
  /** no check failed */
  ok: boolean
  checks: Check[]
  /** as the provider's own document spells it; `undefined` when it could not be read */
  issuer?: string
  clientAuthentication?: ClientAuthentication
  signingAlgorithm?: SigningAlgorithm
  /** the spelling of `client_secret_basic` that the provider took */
  secretEncoding?: SecretEncoding | undefined
  /** of a key for `private_key_jwt` */
  clientKeyAlgorithm?: ClientKeyAlgorithm | undefined
}

/** Over the network that the candidate names; what goes wrong there counts for no provider that is in use. */
export async function testProvider(candidate: TestInput, outbound: HttpClients): Promise<ProviderTest> {
  const clock = createClock(outbound.clientFor('candidate', candidate))
  const { metadata, checks: reached } = await reach(candidate, clock.outbound)
  if (!metadata) return told({ checks: reached })
  const clientAuthentication = candidate.clientAuthentication ?? chooseAuthentication(metadata, candidate)
  const signingAlgorithm = candidate.signingAlgorithm ?? chooseSigningAlgorithm(metadata)
  const authentication = checkAuthentication(metadata, clientAuthentication, candidate)
  const keys = await checkKeys(metadata, signingAlgorithm, clock.outbound)
  // A secret goes to nobody who is not who was entered.
  const trusted = [...reached, authentication].every(({ result }) => result !== 'failed')
  const { check: credentials, ...found }: Partial<CheckedCredentials> = trusted
    ? await checkCredentials(metadata, clientAuthentication, candidate, clock.outbound)
    : {}
  const checks: Check[] = [
    ...reached,
    checkFlow(metadata),
    checkSigning(metadata, signingAlgorithm),
    keys,
    authentication,
    ...(credentials ? [credentials] : []),
    checkPkce(metadata),
    checkUserInfo(metadata),
    ...checkLogout(metadata),
    clock.check(),
  ]
  return told({
    checks,
    issuer: metadata.issuer,
    clientAuthentication,
    signingAlgorithm,
    clientKeyAlgorithm: keyAlgorithmFor(metadata.token_endpoint_auth_signing_alg_values_supported),
    ...found,
  })
}

/** Kept and shown: what the provider says of itself is one line of bounded length. */
function told(test: Omit<ProviderTest, 'ok'>): ProviderTest {
  const checks = test.checks.map(({ finding, remedy, ...check }) => ({
    ...check,
    finding: sanitizeText(finding, 500),
    ...(remedy !== undefined && { remedy: sanitizeText(remedy, 500) }),
  }))
  return { ...test, checks, ok: checks.every(({ result }) => result !== 'failed') }
}

/**
 * The settings with what the test found out: the issuer as the provider spells it, how to authenticate and sign where that was
 * left open, and how the provider reads the client secret.
 *
 * @param redirectUri where answers go
 * @throws FailedTest
 */
export async function testAndResolve(
  { preset, signingKey, ...settings }: ProviderSettings & Pick<TestInput, 'preset' | 'signingKey'>,
  redirectUri: string,
  outbound: HttpClients,
) {
  const test = await testProvider({ ...settings, preset, signingKey, redirectUri }, outbound)
  const { issuer, clientAuthentication, signingAlgorithm } = test
  if (!test.ok || !issuer || !clientAuthentication || !signingAlgorithm)
    throw new ProviderTestError(test.checks)
  const { secretEncoding = settings.secretEncoding, clientKeyAlgorithm, checks } = test
  return {
    found: { ...settings, issuer, clientAuthentication, signingAlgorithm, secretEncoding },
    // None is needed, and none is made, for any other way to authenticate.
    keyAlgorithm: clientAuthentication === 'private_key_jwt' ? clientKeyAlgorithm : undefined,
    checks,
  }
}
