import { randomBytes } from 'node:crypto'
import type { Knex } from 'knex'
import { digestKey } from '../web/rate-limit.ts'

export type OneTimeLinkKind = 'rehearsal' | 'break-glass'

/** What stands behind a link that is good once. */
export interface OneTimeLink {
  /** digest of what stands in the link */
  id: string
  detail: OneTimeLinkDetail
}

export interface OneTimeLinkDetail {
  /** who made the link */
  actor: string
  /** slug of the provider to rehearse */
  provider?: string | undefined
  /** what became of it */
  outcome?: 'passed' | 'failed' | undefined
}

/** Links that are good once and for 15 minutes. Only a digest is kept: who reads the table cannot use one. */
export interface OneTimeLinks {
  make(
    portal: string,
    kind: OneTimeLinkKind,
    detail: OneTimeLinkDetail,
  ): Promise<{ ticket: string; id: string; expiresAt: Date }>
  /** Looks, and uses nothing up: programs that look into mails open every link. */
  find(portal: string, kind: OneTimeLinkKind, ticket: unknown): Promise<OneTimeLink | undefined>
  /** Uses it up: of several at once one gets it. */
  take(portal: string, kind: OneTimeLinkKind, ticket: unknown): Promise<OneTimeLink | undefined>
  /** Writes down what became of one that was taken. */
  note(id: string, outcome: 'passed' | 'failed'): Promise<void>
  /** @returns `over`: expired before anybody used it, or used, but nothing came of it in time */
  outcome(ticket: string): Promise<'waiting' | 'over' | 'passed' | 'failed'>
}

/** milliseconds that a link is good for, and that something may take to come of it */
const lifetime = 15 * 60_000

interface Row {
  id: string
  detail: string
  expires_at: string
  used_at: string | null
}

export function createOneTimeLinks(knex: Knex): OneTimeLinks {
  const rows = () => knex('sso_one_time_links')
  const read = ({ id, detail }: Row): OneTimeLink => ({ id, detail: JSON.parse(detail) as OneTimeLinkDetail })

  /** of that portal and kind only, unused, and in time */
  function good(portal: string, kind: OneTimeLinkKind, ticket: unknown) {
    // 256 random bits: there is nothing to guess, and nothing that a slow hash would protect.
    const id = typeof ticket === 'string' ? digestKey(ticket) : ''
    const now = new Date().toISOString()
    return rows().where({ id, portal, kind, used_at: null }).where('expires_at', '>', now)
  }

  return {
    async make(portal, kind, detail) {
      const ticket = randomBytes(32).toString('base64url')
      const id = digestKey(ticket)
      const now = Date.now()
      const expiresAt = new Date(now + lifetime)
      await rows().insert({
        id,
        portal,
        kind,
        detail: JSON.stringify(detail),
        created_at: new Date(now).toISOString(),
        expires_at: expiresAt.toISOString(),
      })
      return { ticket, id, expiresAt }
    },
    async find(portal, kind, ticket) {
      const row: Row | undefined = await good(portal, kind, ticket).first()
      return row && read(row)
    },
    async take(portal, kind, ticket) {
      const taken = await good(portal, kind, ticket).update({ used_at: new Date().toISOString() })
      if (taken !== 1) return undefined
      const row: Row | undefined = await rows()
        .where({ id: digestKey(ticket as string) })
        .first()
      return row && read(row)
    },
    async note(id, outcome) {
      const row: Row | undefined = await rows().where({ id }).first()
      if (row)
        await rows()
          .where({ id })
          .update({ detail: JSON.stringify({ ...read(row).detail, outcome }) })
    },
    async outcome(ticket) {
      const row: Row | undefined = await rows()
        .where({ id: digestKey(ticket) })
        .first()
      const { outcome } = row ? read(row).detail : {}
      if (outcome !== undefined) return outcome
      const until = row?.used_at ? Date.parse(row.used_at) + lifetime : Date.parse(row?.expires_at ?? '')
      return until > Date.now() ? 'waiting' : 'over'
    },
  }
}
