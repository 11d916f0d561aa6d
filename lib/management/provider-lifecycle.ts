import type { Knex } from 'knex'
import type { Provider } from '../providers/provider.ts'
import type { ActOptions, ResolvedActOptions } from '../shared/act-options.ts'
import { ManagementError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
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

/** The reason why a provider cannot be enabled yet. `no_user`: its test sign-in ended without an existing user. */
export type EnableObstacle = 'untested' | 'outdated' | 'no_user'

/**
 * The first provider of a portal replaces the classic login: with a wrong one, its administrator would be locked out with
 * all users. So its test sign-in must be recent and end with an existing user.
 *
 * @param first whether no other provider of the portal is enabled
 */
export function findObstacle(
  { testSignInAt, testSignInUserId }: Provider,
  first: boolean,
): EnableObstacle | undefined {
  if (testSignInAt === undefined) return 'untested'
  if (!first) return undefined
  if (Date.now() - Date.parse(testSignInAt) > maxTestAgeHours * HOUR) return 'outdated'
  return testSignInUserId === undefined ? 'no_user' : undefined
}

/** @throws ManagementError `not_allowed` that says what to do */
export function assertTestedSignIn(provider: Provider, first: boolean): void {
  const obstacle = findObstacle(provider, first)
  if (obstacle === undefined) return
  const { slug } = provider
  const values = { slug, hours: maxTestAgeHours, command: `portal-sso providers test-sign-in ${slug}` }
  const messages = {
    untested: phrase(
      'no test sign-in has passed with the current settings of "{{slug}}": run a test sign-in (admin pages, or `{{command}}`), or enable it without one on purpose',
      values,
    ),
    outdated: phrase(
      'the test sign-in of "{{slug}}" is older than {{hours}} hours, but it would be the only sign-in method and replace the classic login: run a test sign-in (admin pages, or `{{command}}`), or enable it without one on purpose',
      values,
    ),
    no_user: phrase(
      'the test sign-in of "{{slug}}" ended without an existing user, but it would be the only sign-in method and replace the classic login: use an account whose address the provider vouches for and a user has (`portal-sso users add` adds one to the built-in table), or enable it without a test sign-in on purpose',
      values,
    ),
  }
  throw new ManagementError('not_allowed', messages[obstacle])
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

/** Options of `usage`. */
export interface UsageOptions extends ActOptions {
  /** Stop counting soon after so many users. Default: count all, which takes seconds for a million. */
  most?: number | undefined
}

/**
 * How many users have signed in with a provider, and for how many of them no other enabled provider is linked. In doubt a
 * user counts as one without another method.
 */
export async function providerUsage(
  { knex, providersTable }: ManagementContext,
  slug: string,
  { portal, most }: ResolvedActOptions & UsageOptions,
): Promise<ProviderUsage> {
  const { id, issuer } = await providersTable.get(portal, slug)
  const linked = (column: 'provider_id' | 'issuer', value: string): Knex.QueryBuilder => {
    const found = knex('sso_identities').select('user_id').where({ portal })
    if (most === undefined) return found.where(column, value)
    // A range in the order of the index: PostgreSQL would rather read the table if half of it matches.
    const first = found
      .whereBetween(column, [value, value])
      .orderBy(column)
      .limit(most + 1)
    return knex.from(first.as('found')).select('user_id')
  }
  // Also those from before it was removed and connected again under another id. One look-up each: `or` would read the whole table.
  const users = linked('provider_id', id).union(linked('issuer', issuer))
  // Not `exists`: PostgreSQL would collect the methods of all users of the portal first.
  const otherMethod = (join: Record<string, string>) =>
    knex('sso_identities as other')
      .join('sso_providers as provider', join)
      .select('other.id')
      .limit(1)
      .where({ 'other.portal': portal, 'provider.portal': portal, 'provider.enabled': true })
      .whereRaw('other.user_id = users.user_id')
      .whereNot({ 'provider.id': id })
      .whereNull('provider.removed_at')
      .where((now) => {
        now.whereNull('provider.retire_at').orWhere('provider.retire_at', '>', new Date().toISOString())
      })
  // Another provider of the same issuer may know its users by other subjects (Entra: one for each registration): only a user
  // who has signed in with it has shown that it works.
  const byProvider = otherMethod({ 'provider.id': 'other.provider_id' })
  const byIssuer = otherMethod({ 'provider.issuer': 'other.issuer' }).whereNot({ 'other.issuer': issuer })
  const row = await knex
    .from(users.as('users'))
    .select(
      knex.raw(
        'count(*) as people, sum(case when coalesce(?, ?) is not null then 0 else 1 end) as without_alternative',
        [byProvider, byIssuer],
      ),
    )
    .first()
  return { people: Number(row?.people), withoutAlternative: Number(row?.without_alternative ?? 0) }
}
