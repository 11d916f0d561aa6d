import type { Knex } from 'knex'
import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { SessionsTable } from '../sessions/sessions-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { linkedThrough } from './retire-provider.ts'

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
  relinked(provider: Provider, since: string): Promise<number>
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
    knex('sso_identities').where({ portal, provider_id: id }).where('relinked_at', '>=', since)

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
    async relinked(provider, since) {
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

export interface RebindingPlan {
  /** who is linked through this provider; once it has begun: was linked before */
  people: number
  /** of them, those that would be found again by what stays the same */
  findable: number
  /** the others, a thousand at most: they would have to prove their address, or register again */
  orphans: { userId: string; email: string | undefined }[]
  /** who has been found again since the last rebinding began, which may be over */
  relinked: number
  /** when it began; `undefined` when it is not going on */
  since: string | undefined
}

/**
 * When a provider gives its people new subjects (Entra: a new app registration changes every `sub`): they are found again by
 * tenant and object id, which stay the same, at their next sign-in. Never by an address: those can change hands.
 */
export interface Rebinding {
  /** What would happen; changes nothing. */
  rebindingPlan(slug: string, portal?: string): Promise<RebindingPlan>
  /** Start it with the change at the provider. @throws ConfigurationError when it is going on already */
  startRebinding(slug: string, how?: ActOptions): Promise<void>
  /** From now on nobody is found again so; who was stays. @throws ConfigurationError when it is not going on */
  stopRebinding(slug: string, how?: ActOptions): Promise<void>
  /**
   * Takes back every link that the last rebinding made, ends the sessions of those who came by them, and stops it.
   *
   * @returns how many links
   * @throws ConfigurationError when there never was one
   */
  undoRebinding(slug: string, how?: ActOptions): Promise<number>
}

export interface RebindingParts {
  events: EventLog
  knex: Knex
  index: SessionsTable
  table: ProvidersTable
}

export function createRebinding({ events, knex, index, table }: RebindingParts): Rebinding {
  const rows = createRebindingRows(knex)
  type Step = 'started' | 'stopped' | 'undone'
  const noted = (portal: string, provider: string, actor: string, detail: { step: Step; people: number }) =>
    events.record({ kind: 'provider-rebinding', portal, provider, actor, detail })

  return {
    async rebindingPlan(slug, portal = 'default') {
      const provider = await table.existing(portal, slug)
      const since = provider.rebindingSince
      // The last one is still there to be taken back when it is over.
      const last = await rows.since(provider)
      return {
        ...(await rows.count(provider, since)),
        orphans: await rows.orphans(provider, since),
        relinked: last === undefined ? 0 : await rows.relinked(provider, last),
        since,
      }
    },

    async startRebinding(slug, { portal = 'default', actor = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      const { findable } = await rows.count(provider, undefined)
      if (!(await rows.start(provider)))
        throw new ConfigurationError(`"${slug}": people are found again already`)
      await noted(portal, slug, actor, { step: 'started', people: findable })
    },

    async stopRebinding(slug, { portal = 'default', actor = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      const since = await rows.since(provider)
      if (since === undefined || !(await rows.stop(provider)))
        throw new ConfigurationError(`"${slug}": nobody is found again just now, so there is nothing to stop`)
      await noted(portal, slug, actor, { step: 'stopped', people: await rows.relinked(provider, since) })
    },

    async undoRebinding(slug, { portal = 'default', actor = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      const since = await rows.since(provider)
      if (since === undefined)
        throw new ConfigurationError(`"${slug}": nobody was found again, so there is nothing to take back`)
      // First, or who signs in meanwhile is found again.
      await rows.stop(provider)
      let undone = 0
      for (let links = await rows.reboundLinks(provider, since); links.length > 0; ) {
        const found = links
        const endThem = async (on: Knex) => {
          for (const { issuer, subject } of found) await index.removeQuietly({ portal, issuer, subject }, on)
        }
        // Together: a link that is gone must not leave a session behind that nobody ends.
        await knex.transaction(async (transaction) => {
          await rows.unlink(found, transaction)
          await endThem(transaction)
        })
        // Whose session began meanwhile could see the link until now, and nobody's after that.
        await endThem(knex)
        undone += links.length
        links = await rows.reboundLinks(provider, since)
      }
      await noted(portal, slug, actor, { step: 'undone', people: undone })
      return undone
    },
  }
}
