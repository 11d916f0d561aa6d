import type { Provider } from '../providers/provider.ts'
import type { ActOptions, ResolvedActOptions } from '../shared/act-options.ts'
import { ManagementError } from '../shared/errors.ts'
import { HOUR } from '../shared/time.ts'
import type { ManagementContext } from './context.ts'

/** Options of `enable`. */
export interface EnableOptions extends ActOptions {
  /** Enable it although no test sign-in has passed. The event log records it. Default false. */
  withoutTestSignIn?: boolean | undefined
}

/** Options of `disable` and `remove`. */
export interface DisableOptions extends ActOptions {
  /** Also end the sessions that started with it. Default false: they last until they expire. */
  endSessions?: boolean | undefined
}

export async function enableProvider(
  { events, providersTable }: ManagementContext,
  slug: string,
  { portal, actor, withoutTestSignIn = false }: ResolvedActOptions & EnableOptions,
): Promise<void> {
  const provider = await providersTable.get(portal, slug)
  // Enabling an enabled provider reads its metadata again and changes nothing for users.
  if (!provider.enabled && !withoutTestSignIn)
    assertTestedSignIn(provider, !(await providersTable.anyEnabled(portal)))
  await providersTable.setEnabled(provider, true)
  const testSignIn = withoutTestSignIn ? ('overridden' as const) : ('passed' as const)
  const detail = { change: 'enabled', ...(!provider.enabled && { testSignIn }) }
  await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
}

export async function disableProvider(
  { sessions, events, providersTable }: ManagementContext,
  slug: string,
  { portal, actor, endSessions = false }: ResolvedActOptions & DisableOptions,
): Promise<void> {
  const provider = await providersTable.get(portal, slug)
  await providersTable.setEnabled(provider, false, endSessions ? 'end' : undefined)
  if (endSessions) await sessions.endAll({ portal, provider: slug })
  const detail = { change: endSessions ? 'disabled, its sessions end' : 'disabled' }
  await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
}

export async function removeProvider(
  { sessions, events, providersTable }: ManagementContext,
  slug: string,
  { portal, actor, endSessions = false }: ResolvedActOptions & DisableOptions,
): Promise<void> {
  const provider = await providersTable.get(portal, slug)
  await providersTable.remove(provider, endSessions ? 'end' : undefined)
  if (endSessions) await sessions.endAll({ portal, provider: slug })
  await events.record({ kind: 'provider-removed', portal, provider: slug, actor })
}

/** @param slug `undefined`: no provider is recommended */
export async function recommendProvider(
  { events, providersTable }: ManagementContext,
  slug: string | undefined,
  { portal, actor }: ResolvedActOptions,
): Promise<void> {
  if (slug !== undefined) await providersTable.get(portal, slug)
  const before = (await providersTable.list(portal)).filter(({ recommended }) => recommended)
  await providersTable.recommend(portal, slug)
  const changed = (provider: string, change: string) =>
    events.record({ kind: 'provider-changed', portal, provider, actor, detail: { change } })
  if (slug !== undefined) await changed(slug, 'recommended')
  for (const { slug: other } of before) if (other !== slug) await changed(other, 'no longer recommended')
}

export async function reorderProviders(
  { events, providersTable }: ManagementContext,
  slugs: readonly string[],
  { portal, actor }: ResolvedActOptions,
): Promise<void> {
  for (const slug of slugs) await providersTable.get(portal, slug)
  await providersTable.reorder(portal, slugs)
  const [provider] = slugs
  if (provider === undefined) return
  const detail = { change: `order: ${slugs.join(', ')}` }
  await events.record({ kind: 'provider-changed', portal, provider, actor, detail })
}

const maxTestAgeHours = 12

/**
 * The first provider of a portal replaces the classic login: with a wrong one, its administrator would be locked out with
 * all users. So its test sign-in must be recent and end with an existing user.
 *
 * @param first whether no other provider of the portal is enabled
 * @throws ManagementError `not_allowed` that says what to do
 */
export function assertTestedSignIn(
  { slug, testSignInAt, testSignInUserId }: Pick<Provider, 'slug' | 'testSignInAt' | 'testSignInUserId'>,
  first: boolean,
): void {
  const instead = `run a test sign-in (admin pages, or \`portal-sso providers test-sign-in ${slug}\`), or enable it without one on purpose`
  const notAllowed = (message: string) => new ManagementError('not_allowed', message)
  if (testSignInAt === undefined)
    throw notAllowed(`no test sign-in has passed with the current settings of "${slug}": ${instead}`)
  if (!first) return
  const lockOut = 'it would be the only sign-in method and replace the classic login'
  if (Date.now() - Date.parse(testSignInAt) > maxTestAgeHours * HOUR)
    throw notAllowed(
      `the test sign-in of "${slug}" is older than ${maxTestAgeHours} hours, but ${lockOut}: ${instead}`,
    )
  if (testSignInUserId === undefined)
    throw notAllowed(
      `the test sign-in of "${slug}" ended without an existing user, but ${lockOut}: use an account whose address the provider vouches for and the portal knows, or enable it without a test sign-in on purpose`,
    )
}
