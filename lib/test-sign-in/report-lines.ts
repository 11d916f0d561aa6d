import { type Identity, readClaimedAddress } from '../oidc/identity.ts'
import {
  type ClaimedAddress,
  type Condition,
  claimOf,
  describeVouching,
  unmetConditions,
} from '../oidc/vouches.ts'
import type { Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import { type AdminText, asPhrase, type Phrase, phrase } from '../shared/phrase.ts'
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
  finding?: AdminText | undefined
  /** the exact error, as in the log */
  cause?: string | undefined
  remedy?: AdminText | undefined
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
    const remedy = phrase('Synchronise both clocks with NTP. Otherwise valid sign-ins may be refused.')
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
    finding: phrase('The provider asked you to sign in again, and reported when you did (auth_time).'),
  },
  ignored: {
    result: 'warning',
    finding: phrase(
      'The provider did not ask you to sign in again, neither for max_age nor for prompt=login.',
    ),
    remedy: phrase(
      'If a page requires it, users have to sign out at the provider first, which the page offers. Or change the settings of the provider.',
    ),
  },
  unreported: {
    result: 'absent',
    finding: phrase('The ID token has no valid auth_time, although max_age was sent.'),
    remedy: phrase(
      'Configure the provider to send it. Until then, pages with sso.guard({ maxAge }) refuse its users. To change their sign-in methods, users enter a code from an e-mail, or sign in with another method.',
    ),
  },
} as const

/** @param error the provider's refusal of the second request */
export function reauthenticationLine(
  found: NonNullable<Provider['reauthentication']> | undefined,
  error?: string,
): ReportLine {
  const title = phrase('Re-authentication')
  if (found === undefined) return { title, result: 'not reached' }
  return { title, ...reauthenticationLines[found], ...(error !== undefined && { cause: error }) }
}

const untilTrusted = phrase('Until then everyone must confirm their address once with a code.')

/** Two texts, one after the other. */
function both(one: AdminText, another: AdminText): Phrase {
  return phrase('{{one}} {{another}}', { one: asPhrase(one), another: asPhrase(another) })
}

/** How far the address is trusted. None of this is a failure: without a trusted address, a code verifies one. */
export function addressLines({ provider, recorder }: Seen, identity: Identity | undefined): ReportLine[] {
  const { emailClaim } = provider
  const { organizationClaims } = describeVouching(provider)
  const received: ReportLine = { title: phrase('E-mail address'), result: 'not reached' }
  const verified: ReportLine = { title: phrase('E-mail address verified'), result: 'not reached' }
  const allowed: ReportLine = { title: phrase('E-mail domain allowed'), result: 'not reached' }
  const organization: ReportLine = { title: phrase('Organisation'), result: 'not reached' }
  const lines = [received, verified, allowed, ...(organizationClaims.length > 0 ? [organization] : [])]
  if (!identity) return lines
  const { idClaims = {}, userInfo } = recorder
  const address = readClaimedAddress(provider, { idClaims, userInfo })
  if (!address) {
    received.result = 'warning'
    received.finding = claimFinding(emailClaim, userInfo?.[emailClaim] ?? idClaims[emailClaim], true)
    received.remedy = both(
      phrase('Configure the provider to send it, or choose another claim.'),
      untilTrusted,
    )
    return lines
  }
  received.result = 'ok'
  const { email } = address
  received.finding = phrase('{{email}}, from the claim "{{claim}}".', { email, claim: emailClaim })
  const unmet = unmetConditions(provider, address)
  const isMet = (condition: Condition) => !unmet.includes(condition)
  Object.assign(allowed, domainResult(provider, address, isMet('domain')))
  if (isMet('domain')) Object.assign(verified, verificationResult(provider, isMet('verification')))
  Object.assign(organization, organizationResult(provider, address, isMet('organization')))
  return lines
}

const trustedAddresses = (provider: Provider) =>
  phrase('The provider vouches for {{addresses}}.', { addresses: describeVouching(provider).description })

type LineResult = Omit<ReportLine, 'title'>

function domainResult(provider: Provider, { email, idClaims }: ClaimedAddress, isMet: boolean): LineResult {
  const values = { domain: domainOf(email), tenant: String(asJson(idClaims.tid)) }
  const isEntra = provider.preset === 'entra'
  if (isMet) {
    const finding = isEntra
      ? phrase('{{domain}} from tenant {{tenant}} is allowed.', values)
      : phrase('{{domain}} is allowed.', values)
    return { result: 'ok', finding }
  }
  const refused = isEntra
    ? phrase('{{domain}} from tenant {{tenant}} is not allowed.', values)
    : phrase('{{domain}} is not allowed.', values)
  const advice = phrase('Add it to the e-mail domains in the settings if you trust the provider for it.')
  return {
    result: 'warning',
    finding: both(refused, trustedAddresses(provider)),
    remedy: both(advice, untilTrusted),
  }
}

function verificationResult(provider: Provider, isMet: boolean): LineResult {
  const { preset, trustsEmail } = provider
  const { warning } = describeVouching(provider)
  if (isMet)
    return {
      result: 'ok',
      finding: trustsEmail
        ? phrase('The settings trust every address from this provider.')
        : phrase('The provider confirmed it in this sign-in.'),
    }
  let advice: AdminText =
    preset === 'entra'
      ? phrase(
          'Or, if your own administrators assign these addresses, trust them in the settings, which must then list the tenants.',
        )
      : phrase('Or, if your own administrators assign these addresses, trust them in the settings.')
  if (trustsEmail && warning)
    advice = phrase('In the settings, {{reason}}: {{hint}}.', {
      reason: asPhrase(warning.reason),
      hint: asPhrase(warning.hint),
    })
  const claim = emailVerifiedClaim(provider)
  return {
    result: 'warning',
    finding: phrase('The provider does not confirm that the address was verified ({{claim}}).', { claim }),
    remedy: both(both(phrase('Configure the provider to send it.'), advice), untilTrusted),
  }
}

function organizationResult(provider: Provider, address: ClaimedAddress, isMet: boolean): LineResult {
  const { organizationClaims } = describeVouching(provider)
  const findings = organizationClaims.map((claim) => claimFinding(claim, claimOf(address, claim)))
  const [first, ...others] = isMet ? findings : [...findings, trustedAddresses(provider)]
  const finding = first && others.reduce(both, first)
  if (isMet) return { result: 'ok', finding }
  const advice = phrase('Test with an account that your organisation manages, or correct the settings.')
  return { result: 'warning', finding, remedy: both(advice, untilTrusted) }
}

function claimFinding(claim: string, value: unknown, lacksAddress = false): Phrase {
  if (value === undefined) return phrase('There is no claim "{{claim}}".', { claim })
  const values = { claim, value: sanitizeText(asJson(value), 255) }
  if (!lacksAddress) return phrase('The claim "{{claim}}" is {{value}}.', values)
  return Array.isArray(value)
    ? phrase('The claim "{{claim}}" is a list that does not start with an e-mail address: {{value}}.', values)
    : phrase('The claim "{{claim}}" is not an e-mail address: {{value}}.', values)
}
