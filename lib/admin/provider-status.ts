import type { Activity } from '../events/event-history.ts'
import { type Check, describeHealth, type Provider } from '../providers/provider.ts'
import { phrase } from '../shared/phrase.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { DAY } from '../shared/time.ts'
import type { Locale } from '../web/locale.ts'
import { dateTime, day } from './format.ts'

export interface ProviderStatus {
  /** `quiet`: disabled */
  tone: 'good' | 'quiet' | 'notice' | 'bad'
  /** whether users can sign in with it, in a few words, in the reader's language */
  text: string
  /** why, or what comes next */
  detail?: string | undefined
}

/** This many failures in a row are no coincidence. */
const fewFailures = 3
const urgentDays = 7

type Reader = Pick<Locale, 'lang' | 'say'>

/**
 * Whether users can sign in with a provider: the first of these findings that applies. Recent sign-ins prove more than an older
 * connection test. Anybody can cause failures, so they are never shown as an outage, and one success ends the finding.
 */
export function providerStatus(
  provider: Provider,
  activity: Activity | undefined,
  now: Date,
  reader: Reader,
): ProviderStatus {
  const { say } = reader
  const { enabled, health, testSignInAt } = provider
  const soon = upcoming(provider, now, reader)
  if (!enabled)
    return {
      tone: 'quiet',
      text: say('Disabled'),
      detail: testSignInAt ? say('Tested, ready to enable') : say('Sign-in not tested'),
    }
  const worksUntil = activity?.lastSignInAt
  if (health) {
    const since = sinceWords(health.since, worksUntil, reader)
    return bad(say('Has problems'), `${sentence(say(describeHealth(health)), say)} ${since}`)
  }
  if (secretDaysLeft(provider, now) <= 0) return bad(say('Client secret expired'), soon)
  if (activity?.consentMissingAt)
    return bad(say('Consent missing'), sinceWords(activity.consentMissingAt, undefined, reader))
  const failedTest = failedTestSince(provider, worksUntil)
  if (failedTest) return bad(say(failedTest), testedWords(provider.lastTest?.at ?? '', worksUntil, reader))
  if (activity && activity.failuresSince >= fewFailures)
    return {
      tone: 'notice',
      text: say('Sign-ins fail'),
      detail: failureWords(activity.failuresSince, worksUntil, reader),
    }
  // Passed checks do not prove that a user can sign in.
  if (!worksUntil) return { tone: 'notice', text: say('No sign-in yet'), detail: soon }
  const isUrgent = secretDaysLeft(provider, now) <= urgentDays
  return { tone: isUrgent ? 'notice' : 'good', text: say('Working'), detail: soon }
}

const bad = (text: string, detail: string | undefined): ProviderStatus => ({ tone: 'bad', text, detail })

function sinceWords(at: string, lastSignInAt: string | undefined, reader: Reader): string {
  const since = dateTime(reader, at)
  if (!lastSignInAt) return reader.say('Since {{since}}', { since })
  const lastSignIn = dateTime(reader, lastSignInAt)
  return reader.say('Since {{since}}, last sign-in {{lastSignIn}}', { since, lastSignIn })
}

function testedWords(at: string, lastSignInAt: string | undefined, reader: Reader): string {
  const tested = dateTime(reader, at)
  if (!lastSignInAt) return reader.say('Tested on {{tested}}', { tested })
  const lastSignIn = dateTime(reader, lastSignInAt)
  return reader.say('Tested on {{tested}}, last sign-in {{lastSignIn}}', { tested, lastSignIn })
}

function failureWords(count: number, lastSignInAt: string | undefined, reader: Reader): string {
  if (!lastSignInAt) return reader.say('{{count}} failures, no sign-in yet', { count })
  const lastSignIn = dateTime(reader, lastSignInAt)
  return reader.say('{{count}} failures since the last sign-in on {{lastSignIn}}', { count, lastSignIn })
}

/** A user who has signed in after the test shows that it works again. */
function failedTestSince(provider: Provider, lastSignInAt: string | undefined): string | undefined {
  if (lastSignInAt !== undefined && lastSignInAt > (provider.lastTest?.at ?? '')) return undefined
  const failed = failedChecks(provider).map(({ name }) => name)
  if (failed.length === 0) return undefined
  if (failed.includes('reached')) return phrase('Cannot be reached')
  return failed.includes('keys') ? phrase('Keys unusable') : phrase('Test failed')
}

function failedChecks({ lastTest }: Provider): Check[] {
  return (lastTest?.checks ?? []).filter(({ result }) => result === 'failed')
}

/** A reason to act while it still works. Nothing else warns of an expired secret until sign-ins fail. */
function upcoming(provider: Provider, now: Date, reader: Reader): string | undefined {
  const { say } = reader
  const { clientSecretExpiresAt, retireAt } = provider
  const daysLeft = secretDaysLeft(provider, now)
  if (retireAt) return say('Retires on {{day}}', { day: day(reader, retireAt) })
  if (clientSecretExpiresAt === undefined || daysLeft > 60) return undefined
  return daysLeft <= 0
    ? say('Expired on {{day}}', { day: day(reader, clientSecretExpiresAt) })
    : say('Client secret expires in {{count}} days', { count: daysLeft })
}

function secretDaysLeft({ clientSecretExpiresAt }: Provider, now: Date): number {
  if (clientSecretExpiresAt === undefined) return Number.POSITIVE_INFINITY
  return Math.ceil((Date.parse(clientSecretExpiresAt) - now.getTime()) / DAY)
}

/** True if providers are enabled and none of them works, so that probably nobody can sign in. */
export function allEnabledFail(statuses: readonly ProviderStatus[]): boolean {
  const enabled = statuses.filter(({ tone }) => tone !== 'quiet')
  return enabled.length > 0 && enabled.every(({ tone }) => tone === 'bad')
}
