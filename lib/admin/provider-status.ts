import type { Activity } from '../events/event-history.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { count, day } from './format.ts'

export interface State {
  tone: 'good' | 'quiet' | 'notice' | 'bad'
  text: string
}

const dayLong = 24 * 3_600_000

/** What an administrator has to know of a provider at a glance; the first says whether people can use it. */
export function statesOf(provider: Provider, activity: Activity | undefined, now: Date): State[] {
  const troubles = [
    ...testStates(provider),
    ...(activity?.consentMissingAt ? [{ tone: 'bad', text: 'Consent missing' } as const] : []),
    ...secretStates(provider, now),
  ]
  return [
    mainState(provider, troubles),
    ...(provider.enabled || provider.testSignInAt ? [] : [{ tone: 'quiet', text: 'Not rehearsed' } as const]),
    ...troubles,
    ...(provider.retireAt
      ? [{ tone: 'notice', text: `Retiring on ${day(provider.retireAt)}` } as const]
      : []),
    ...(provider.rebindingSince ? [{ tone: 'notice', text: 'Finding people again' } as const] : []),
  ]
}

function mainState({ enabled }: Provider, troubles: State[]): State {
  if (!enabled) return { tone: 'quiet', text: 'Disabled' }
  return troubles.some(({ tone }) => tone === 'bad')
    ? { tone: 'notice', text: 'Enabled' }
    : { tone: 'good', text: 'Ready' }
}

function testStates(provider: Provider): State[] {
  const failed = failedChecks(provider).map(({ name }) => name)
  if (failed.length === 0) return []
  if (failed.includes('reached')) return [{ tone: 'bad', text: 'Cannot be reached' }]
  if (failed.includes('keys')) return [{ tone: 'bad', text: 'Keys unusable' }]
  return [{ tone: 'bad', text: 'Test failed' }]
}

function failedChecks({ lastTest }: Provider): Check[] {
  return (lastTest?.checks ?? []).filter(({ result }) => result === 'failed')
}

/** Warns before the secret expires, because nobody can sign in from then on. */
function secretStates({ clientSecretExpiresAt: expiresAt }: Provider, now: Date): State[] {
  if (expiresAt === undefined) return []
  const left = Math.ceil((Date.parse(expiresAt) - now.getTime()) / dayLong)
  if (left <= 0) return [{ tone: 'bad', text: 'Client secret has expired' }]
  if (left > 60) return []
  return [
    { tone: left > 7 ? 'notice' : 'bad', text: `Client secret expires in ${count(left, 'day', 'days')}` },
  ]
}

/** Whether nobody can come in: some are enabled, and the last test of each of them failed. */
export function allFail(providers: readonly Provider[]): boolean {
  const enabled = providers.filter((provider) => provider.enabled)
  return enabled.length > 0 && enabled.every((provider) => failedChecks(provider).length > 0)
}
