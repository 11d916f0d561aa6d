import { randomBytes } from 'node:crypto'
import type { Knex } from 'knex'
import { digest } from '../shared/seal.ts'
import { MINUTE } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

export type OneTimeLinkKind = 'test-sign-in' | 'break-glass'

export interface OneTimeLink {
  /** digest of the token */
  id: string
  detail: OneTimeLinkDetail
}

export interface OneTimeLinkDetail {
  /** actor who created the link */
  actor: string
  /** slug of the provider to test */
  provider?: string | undefined
  outcome?: 'passed' | 'failed' | undefined
}

/** Limits how long a link can be used, and then how long its outcome may take. */
const ttlMs = 15 * MINUTE

interface Row {
  id: string
  detail: string
  expires_at: string
  used_at: string | null
}

/**
 * Links that an administrator hands out: each is used once, within 15 minutes. The table holds digests only, so that an attacker
 * who reads it cannot use a link. A plain hash is enough for 256 random bits.
 */
export class OneTimeLinks {
  readonly #clock: Core['clock']
  readonly #knex: Knex

  constructor({ clock, knex }: Pick<Core, 'clock' | 'knex'>) {
    this.#clock = clock
    this.#knex = knex
  }

  /** @returns the token for the link, which is stored nowhere */
  async create(
    portal: string,
    kind: OneTimeLinkKind,
    detail: OneTimeLinkDetail,
  ): Promise<{ token: string; expiresAt: Date }> {
    const token = randomBytes(32).toString('base64url')
    const now = this.#clock.now()
    const expiresAt = new Date(now + ttlMs)
    await this.#rows().insert({
      id: digest(token),
      portal,
      kind,
      detail: JSON.stringify(detail),
      created_at: new Date(now).toISOString(),
      expires_at: expiresAt.toISOString(),
    })
    return { token, expiresAt }
  }

  /** Does not use the link up: mail scanners open every link. */
  async find(portal: string, kind: OneTimeLinkKind, token: unknown): Promise<OneTimeLink | undefined> {
    const row: Row | undefined = await this.#usable(portal, kind, token).first()
    return row && fromRow(row)
  }

  /** Uses the link up: only one of several concurrent calls gets it. */
  async take(portal: string, kind: OneTimeLinkKind, token: unknown): Promise<OneTimeLink | undefined> {
    const used = await this.#usable(portal, kind, token).update({
      used_at: new Date(this.#clock.now()).toISOString(),
    })
    const row = used === 1 ? await this.#get(digest(token as string)) : undefined
    return row && fromRow(row)
  }

  async setOutcome(id: string, outcome: 'passed' | 'failed'): Promise<void> {
    const row = await this.#get(id)
    if (!row) return
    const detail = JSON.stringify({ ...fromRow(row).detail, outcome })
    await this.#rows().where({ id }).update({ detail })
  }

  /** @returns `expired` if nobody used the link in time, or if its use had no outcome in time */
  async outcome(token: string): Promise<'waiting' | 'expired' | 'passed' | 'failed'> {
    const row = await this.#get(digest(token))
    if (!row) return 'expired'
    const { outcome } = fromRow(row).detail
    if (outcome !== undefined) return outcome
    const until = row.used_at ? Date.parse(row.used_at) + ttlMs : Date.parse(row.expires_at)
    return until > this.#clock.now() ? 'waiting' : 'expired'
  }

  #usable(portal: string, kind: OneTimeLinkKind, token: unknown): Knex.QueryBuilder {
    const id = typeof token === 'string' ? digest(token) : ''
    const now = new Date(this.#clock.now()).toISOString()
    return this.#rows().where({ id, portal, kind, used_at: null }).where('expires_at', '>', now)
  }

  async #get(id: string): Promise<Row | undefined> {
    return await this.#rows().where({ id }).first()
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_one_time_links')
  }
}

function fromRow({ id, detail }: Row): OneTimeLink {
  return { id, detail: JSON.parse(detail) as OneTimeLinkDetail }
}
