import type { Knex } from 'knex'
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

const maxTestAgeHours = 12

/**
 * The first provider of a portal replaces the classic login: with a wrong one, its administrator would be locked out with
 * all users. So its test sign-in must be recent and end with an existing user.
 *
 * @param first whether no other provider of the portal is enabled
 * @throws ManagementError `not_allowed` that says what to do
 */
export function assertTestedSignIn(provider: Provider, first: boolean): void {
  const { slug, testSignInAt, testSignInUserId } = provider
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
      `the test sign-in of "${slug}" ended without an existing user, but ${lockOut}: use an account whose address the provider vouches for and a user has (\`portal-sso users add\` adds one to the built-in table), or enable it without a test sign-in on purpose`,
    )
}

/** How many users depend on a provider. */
export interface ProviderUsage {
  /** Number of users who are linked to it. */
  people: number
  /** Number of those without another sign-in method. */
  withoutAlternative: number
}

/** A removed provider that can still be restored. */
export interface RemovedProvider {
  /** Name in URLs. */
  slug: string
  /** Name on the login page. */
  displayName: string
  /** When it was removed. ISO 8601. */
  removedAt: string
}

/**
 * How many users have signed in with a provider, and for how many of them no other enabled provider is linked. In doubt a
 * user counts as one without another method.
 */
export async function providerUsage(
  { knex, providersTable }: ManagementContext,
  slug: string,
  { portal }: ResolvedActOptions,
): Promise<ProviderUsage> {
  const provider = await providersTable.get(portal, slug)
  const others = (await providersTable.listEnabled(portal)).filter(({ id }) => id !== provider.id)
  const otherIds = others.map(({ id }) => id)
  const otherIssuers = others.map(({ issuer }) => issuer).filter((issuer) => issuer !== provider.issuer)
  // Also those from before it was removed and connected again under another id.
  const linked = knex('sso_identities as linked')
    .where('linked.portal', portal)
    .where((through) =>
      through.where('linked.provider_id', provider.id).orWhere('linked.issuer', provider.issuer),
    )
  // Another provider of the same issuer may know its users by other subjects (Entra: one for each registration): only a user
  // who has signed in with it has shown that it works.
  const otherMethod = knex('sso_identities as other')
    .select(knex.raw('1'))
    .whereRaw('other.portal = linked.portal and other.user_id = linked.user_id')
    .where((method) => method.whereIn('other.provider_id', otherIds).orWhereIn('other.issuer', otherIssuers))
  const people = await countUsers(linked.clone())
  return { people, withoutAlternative: await countUsers(linked.whereNotExists(otherMethod)) }
}

async function countUsers(identities: Knex.QueryBuilder): Promise<number> {
  const row = await identities.countDistinct({ users: 'linked.user_id' }).first()
  return Number(row?.users)
}
