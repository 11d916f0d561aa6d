import type { Knex } from 'knex'
import type { Provider } from '../providers/provider.ts'
import { linkedThrough } from './dependents.ts'

export interface ReboundLink {
  id: string
  issuer: string
  subject: string
}

export interface RebindingRows {
  /** @returns whether it was not on before */
  start(provider: Provider): Promise<boolean>
  /** @returns whether it was on */
  stop(provider: Provider): Promise<boolean>
  /** when the last one began, also when it is over */
  since(provider: Provider): Promise<string | undefined>
  count(provider: Provider, since: string | undefined): Promise<{ people: number; findable: number }>
  /** People without what stays the same, and without a link from after `since`; at most a thousand. */
  orphans(
    provider: Provider,
    since: string | undefined,
  ): Promise<{ userId: string; email: string | undefined }[]>
  rebound(provider: Provider, since: string): Promise<number>
  /** Links that a rebinding made, at most a thousand. */
  reboundLinks(provider: Provider, since: string): Promise<ReboundLink[]>
  unlink(links: readonly ReboundLink[], on: Knex): Promise<void>
}

export function createRebindingRows(knex: Knex): RebindingRows {
  const row = ({ id }: Provider) => knex('sso_providers').where({ id })
  const now = () => new Date().toISOString()
  // What is looked up at a sign-in changes: routers are to be built anew.
  const next = () => ({ version: knex.raw('version + 1'), updated_at: now() })
  const before = (provider: Provider, since: string | undefined) => {
    const links = linkedThrough(knex, provider)
    return since === undefined ? links : links.where('linked.linked_at', '<', since)
  }
  const made = ({ portal, id }: Provider, since: string) =>
    knex('sso_identities').where({ portal, provider_id: id }).where('rebound_at', '>=', since)

  return {
    async start(provider) {
      const started = await row(provider)
        .where((off) => off.whereNull('rebinding_since').orWhereNotNull('rebinding_until'))
        .update({ rebinding_since: now(), rebinding_until: null, ...next() })
      return started === 1
    },
    async stop(provider) {
      const stopped = await row(provider)
        .whereNotNull('rebinding_since')
        .whereNull('rebinding_until')
        .update({ rebinding_until: now(), ...next() })
      return stopped === 1
    },
    async since(provider) {
      const found = await row(provider).first('rebinding_since')
      return found?.rebinding_since ?? undefined
    },
    async count(provider, since) {
      const people = await before(provider, since).countDistinct({ people: 'linked.user_id' }).first()
      const findable = await before(provider, since)
        .whereNotNull('linked.tenant_id')
        .whereNotNull('linked.object_id')
        .countDistinct({ people: 'linked.user_id' })
        .first()
      return { people: Number(people?.people), findable: Number(findable?.people) }
    },
    async orphans(provider, since) {
      const query = before(provider, since)
        .select({ userId: 'linked.user_id' })
        .max({ email: 'linked.email' })
        .groupBy('linked.user_id')
        .havingRaw('count(linked.object_id) = 0')
        .orderBy('linked.user_id')
        .limit(1000)
      if (since !== undefined)
        query.whereNotExists(
          knex('sso_identities as newer')
            .select(knex.raw('1'))
            .whereRaw('newer.portal = linked.portal and newer.user_id = linked.user_id')
            .where('newer.provider_id', provider.id)
            .where('newer.linked_at', '>=', since),
        )
      const rows: { userId: string; email: string | null }[] = await query
      return rows.map(({ userId, email }) => ({ userId, email: email ?? undefined }))
    },
    async rebound(provider, since) {
      const found = await made(provider, since).countDistinct({ people: 'user_id' }).first()
      return Number(found?.people)
    },
    async reboundLinks(provider, since) {
      return await made(provider, since).select('id', 'issuer', 'subject').limit(1000)
    },
    async unlink(links, on) {
      await on('sso_identities')
        .whereIn(
          'id',
          links.map(({ id }) => id),
        )
        .delete()
    },
  }
}
