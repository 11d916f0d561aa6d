import type { Activity } from '../events/event-history.ts'
import { type Check, describeHealth, type Provider } from '../providers/provider.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { DAY } from '../shared/time.ts'
import { count, dateTime, day } from './format.ts'

export interface ProviderStatus {
  tone: 'good' | 'quiet' | 'notice' | 'bad'
  /** whether users can sign in with it, in a few words */
  text: string
  /** why, or what comes next */
  detail?: string | undefined
}

/** This many failures in a row are no coincidence. */
const fewFailures = 3
const urgentDays = 7

/**
 * Whether users can sign in with a provider: the first of these findings that applies. Recent sign-ins prove more than an older
 * connection test. Anybody can cause failures, so they are never shown as an outage, and one success ends the finding.
 */
export function providerStatus(
  provider: Provider,
  activity: Activity | undefined,
  now: Date,
): ProviderStatus {
  const { enabled, health, testSignInAt } = provider
  const soon = upcoming(provider, now)
  if (!enabled)
    return {
      tone: 'quiet',
      text: 'Disabled',
      detail: testSignInAt ? 'Tested, ready to enable' : 'Sign-in not tested',
    }
  const worksUntil = activity?.lastSignInAt
  if (health)
    return bad(
      'Has problems',
      `${sentence(describeHealth(health))} Since ${dateTime(health.since)}${lastSuccess(worksUntil)}`,
    )
  if (secretDaysLeft(provider, now) <= 0) return bad('Client secret expired', soon)
  if (activity?.consentMissingAt)
    return bad('Consent missing', `Since ${dateTime(activity.consentMissingAt)}`)
  const failedTest = failedTestSince(provider, worksUntil)
  if (failedTest)
    return bad(failedTest, `Tested on ${dateTime(provider.lastTest?.at ?? '')}${lastSuccess(worksUntil)}`)
  if (activity && activity.failuresSince >= fewFailures)
    return {
      tone: 'notice',
      text: 'Sign-ins fail',
      detail: `${count(activity.failuresSince, 'failure', 'failures')}${worksUntil ? ` since the last sign-in on ${dateTime(worksUntil)}` : ', no sign-in yet'}`,
    }
  // Passed checks do not prove that a user can sign in.
  if (!worksUntil) return { tone: 'notice', text: 'No sign-in yet', detail: soon }
  const isUrgent = secretDaysLeft(provider, now) <= urgentDays
  return { tone: isUrgent ? 'notice' : 'good', text: 'Working', detail: soon }
}

const bad = (text: string, detail: string | undefined): ProviderStatus => ({ tone: 'bad', text, detail })

const lastSuccess = (at: string | undefined) => (at ? `, last sign-in ${dateTime(at)}` : '')

/** A user who has signed in after the test shows that it works again. */
function failedTestSince(provider: Provider, lastSignInAt: string | undefined): string | undefined {
  if (lastSignInAt !== undefined && lastSignInAt > (provider.lastTest?.at ?? '')) return undefined
  const failed = failedChecks(provider).map(({ name }) => name)
  if (failed.length === 0) return undefined
  if (failed.includes('reached')) return 'Cannot be reached'
  return failed.includes('keys') ? 'Keys unusable' : 'Test failed'
}

function failedChecks({ lastTest }: Provider): Check[] {
  return (lastTest?.checks ?? []).filter(({ result }) => result === 'failed')
}

/** A reason to act while it still works. Nothing else warns of an expired secret until sign-ins fail. */
function upcoming(provider: Provider, now: Date): string | undefined {
  const { clientSecretExpiresAt, retireAt } = provider
  const daysLeft = secretDaysLeft(provider, now)
  if (retireAt) return `Retires on ${day(retireAt)}`
  if (clientSecretExpiresAt === undefined || daysLeft > 60) return undefined
  return daysLeft <= 0
    ? `On ${day(clientSecretExpiresAt)}`
    : `Client secret expires in ${count(daysLeft, 'day', 'days')}`
}

function secretDaysLeft({ clientSecretExpiresAt }: Provider, now: Date): number {
  if (clientSecretExpiresAt === undefined) return Number.POSITIVE_INFINITY
  return Math.ceil((Date.parse(clientSecretExpiresAt) - now.getTime()) / DAY)
}

/** True if providers are enabled and none of them works, so that probably nobody can sign in. */
export function allEnabledFail(statuses: readonly ProviderStatus[]): boolean {
  const enabled = statuses.filter(({ text }) => text !== 'Disabled')
  return enabled.length > 0 && enabled.every(({ tone }) => tone === 'bad')
}
