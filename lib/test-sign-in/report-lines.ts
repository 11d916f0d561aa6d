import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { Identity } from '../oidc/identity.ts'
import { clockToleranceSeconds } from '../oidc/provider-client.ts'
import type { Provider, SecretEncoding } from '../providers/provider.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { domainOf } from '../users/email-address.ts'
import { emailVerifiedClaim } from './claims-table.ts'
import type { Failure } from './failure.ts'
import { type ReportLine, stepTitles, type TestRecorder, type TestStep, testSteps } from './recorder.ts'

/** One line for each step of the protocol. */
export function protocolLines(
  provider: Provider,
  answer: AuthorizationResponse | undefined,
  recorder: TestRecorder,
  failed: Failure | undefined,
): ReportLine[] {
  const found = findings(provider, answer, recorder)
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

/** What is said of a step that passed. */
function findings(
  provider: Provider,
  answer: AuthorizationResponse | undefined,
  recorder: TestRecorder,
): Record<TestStep, () => Found> {
  const { idClaims, userInfo, userInfoAsked } = recorder
  return {
    provider: () => ({ finding: `The discovery document of ${provider.issuer} was read.` }),
    answer: () => ({
      finding: answer?.parameters.has('iss')
        ? 'It belongs to the attempt that was begun here (state), and names the issuer (iss).'
        : 'It belongs to the attempt that was begun here (state). It does not name the issuer (iss), and has not promised to.',
    }),
    code: () => ({ finding: codeFinding(provider, recorder.encoding) }),
    algorithm: () => ({ finding: `It is signed with ${provider.signingAlgorithm}, as the settings say.` }),
    times: () => ({ finding: 'It has not expired (exp), and is not for later (nbf).' }),
    issuer: () => ({ finding: idClaims ? said(idClaims.iss) : provider.issuer }),
    audience: () => ({ finding: provider.clientId }),
    nonce: () => ({ finding: 'It holds the nonce of this very attempt.' }),
    signature: () => ({ finding: 'It was verified with a key that the provider publishes now.' }),
    form: () => ({ finding: 'It is an ID token to the letter.' }),
    userinfo: () => ({ finding: userInfoFinding(provider, userInfoAsked, userInfo !== undefined) }),
    identity: () => ({ finding: `Subject ${said(idClaims?.sub)}` }),
    clock: () => clockFinding(Number(idClaims?.iat) - recorder.passedAt),
  }
}

function userInfoFinding({ emailClaim }: Provider, asked: boolean, answered: boolean): string {
  if (!asked) return 'It was not needed.'
  return answered
    ? `It was asked, for the ID token has no "${emailClaim}"; it speaks of the same person.`
    : 'It was asked, and said nothing.'
}

/** @param ahead seconds that the provider's clock is ahead; the way of the answer makes it a little less */
function clockFinding(ahead: number): Found {
  const seconds = Math.round(Math.abs(ahead))
  if (seconds <= 5) return { finding: 'They agree.' }
  const finding = `The provider's is ${seconds} s ${ahead > 0 ? 'ahead' : 'behind'}; ${clockToleranceSeconds} s are tolerated.`
  return {
    result: 'warning',
    finding,
    remedy: 'Have both clocks set by NTP, before honest sign-ins are refused.',
  }
}

const unvouched = 'Until then everybody has to prove the address by a code once.'

/** What the address is worth. Nothing of it is a fault: without one that is vouched for a code proves it. */
export function addressLines(provider: Provider, identity: Identity | undefined): ReportLine[] {
  const [address, vouched, domain] = ['E-mail address', 'It is vouched for', 'Its domain is allowed']
  const notReached = (title: string): ReportLine => ({ title, result: 'not reached' })
  if (!identity) return [address, vouched, domain].map(notReached)
  const { email, emailTrusted } = identity
  if (email === undefined)
    return [
      {
        title: address,
        result: 'warning',
        finding: `The claim "${provider.emailClaim}" holds no e-mail address.`,
        remedy: `Have the provider send it, or name another claim. ${unvouched}`,
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
          finding: `The provider does not say that the address was verified (${emailVerifiedClaim(provider)}).`,
          remedy: `Have it say so; or, where an administrator of yours gives out these addresses, trust them in the settings${provider.preset === 'entra' ? ', which have to name the tenants' : ''}. ${unvouched}`,
        },
    allowed
      ? {
          title: domain,
          result: 'ok',
          finding:
            provider.emailDomains.length === 0 ? 'All are.' : `${domainOf(email)} is one of the settings.`,
        }
      : {
          title: domain,
          result: 'warning',
          finding: `${domainOf(email)} is none of ${provider.emailDomains.join(', ')}: the provider may not vouch for it.`,
          remedy: `Add it to the domains of the settings if the provider may. ${unvouched}`,
        },
  ]
}

function vouchedBy({ trustsEmail }: Provider): string {
  return trustsEmail
    ? 'By the settings: every address from this provider is trusted.'
    : 'By the provider, in this sign-in.'
}

function said(claim: unknown): string {
  return sanitizeText(String(claim), 255)
}

function codeFinding({ clientAuthentication, secretEncoding }: Provider, taken?: SecretEncoding): string {
  const finding = `The provider took the code with its PKCE verifier, and knew this portal by ${clientAuthentication}.`
  if (taken === undefined || taken === secretEncoding) return finding
  const spelled =
    taken === 'raw' ? 'as they are (raw), not form-encoded' : 'form-encoded, not as they are (raw)'
  return `${finding} It reads id and secret ${spelled}: from now on they are sent so.`
}
