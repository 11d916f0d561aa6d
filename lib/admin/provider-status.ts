import type { Activity } from '../events/event-history.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { DAY } from '../shared/time.ts'
import { count, dateTime, day } from './format.ts'

export interface ProviderState {
  tone: 'good' | 'quiet' | 'notice' | 'bad'
  text: string
}

/** The labels beside a provider's name. The first shows whether users can sign in with it. */
export function providerStates(
  provider: Provider,
  activity: Activity | undefined,
  now: Date,
): ProviderState[] {
  const { enabled, health, retireAt, testSignInAt } = provider
  const problems = [
    // A disabled provider is not probed.
    enabled && health ? bad(`Has problems since ${dateTime(health.since)}`) : undefined,
    testProblem(provider),
    activity?.consentMissingAt ? bad('Consent missing') : undefined,
    secretProblem(provider, now),
  ].filter((problem) => problem !== undefined)
  const states: ProviderState[] = []
  if (!enabled) states.push({ tone: 'quiet', text: 'Disabled' })
  else if (problems.some(({ tone }) => tone === 'bad')) states.push({ tone: 'notice', text: 'Enabled' })
  else if (activity?.lastSignInAt) states.push({ tone: 'good', text: 'Ready' })
  // Passed checks do not prove that a user can sign in.
  else states.push({ tone: 'notice', text: 'Enabled' }, { tone: 'notice', text: 'No sign-in yet' })
  if (!enabled && !testSignInAt) states.push({ tone: 'quiet', text: 'Sign-in not tested' })
  states.push(...problems)
  if (retireAt) states.push({ tone: 'notice', text: `Retiring on ${day(retireAt)}` })
  return states
}

const bad = (text: string): ProviderState => ({ tone: 'bad', text })

function testProblem(provider: Provider): ProviderState | undefined {
  const failed = failedChecks(provider).map(({ name }) => name)
  if (failed.length === 0) return undefined
  if (failed.includes('reached')) return bad('Cannot be reached')
  return bad(failed.includes('keys') ? 'Keys unusable' : 'Test failed')
}

function failedChecks({ lastTest }: Provider): Check[] {
  return (lastTest?.checks ?? []).filter(({ result }) => result === 'failed')
}

/** Nothing else warns of an expired secret until sign-ins fail. */
function secretProblem({ clientSecretExpiresAt }: Provider, now: Date): ProviderState | undefined {
  if (clientSecretExpiresAt === undefined) return undefined
  const daysLeft = Math.ceil((Date.parse(clientSecretExpiresAt) - now.getTime()) / DAY)
  if (daysLeft <= 0) return bad('Client secret has expired')
  if (daysLeft > 60) return undefined
  const text = `Client secret expires in ${count(daysLeft, 'day', 'days')}`
  return { tone: daysLeft > 7 ? 'notice' : 'bad', text }
}

/** True if providers are enabled and the last test of each of them failed, so that probably nobody can sign in. */
export function allEnabledFailed(providers: readonly Provider[]): boolean {
  const enabled = providers.filter((provider) => provider.enabled)
  return enabled.length > 0 && enabled.every((provider) => failedChecks(provider).length > 0)
}
