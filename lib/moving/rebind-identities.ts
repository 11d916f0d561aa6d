import type { Knex } from 'knex'
import { ConfigurationError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { How } from '../providers/how.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { SessionIndex } from '../sessions/session-index.ts'
import { createRebindingRows } from './rebinding-rows.ts'

export interface RebindingPlan {
  /** who is linked through this provider; once it has begun: was linked before */
  people: number
  /** of them, those that would be found again by what stays the same */
  findable: number
  /** the others, a thousand at most: they would have to prove their address, or register again */
  orphans: { userId: string; email: string | undefined }[]
  /** who has been found again since the last rebinding began, which may be over */
  rebound: number
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
  startRebinding(slug: string, how?: How): Promise<void>
  /** From now on nobody is found again so; who was stays. @throws ConfigurationError when it is not going on */
  stopRebinding(slug: string, how?: How): Promise<void>
  /**
   * Takes back every link that the last rebinding made, ends the sessions of those who came by them, and stops it.
   *
   * @returns how many links
   * @throws ConfigurationError when there never was one
   */
  undoRebinding(slug: string, how?: How): Promise<number>
}

export interface RebindingParts {
  events: EventLog
  knex: Knex
  index: SessionIndex
  table: ProvidersTable
}

export function createRebinding({ events, knex, index, table }: RebindingParts): Rebinding {
  const rows = createRebindingRows(knex)
  type Step = 'started' | 'stopped' | 'undone'
  const noted = (portal: string, provider: string, by: string, detail: { step: Step; people: number }) =>
    events.record({ kind: 'provider-rebinding', portal, provider, by, detail })

  return {
    async rebindingPlan(slug, portal = 'default') {
      const provider = await table.existing(portal, slug)
      const since = provider.rebindingSince
      // The last one is still there to be taken back when it is over.
      const last = await rows.since(provider)
      return {
        ...(await rows.count(provider, since)),
        orphans: await rows.orphans(provider, since),
        rebound: last === undefined ? 0 : await rows.rebound(provider, last),
        since,
      }
    },

    async startRebinding(slug, { portal = 'default', by = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      const { findable } = await rows.count(provider, undefined)
      if (!(await rows.start(provider)))
        throw new ConfigurationError(`"${slug}": people are found again already`)
      await noted(portal, slug, by, { step: 'started', people: findable })
    },

    async stopRebinding(slug, { portal = 'default', by = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      const since = await rows.since(provider)
      if (since === undefined || !(await rows.stop(provider)))
        throw new ConfigurationError(`"${slug}": nobody is found again just now, so there is nothing to stop`)
      await noted(portal, slug, by, { step: 'stopped', people: await rows.rebound(provider, since) })
    },

    async undoRebinding(slug, { portal = 'default', by = 'code' } = {}) {
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
      await noted(portal, slug, by, { step: 'undone', people: undone })
      return undone
    },
  }
}
