import type { Identity } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import { domainOf } from '../users/email-address.ts'
import { emailVerifiedClaim } from './claims-table.ts'
import type { Failure } from './failure.ts'
import { type Seen, skewFinding, steps, type TestStep } from './steps.ts'

export interface ReportLine {
  title: string
  result: 'ok' | 'warning' | 'failed' | 'not reached'
  /** the observed value */
  finding?: string | undefined
  /** the exact error, as in the log */
  cause?: string | undefined
  /** advice for the administrator */
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
    if (name !== 'clock' || skewFinding(seen.recorder) === undefined)
      return { title, result: 'ok', finding: finding(seen) }
    const remedy = 'Synchronise both clocks with NTP. Otherwise valid sign-ins may be refused.'
    return { title, result: 'warning', finding: finding(seen), remedy }
  })
}

const untilTrusted = 'Until then everyone must confirm their address once with a code.'

/** How far the address is trusted. None of this is a failure: without a trusted address, a code verifies one. */
export function addressLines(provider: Provider, identity: Identity | undefined): ReportLine[] {
  const { emailClaim, emailDomains, preset, trustsEmail } = provider
  const address: ReportLine = { title: 'E-mail address', result: 'not reached' }
  const verified: ReportLine = { title: 'E-mail address verified', result: 'not reached' }
  const allowed: ReportLine = { title: 'E-mail domain allowed', result: 'not reached' }
  const lines = [address, verified, allowed]
  if (!identity) return lines
  const { email, emailTrusted } = identity
  if (email === undefined) {
    address.result = 'warning'
    address.finding = `The claim "${emailClaim}" contains no e-mail address.`
    address.remedy = `Configure the provider to send it, or choose another claim. ${untilTrusted}`
    return lines
  }
  address.result = 'ok'
  address.finding = `${email}, from the claim "${emailClaim}".`
  const domain = domainOf(email)
  const isAllowed = emailDomains.length === 0 || emailDomains.includes(domain)
  if (emailTrusted) {
    verified.result = 'ok'
    verified.finding = trustsEmail
      ? 'The settings trust every address from this provider.'
      : 'The provider confirmed it in this sign-in.'
  } else if (isAllowed) {
    verified.result = 'warning'
    verified.finding = `The provider does not confirm that the address was verified (${emailVerifiedClaim(provider)}).`
    verified.remedy = `Configure the provider to send it. Or, if your own administrators assign these addresses, trust them in the settings${preset === 'entra' ? ', which must then list the tenants' : ''}. ${untilTrusted}`
  }
  if (isAllowed) {
    allowed.result = 'ok'
    allowed.finding =
      emailDomains.length === 0 ? 'All domains are allowed.' : `${domain} is listed in the settings.`
  } else {
    allowed.result = 'warning'
    allowed.finding = `${domain} is not one of ${emailDomains.join(', ')}, so the address is not trusted.`
    allowed.remedy = `Add it to the e-mail domains in the settings if you trust the provider for it. ${untilTrusted}`
  }
  return lines
}
