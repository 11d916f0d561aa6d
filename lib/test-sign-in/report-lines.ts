import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { Identity } from '../oidc/identity.ts'
import { clockToleranceSeconds } from '../oidc/provider-client.ts'
import type { Provider } from '../providers/provider.ts'
import type { SecretEncoding } from '../providers/setting-values.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { domainOf } from '../users/email-address.ts'
import { emailVerifiedClaim } from './claims-table.ts'
import type { Failure } from './failure.ts'
import { type ReportLine, stepTitles, type TestRecorder, type TestStep, testSteps } from './recorder.ts'

/** One line for each step of the protocol. */
export function protocolLines(
  provider: Provider,
  response: AuthorizationResponse | undefined,
  recorder: TestRecorder,
  failed: Failure | undefined,
): ReportLine[] {
  const found = findings(provider, response, recorder)
  const unproven = failed ? testSteps.indexOf(failed.unproven) : testSteps.length
  return testSteps.map((step, at) => {
    const title = stepTitles[step]
    if (step === failed?.step) {
      const { finding, cause, remedy } = failed
      return { title, result: 'failed', finding, cause, remedy }
    }
    return at < unproven ? { title, result: 'ok', ...found[step]() } : { title, result: 'not reached' }
  })
}

type Found = Omit<ReportLine, 'title' | 'result'> & { result?: 'warning' }

/** The findings of steps that passed. */
function findings(
  provider: Provider,
  response: AuthorizationResponse | undefined,
  recorder: TestRecorder,
): Record<TestStep, () => Found> {
  const { idClaims, userInfo, userInfoAsked } = recorder
  return {
    provider: () => ({ finding: `The discovery document of ${provider.issuer} was read.` }),
    answer: () => ({
      finding: response?.parameters.has('iss')
        ? 'It belongs to the sign-in that started here (state) and names the issuer (iss).'
        : 'It belongs to the sign-in that started here (state). It does not name the issuer (iss), and the provider does not announce that it will.',
    }),
    code: () => ({ finding: codeFinding(provider, recorder.encoding) }),
    algorithm: () => ({
      finding: `It is signed with ${provider.signingAlgorithm}, as the settings require.`,
    }),
    times: () => ({ finding: 'It has not expired (exp) and is already valid (nbf).' }),
    issuer: () => ({ finding: idClaims ? claimText(idClaims.iss) : provider.issuer }),
    audience: () => ({ finding: provider.clientId }),
    nonce: () => ({ finding: 'It contains the nonce of this sign-in.' }),
    signature: () => ({ finding: 'It was verified with a key that the provider currently publishes.' }),
    form: () => ({ finding: 'It is a well-formed ID token.' }),
    userinfo: () => ({ finding: userInfoFinding(provider, userInfoAsked, userInfo !== undefined) }),
    identity: () => ({ finding: `Subject ${claimText(idClaims?.sub)}` }),
    clock: () => clockFinding(Number(idClaims?.iat) - recorder.passedAt),
  }
}

function userInfoFinding({ emailClaim }: Provider, asked: boolean, answered: boolean): string {
  if (!asked) return 'It was not needed.'
  return answered
    ? `It was requested because the ID token has no "${emailClaim}". Its subject matches.`
    : 'It was requested, but returned nothing.'
}

/** @param ahead seconds that the provider's clock is ahead, reduced a little by the transport of the response */
function clockFinding(ahead: number): Found {
  const seconds = Math.round(Math.abs(ahead))
  if (seconds <= 5) return { finding: 'The clocks agree.' }
  const finding = `The provider's clock is ${seconds} s ${ahead > 0 ? 'ahead' : 'behind'}. ${clockToleranceSeconds} s are tolerated.`
  return {
    result: 'warning',
    finding,
    remedy: 'Synchronise both clocks with NTP. Otherwise valid sign-ins may be refused.',
  }
}

const untilTrusted = 'Until then everyone must confirm their address once with a code.'

/** How far the address is trusted. None of this is a failure: without a trusted address, a code verifies one. */
export function addressLines(provider: Provider, identity: Identity | undefined): ReportLine[] {
  const [address, vouched, domain] = ['E-mail address', 'E-mail address verified', 'E-mail domain allowed']
  const notReached = (title: string): ReportLine => ({ title, result: 'not reached' })
  if (!identity) return [address, vouched, domain].map(notReached)
  const { email, emailTrusted } = identity
  if (email === undefined)
    return [
      {
        title: address,
        result: 'warning',
        finding: `The claim "${provider.emailClaim}" contains no e-mail address.`,
        remedy: `Configure the provider to send it, or choose another claim. ${untilTrusted}`,
      },
      notReached(vouched),
      notReached(domain),
    ]
  const allowed = provider.emailDomains.length === 0 || provider.emailDomains.includes(domainOf(email))
  return [
    { title: address, result: 'ok', finding: `${email}, from the claim "${provider.emailClaim}".` },
    emailTrusted || !allowed
      ? {
          title: vouched,
          result: emailTrusted ? 'ok' : 'not reached',
          finding: emailTrusted ? vouchedBy(provider) : undefined,
        }
      : {
          title: vouched,
          result: 'warning',
          finding: `The provider does not confirm that the address was verified (${emailVerifiedClaim(provider)}).`,
          remedy: `Configure the provider to send it. Or, if your own administrators assign these addresses, trust them in the settings${provider.preset === 'entra' ? ', which must then list the tenants' : ''}. ${untilTrusted}`,
        },
    allowed
      ? {
          title: domain,
          result: 'ok',
          finding:
            provider.emailDomains.length === 0
              ? 'All domains are allowed.'
              : `${domainOf(email)} is listed in the settings.`,
        }
      : {
          title: domain,
          result: 'warning',
          finding: `${domainOf(email)} is not one of ${provider.emailDomains.join(', ')}, so the address is not trusted.`,
          remedy: `Add it to the e-mail domains in the settings if you trust the provider for it. ${untilTrusted}`,
        },
  ]
}

function vouchedBy({ trustsEmail }: Provider): string {
  return trustsEmail
    ? 'The settings trust every address from this provider.'
    : 'The provider confirmed it in this sign-in.'
}

function claimText(claim: unknown): string {
  return sanitizeText(String(claim), 255)
}

function codeFinding({ clientAuthentication, secretEncoding }: Provider, taken?: SecretEncoding): string {
  const finding = `The provider accepted the code with its PKCE verifier and authenticated this portal by ${clientAuthentication}.`
  if (taken === undefined || taken === secretEncoding) return finding
  const spelled = taken === 'raw' ? 'unencoded (raw), not form-encoded' : 'form-encoded, not unencoded (raw)'
  return `${finding} It reads the client ID and secret ${spelled}. From now on they are sent like this.`
}
