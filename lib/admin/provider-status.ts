import type { Activity } from '../events/event-history.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { count, day } from './format.ts'

export interface ProviderState {
  tone: 'good' | 'quiet' | 'notice' | 'bad'
  text: string
}

const dayMs = 24 * 3_600_000

/** The labels beside a provider's name. The first shows whether users can sign in with it. */
export function providerStates(
  provider: Provider,
  activity: Activity | undefined,
  now: Date,
): ProviderState[] {
  const problems = [
    ...testStates(provider),
    ...(activity?.consentMissingAt ? [{ tone: 'bad', text: 'Consent missing' } as const] : []),
    ...secretStates(provider, now),
  ]
  return [
    mainState(provider, problems),
    ...(provider.enabled || provider.testSignInAt
      ? []
      : [{ tone: 'quiet', text: 'Sign-in not tested' } as const]),
    ...problems,
    ...(provider.retireAt
      ? [{ tone: 'notice', text: `Retiring on ${day(provider.retireAt)}` } as const]
      : []),
  ]
}

function mainState({ enabled }: Provider, problems: ProviderState[]): ProviderState {
  if (!enabled) return { tone: 'quiet', text: 'Disabled' }
  return problems.some(({ tone }) => tone === 'bad')
    ? { tone: 'notice', text: 'Enabled' }
    : { tone: 'good', text: 'Ready' }
}

function testStates(provider: Provider): ProviderState[] {
  const failed = failedChecks(provider).map(({ name }) => name)
  if (failed.length === 0) return []
  if (failed.includes('reached')) return [{ tone: 'bad', text: 'Cannot be reached' }]
  if (failed.includes('keys')) return [{ tone: 'bad', text: 'Keys unusable' }]
  return [{ tone: 'bad', text: 'Test failed' }]
}

function failedChecks({ lastTest }: Provider): Check[] {
  return (lastTest?.checks ?? []).filter(({ result }) => result === 'failed')
}

/** Nothing else warns of an expired secret until sign-ins fail. */
function secretStates({ clientSecretExpiresAt }: Provider, now: Date): ProviderState[] {
  if (clientSecretExpiresAt === undefined) return []
  const daysLeft = Math.ceil((Date.parse(clientSecretExpiresAt) - now.getTime()) / dayMs)
  if (daysLeft <= 0) return [{ tone: 'bad', text: 'Client secret has expired' }]
  if (daysLeft > 60) return []
  const text = `Client secret expires in ${count(daysLeft, 'day', 'days')}`
  return [{ tone: daysLeft > 7 ? 'notice' : 'bad', text }]
}

/** True if providers are enabled and the last test of each of them failed, so that probably nobody can sign in. */
export function allEnabledFailed(providers: readonly Provider[]): boolean {
  const enabled = providers.filter((provider) => provider.enabled)
  return enabled.length > 0 && enabled.every((provider) => failedChecks(provider).length > 0)
}
