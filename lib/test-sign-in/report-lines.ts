import { type Identity, readClaimedAddress } from '../oidc/identity.ts'
import { type Condition, claimOf, describeVouching, unmetConditions } from '../oidc/vouches.ts'
import type { Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import type { CompletedAttempt } from '../sign-in/attempts.ts'
import { domainOf } from '../users/email-address.ts'
import { asJson, emailVerifiedClaim } from './claims-table.ts'
import type { Failure } from './failure.ts'
import { type Seen, skewFinding, steps, type TestRecorder, type TestStep } from './steps.ts'

export interface ReportLine {
  title: string
  /** `absent`: the provider lacks it, which is no problem by itself */
  result: 'ok' | 'warning' | 'failed' | 'absent' | 'not reached'
  finding?: string | undefined
  /** the exact error, as in the log */
  cause?: string | undefined
  remedy?: string | undefined
}

/** One line for each step of the protocol. */
export function protocolLines(seen: Seen, failed: Failure | undefined): ReportLine[] {
  const names = Object.keys(steps) as TestStep[]
  const unproven = failed ? names.indexOf(failed.unproven) : names.length
  return names.map((name, at) => {
    const { title, finding } = steps[name]
    if (name === failed?.step) {
      const { cause, remedy } = failed
      return { title, result: 'failed', finding: failed.finding, cause, remedy }
    }
    if (at >= unproven) return { title, result: 'not reached' }
    if (name === 'userinfo' && !seen.recorder.userInfoAsked)
      return { title, result: 'absent', finding: finding(seen) }
    if (name === 'userinfo' && seen.recorder.userInfoFailure) {
      const cause = sanitizeText(describeError(seen.recorder.userInfoFailure))
      return { title, result: 'warning', finding: finding(seen), cause, remedy: steps.userinfo.remedy }
    }
    if (name !== 'clock' || skewFinding(seen.recorder) === undefined)
      return { title, result: 'ok', finding: finding(seen) }
    const remedy = 'Synchronise both clocks with NTP. Otherwise valid sign-ins may be refused.'
    return { title, result: 'warning', finding: finding(seen), remedy }
  })
}

/**
 * Whether the user authenticated after the attempt started, by the provider's own clock. Only with `max_age` must an ID token have
 * an auth_time (Core 2). Attacker: a thief of a session, who could choose a code by mail after a false `unreported`.
 *
 * @returns `undefined` before `max_age` was sent
 */
export function reauthenticationOf(
  { authenticatedAt }: Identity,
  { idClaims, passedAt }: TestRecorder,
  { askedLogin, purpose, reauthentication, retried, startedAt }: CompletedAttempt,
): Provider['reauthentication'] {
  const isSecond = purpose.kind === 'test' && purpose.passed === true
  if (authenticatedAt === undefined) {
    if (isSecond && askedLogin) return 'ignored'
    return askedLogin && !retried ? undefined : 'unreported'
  }
  // A provider that has just asked for prompt=login need not ask again.
  const maxAgeSeconds = isSecond && !askedLogin ? (reauthentication?.maxAge ?? 0) : 0
  const elapsedSeconds = passedAt - startedAt / 1000 + maxAgeSeconds
  return authenticatedAt >= Number(idClaims?.iat) - elapsedSeconds - 2 ? 'proven' : 'ignored'
}

const reauthenticationLines = {
  proven: {
    result: 'ok',
    finding: 'The provider asked you to sign in again, and reported when you did (auth_time).',
  },
  ignored: {
    result: 'warning',
    finding: 'The provider did not ask you to sign in again, neither for max_age nor for prompt=login.',
    remedy:
      'If a page requires it, users have to sign out at the provider first, which the page offers. Or change the settings of the provider.',
  },
  unreported: {
    result: 'absent',
    finding: 'The ID token has no valid auth_time, although max_age was sent.',
    remedy:
      'Configure the provider to send it. Until then, pages with sso.guard({ maxAge }) refuse its users. To change their sign-in methods, users enter a code from an e-mail, or sign in with another method.',
  },
} as const

/** @param error the provider's refusal of the second request */
export function reauthenticationLine(
  found: NonNullable<Provider['reauthentication']> | undefined,
  error?: string,
): ReportLine {
  const title = 'Re-authentication'
  if (found === undefined) return { title, result: 'not reached' }
  return { title, ...reauthenticationLines[found], ...(error !== undefined && { cause: error }) }
}

const untilTrusted = 'Until then everyone must confirm their address once with a code.'

/** How far the address is trusted. None of this is a failure: without a trusted address, a code verifies one. */
export function addressLines({ provider, recorder }: Seen, identity: Identity | undefined): ReportLine[] {
  const { emailClaim, preset, trustsEmail } = provider
  const { description, organizationClaims, warning } = describeVouching(provider)
  const received: ReportLine = { title: 'E-mail address', result: 'not reached' }
  const verified: ReportLine = { title: 'E-mail address verified', result: 'not reached' }
  const allowed: ReportLine = { title: 'E-mail domain allowed', result: 'not reached' }
  const organization: ReportLine = { title: 'Organisation', result: 'not reached' }
  const lines = [received, verified, allowed, ...(organizationClaims.length > 0 ? [organization] : [])]
  if (!identity) return lines
  const { idClaims = {}, userInfo } = recorder
  const address = readClaimedAddress(provider, { idClaims, userInfo })
  if (!address) {
    received.result = 'warning'
    received.finding = claimFinding(emailClaim, userInfo?.[emailClaim] ?? idClaims[emailClaim], true)
    received.remedy = `Configure the provider to send it, or choose another claim. ${untilTrusted}`
    return lines
  }
  received.result = 'ok'
  received.finding = `${address.email}, from the claim "${emailClaim}".`
  const unmet = unmetConditions(provider, address)
  const resultOf = (condition: Condition) => (unmet.includes(condition) ? 'warning' : 'ok')
  allowed.result = resultOf('domain')
  const from = preset === 'entra' ? ` from tenant ${asJson(idClaims.tid)}` : ''
  allowed.finding = `${domainOf(address.email)}${from} is allowed.`
  if (unmet.includes('domain')) {
    allowed.finding = `${domainOf(address.email)}${from} is not allowed. The provider vouches for ${description}.`
    allowed.remedy = `Add it to the e-mail domains in the settings if you trust the provider for it. ${untilTrusted}`
  } else {
    verified.result = resultOf('verification')
    verified.finding = trustsEmail
      ? 'The settings trust every address from this provider.'
      : 'The provider confirmed it in this sign-in.'
  }
  if (verified.result === 'warning') {
    verified.finding = `The provider does not confirm that the address was verified (${emailVerifiedClaim(provider)}).`
    const tenants = preset === 'entra' ? ', which must then list the tenants' : ''
    const advice = `Or, if your own administrators assign these addresses, trust them in the settings${tenants}.`
    const ineffective = trustsEmail && warning && `In the settings, ${warning.reason}: ${warning.hint}.`
    verified.remedy = `Configure the provider to send it. ${ineffective || advice} ${untilTrusted}`
  }
  organization.result = resultOf('organization')
  const findings = organizationClaims.map((claim) => claimFinding(claim, claimOf(address, claim)))
  organization.finding = findings.join(' ')
  if (organization.result === 'warning') {
    organization.finding += ` The provider vouches for ${description}.`
    organization.remedy = `Test with an account that your organisation manages, or correct the settings. ${untilTrusted}`
  }
  return lines
}

function claimFinding(claim: string, value: unknown, lacksAddress = false): string {
  if (value === undefined) return `There is no claim "${claim}".`
  const what = Array.isArray(value)
    ? 'a list that does not start with an e-mail address'
    : 'no e-mail address'
  const problem = lacksAddress ? `${what}: ` : ''
  return `The claim "${claim}" is ${problem}${sanitizeText(asJson(value), 255)}.`
}
