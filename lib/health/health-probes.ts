import type { Knex } from 'knex'
import { LRUCache } from 'lru-cache'
import { isUniqueViolation } from '../database/connect.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Fault } from '../oidc/find-fault.ts'
import type { HttpClient, HttpClients, ProviderFetch } from '../oidc/http-client.ts'
import type { Provider, ProviderHealth } from '../providers/provider.ts'
import {
  healthColumns,
  type ProviderRow,
  providerColumns,
  providerFromRow,
} from '../providers/providers-table.ts'
import { describeError } from '../shared/errors.ts'
import { HOUR, MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** A restart of the provider that takes less is no outage. */
const confirmAfterMs = 3 * SECOND
/** between two suspicions of this instance about one provider, and between two probes while users try a failing one */
const suspicionPauseMs = 15 * SECOND
/** after a probe that found no fault, and at the start of an outage; the pause then grows with the outage */
const minPauseMs = MINUTE
const maxPauseMs = HOUR
/** Per instance. Attacker: an administrator whose providers all hang, so that no outage of another portal is confirmed. */
const maxProbes = 8
const maxProbesPerPortal = 2
const maxSuspected = 10_000
const stopTimeoutMs = SECOND

interface Probe {
  provider: Provider
  /** identifies the probe in the row: a later one overwrites it */
  claimedAt: string
  asksToken: boolean
}

/**
 * Confirms faults of providers by a probe, which one instance sends for all, and notices when they end. Only providers that have just
 * failed are probed. No request waits for any of this, and a successful sign-in costs no statement.
 */
export class HealthProbes {
  readonly #clock: Core['clock']
  readonly #knex: Knex
  readonly #logger: Core['logger']
  readonly #events: EventLog
  readonly #outbound: HttpClients
  /** provider → milliseconds since 1970 */
  readonly #suspectedAt = new LRUCache<string, number>({ maxSize: maxSuspected, sizeCalculation: () => 1 })
  /** portal → suspicions in progress */
  readonly #suspicions = new Map<string, number>()
  readonly #pending = new Set<Promise<void>>()
  /** end the pauses in progress */
  readonly #wake = new Set<() => void>()
  readonly #stopping = new AbortController()

  constructor(
    { clock, knex, logger }: Pick<Core, 'clock' | 'knex' | 'logger'>,
    { events, outbound }: { events: EventLog; outbound: HttpClients },
  ) {
    this.#clock = clock
    this.#knex = knex
    this.#logger = logger
    this.#events = events
    this.#outbound = outbound
  }

  /**
   * Probes a provider in the background, because a request to it has failed, or users do not return from it. Attacker: a visitor who
   * lets sign-ins fail. They cause one probe of three requests per 15 seconds and instance, and cannot make it find a fault.
   *
   * @param asksToken whether the probe includes the token endpoint
   */
  suspect(provider: Provider, asksToken = false): void {
    const now = Date.now()
    const { id, enabled, portal, health } = provider
    const isRecent = now - (this.#suspectedAt.get(id) ?? 0) < suspicionPauseMs
    const inPortal = this.#suspicions.get(portal) ?? 0
    if (
      !enabled ||
      isRecent ||
      this.#isStopped ||
      inPortal >= maxProbesPerPortal ||
      this.#count() >= maxProbes
    )
      return
    this.#suspectedAt.set(id, now)
    this.#suspicions.set(portal, inPortal + 1)
    const confirm = async () => {
      const claimedAt = health ? await this.#claimFailing(id) : await this.#claimWorking(id)
      if (claimedAt === undefined) return
      if (!health) await this.#pause()
      await this.#probe({ provider, claimedAt, asksToken: asksToken || health?.endpoint === 'token' })
    }
    void this.#run(confirm()).then(() => {
      const left = (this.#suspicions.get(portal) ?? 0) - 1
      if (left > 0) this.#suspicions.set(portal, left)
      else this.#suspicions.delete(portal)
    })
  }

  /** A sign-in with a failing provider has succeeded. */
  recover(provider: Provider): void {
    void this.#run(this.#endOutage(provider))
  }

  /** Probes the providers whose pause has passed, at most eight. Several instances may do so at the same time. */
  async probeDue(): Promise<void> {
    await this.#deleteObsolete()
    const due: (ProviderRow & { claimedAt: string })[] = await this.#rows()
      .join('sso_providers', 'id', 'provider_id')
      .select({ ...providerColumns(), claimedAt: 'claimed_at' }, ...healthColumns)
      .where('due_at', '<=', this.#timestamp())
      .orderBy('due_at')
      .limit(maxProbes)
    const probes = due.map(async (row) => {
      const provider = providerFromRow(row)
      const claimedAt = await this.#claim(provider.id, (rows) => rows.where({ claimed_at: row.claimedAt }))
      if (claimedAt === undefined) return
      await this.#probe({ provider, claimedAt, asksToken: provider.health?.endpoint === 'token' })
    })
    await Promise.all(probes.map((probe) => this.#run(probe)))
  }

  /** Probes in progress record nothing more: the closing connections would look like a fault of the provider. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const wake of this.#wake) wake()
    await withTimeout(stopTimeoutMs, Promise.all(this.#pending)).catch(() => {})
  }

  get #isStopped(): boolean {
    return this.#stopping.signal.aborted
  }

  #count(): number {
    return [...this.#suspicions.values()].reduce((sum, each) => sum + each, 0)
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_provider_health')
  }

  #run(work: Promise<void>): Promise<void> {
    const done = work
      .catch((error: unknown) => {
        if (this.#isStopped) return
        this.#logger.warn({ cause: describeError(error) }, 'the health of a provider could not be recorded')
      })
      .finally(() => this.#pending.delete(done))
    this.#pending.add(done)
    return done
  }

  async #pause(): Promise<void> {
    let wake = () => {}
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, confirmAfterMs)
      timer.unref()
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#wake.add(wake)
    })
    this.#wake.delete(wake)
  }

  /** @returns `undefined` if another instance probes it, or has probed it within the last minute */
  async #claimWorking(provider_id: string): Promise<string | undefined> {
    const now = this.#timestamp()
    try {
      await this.#rows().insert({ provider_id, claimed_at: now, due_at: this.#timestamp(minPauseMs) })
      return now
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      return await this.#claim(provider_id, (rows) =>
        rows.whereNull('failing_since').where('due_at', '<=', now),
      )
    }
  }

  /** @returns `undefined` if another instance probes it, or has just probed it */
  async #claimFailing(id: string): Promise<string | undefined> {
    const latest = this.#timestamp(-suspicionPauseMs)
    return await this.#claim(id, (rows) => rows.where('claimed_at', '<=', latest))
  }

  async #claim(
    provider_id: string,
    isFree: (rows: Knex.QueryBuilder) => Knex.QueryBuilder,
  ): Promise<string | undefined> {
    const now = this.#timestamp()
    // If this instance dies, another one probes it a minute later.
    const claim = { claimed_at: now, due_at: this.#timestamp(minPauseMs) }
    return (await isFree(this.#rows().where({ provider_id })).update(claim)) === 1 ? now : undefined
  }

  async #probe(probe: Probe): Promise<void> {
    const { provider, asksToken } = probe
    // Connections and a circuit breaker of their own, and the same address rules as for a sign-in.
    const outbound = this.#outbound.clientFor(`health ${provider.id}`, provider)
    const { findFault } = await import('../oidc/find-fault.ts')
    const fault = await findFault(provider, withSignal(outbound, this.#stopping.signal), { asksToken })
    if (this.#isStopped) return
    if (fault === undefined && provider.health) return await this.#endOutage(provider)
    if (fault === undefined || fault === 'unclear') return await this.#postpone(probe)
    await this.#recordFault(probe, fault)
  }

  /** No fault, or an unclear result: the state stays as it is, and the next probe has to wait. */
  async #postpone({ provider: { id, health }, claimedAt }: Probe): Promise<void> {
    const due_at = this.#timestamp(this.#pauseMs(health))
    await this.#rows()
      .where({ provider_id: id, claimed_at: claimedAt })
      .update({ checked_at: this.#timestamp(), due_at })
  }

  async #recordFault({ provider, claimedAt }: Probe, { endpoint, fault }: Fault): Promise<void> {
    const { id, portal, slug, health } = provider
    const claimed = () => this.#rows().where({ provider_id: id, claimed_at: claimedAt })
    const found = {
      endpoint,
      fault,
      checked_at: this.#timestamp(),
      due_at: this.#timestamp(this.#pauseMs(health)),
    }
    // Of two probes, one starts the outage.
    const started = await claimed()
      .whereNull('failing_since')
      .update({ failing_since: found.checked_at, ...found })
    if (started === 0) {
      await claimed().update(found)
      return
    }
    const detail = { endpoint, fault }
    this.#logger.warn({ portal, provider: slug, ...detail }, 'a provider is unavailable')
    await this.#events.record({
      kind: 'provider-unavailable',
      portal,
      provider: slug,
      actor: 'maintenance',
      detail,
    })
  }

  async #endOutage({ id, portal, slug, health }: Provider): Promise<void> {
    const ended = await this.#rows().where({ provider_id: id }).whereNotNull('failing_since').delete()
    if (ended === 0 || !health) return
    const detail = { since: health.since }
    this.#logger.info({ portal, provider: slug, ...detail }, 'a provider is available again')
    await this.#events.record({
      kind: 'provider-recovered',
      portal,
      provider: slug,
      actor: 'maintenance',
      detail,
    })
  }

  /** Rows of providers that are disabled or gone, and suspicions that were not confirmed. */
  async #deleteObsolete(): Promise<void> {
    const enabled = this.#knex('sso_providers')
      .select(this.#knex.raw('1'))
      .whereRaw('sso_providers.id = sso_provider_health.provider_id')
      .where({ enabled: true })
      .whereNull('removed_at')
    await this.#rows()
      .whereNotExists(enabled)
      .orWhere((rows) =>
        rows.whereNull('failing_since').whereNotNull('checked_at').where('due_at', '<=', this.#timestamp()),
      )
      .delete()
  }

  /** As long as the outage has lasted, within bounds: each pause about doubles it. */
  #pauseMs(health: ProviderHealth | undefined): number {
    const outageMs = health ? this.#clock.now() - Date.parse(health.since) : 0
    return Math.min(Math.max(outageMs, minPauseMs), maxPauseMs)
  }

  /** By the database's time: an instance whose clock is wrong must not reserve a provider for an hour. */
  #timestamp(inMs = 0): string {
    return new Date(this.#clock.now() + inMs).toISOString()
  }
}

function withSignal(outbound: HttpClient, signal: AbortSignal): HttpClient {
  const abortable =
    (send: ProviderFetch): ProviderFetch =>
    async (url, options) =>
      await send(url, { ...options, signal })
  return {
    ...outbound,
    fetch: abortable(outbound.fetch),
    fetchFollowingRedirects: abortable(outbound.fetchFollowingRedirects),
  }
}
