import type { Knex } from 'knex'
import type { Subject } from './identities-table.ts'

/** An identity, as its user sees it. */
export interface SignInMethod extends Subject {
  /** of the row */
  readonly id: string
  /** what the provider said when it was linked; nobody may have vouched for it */
  readonly email: string | undefined
  /** ISO 8601 */
  readonly linkedAt: string
  /** ISO 8601 */
  readonly lastUsedAt: string
  /** the one that it was used with last; `undefined`: it is gone for good */
  readonly provider: MethodProvider | undefined
}

export interface MethodProvider {
  readonly slug: string
  readonly displayName: string
  readonly preset: string
  readonly position: number
  readonly state: 'enabled' | 'disabled' | 'removed'
}

export interface SignInMethods {
  /** of one user, the oldest first */
  listOf(portal: string, userId: string): Promise<SignInMethod[]>
  /**
   * Takes one away, unless no other would be left that lets its user in.
   *
   * @returns what was taken away; `unknown`: the user has none of that id (any more)
   */
  unlink(portal: string, userId: string, id: string): Promise<SignInMethod | 'last' | 'unknown'>
}

export function createSignInMethods(knex: Knex): SignInMethods {
  return {
    listOf: (portal, userId) => list(knex, portal, userId),
    unlink: (portal, userId, id) =>
      knex.transaction(async (transaction) => {
        // A write that changes nothing: it holds the user's rows until the end, in PostgreSQL and in SQLite. Of two who take away
        // the last two at once, on two instances, the second one looks when the first is done.
        await transaction('sso_identities').where({ portal, user_id: userId }).update({ user_id: userId })
        const methods = await list(transaction, portal, userId)
        const method = methods.find((each) => each.id === id)
        if (!method) return 'unknown'
        if (!mayGo(method, methods)) return 'last'
        await transaction('sso_identities').where({ id }).delete()
        return method
      }),
  }
}

/** Whether its user can still come in without it. */
export function mayGo({ id }: SignInMethod, methods: readonly SignInMethod[]): boolean {
  return methods.some((other) => other.id !== id && other.provider?.state === 'enabled')
}

interface Row {
  id: string
  issuer: string
  subject: string
  email: string | null
  linked_at: string
  last_used_at: string
  slug: string | null
  display_name: string | null
  preset: string | null
  position: number | null
  enabled: boolean | number | null
  removed_at: string | null
}

async function list(on: Knex, portal: string, userId: string): Promise<SignInMethod[]> {
  const rows: Row[] = await on('sso_identities as linked')
    .leftJoin('sso_providers as provider', 'provider.id', 'linked.provider_id')
    .where({ 'linked.portal': portal, 'linked.user_id': userId })
    .orderBy(['linked.linked_at', 'linked.id'])
    .select('linked.id', 'linked.issuer', 'linked.subject', 'linked.email', 'linked.linked_at')
    .select('linked.last_used_at', 'provider.slug', 'provider.display_name', 'provider.preset')
    .select('provider.position', 'provider.enabled', 'provider.removed_at')
  return rows.map(fromRow)
}

function fromRow(row: Row): SignInMethod {
  return {
    id: row.id,
    issuer: row.issuer,
    subject: row.subject,
    email: row.email ?? undefined,
    linkedAt: row.linked_at,
    lastUsedAt: row.last_used_at,
    provider:
      row.slug === null
        ? undefined
        : {
            slug: row.slug,
            displayName: row.display_name ?? row.slug,
            preset: row.preset ?? '',
            position: row.position ?? 0,
            state: stateOf(row),
          },
  }
}

function stateOf({ enabled, removed_at }: Row): MethodProvider['state'] {
  if (removed_at !== null) return 'removed'
  return enabled ? 'enabled' : 'disabled'
}
