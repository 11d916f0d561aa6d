import { LRUCache } from 'lru-cache'
import { isConnectionError, PortalSsoError } from './errors.ts'
import type { Outage } from './outage.ts'
import { SECOND, withTimeout } from './time.ts'

type Probe = () => PromiseLike<unknown>

export interface CircuitBreakerOptions {
  /** for one call */
  timeoutMs: number
  outage: Outage
  /** of the error that callers get while the service is not available */
  code: 'session_unavailable' | 'database_unavailable'
  probe?: Probe
}

const probeIntervalMs = SECOND / 4
/** that are remembered after a failure */
const maxKeys = 1000
/** A request waits this long for a probe, so that the first one after the outage succeeds. */
const probeWaitMs = 50
/** A probe may never settle, because its connection was lost without a sign. */
const probeTimeoutMs = 10 * SECOND

/**
 * Limits how long callers wait for a service. Once it hangs, calls fail at once until a probe succeeds. One probe is in flight at a
 * time, so that neither we nor the client of the service queue anything. Requests start the probes: there is no timer to stop.
 *
 * Attacker: provokes errors. They open nothing, because a service that responds with an error works.
 */
export class CircuitBreaker {
  readonly outage: Outage
  readonly #options: CircuitBreakerOptions
  /** The causes of recent failures. One node of a cluster may be down while the others respond, so that the circuit stays closed. */
  readonly #failedKeys = new LRUCache<string, { cause: unknown; at: number }>({ max: maxKeys })
  /** of the open circuit */
  #cause: unknown
  #probing: Promise<void> | undefined
  // milliseconds, of `performance.now()`
  #respondedAt = Number.NEGATIVE_INFINITY
  #probeAt = 0

  constructor(options: CircuitBreakerOptions) {
    this.#options = options
    this.outage = options.outage
  }

  get isOpen(): boolean {
    return this.#cause !== undefined
  }

  /**
   * @param call a function; or a call that was sent already, whose result is then ignored if the service is not available
   * @param probe tells whether this call would succeed again; default the common one
   * @param key the next calls with this key fail at once, too, so that a request with several of them waits once
   * @throws PortalSsoError with the breaker's code if the service is not available; other errors of the call unchanged
   */
  async run<T>(
    call: PromiseLike<T> | (() => PromiseLike<T>),
    { probe, key = '' }: { probe?: Probe; key?: string | undefined } = {},
  ): Promise<T> {
    const failed = this.#failedKeys.size > 0 ? this.#failedKeys.get(key) : undefined
    const hasJustFailed = failed !== undefined && performance.now() - failed.at < probeIntervalMs
    if (hasJustFailed || this.#cause !== undefined) {
      if (call instanceof Promise) call.catch(() => {})
      if (hasJustFailed || !(await this.#hasRecovered(probe)))
        throw this.#unavailable(this.#cause ?? failed?.cause)
    }
    const sentAt = performance.now()
    try {
      const value = await withTimeout(this.#options.timeoutMs, typeof call === 'function' ? call() : call)
      this.#respondedAt = performance.now()
      this.outage.end()
      return value
    } catch (error) {
      if (!isConnectionError(error)) throw error
      // Otherwise another call has succeeded meanwhile: one node of a cluster is down, one table is locked, or one command is slow.
      if (this.#respondedAt < sentAt) this.#open(error, probe)
      else if (key !== '') this.#failedKeys.set(key, { cause: error, at: performance.now() })
      throw this.#unavailable(error)
    }
  }

  #unavailable(cause: unknown): PortalSsoError {
    this.outage.report(cause)
    return new PortalSsoError(this.#options.code, 'a service that the portal needs', { cause })
  }

  #open(cause: unknown, probe = this.#options.probe): void {
    if (this.isOpen || !probe) return
    this.#cause = cause
    this.#startProbe(probe)
  }

  /** @param probe of the caller: one node of a cluster that is down must not keep those of the others out */
  async #hasRecovered(probe = this.#options.probe): Promise<boolean> {
    const sinceMs = performance.now() - this.#probeAt
    if (sinceMs > (this.#probing === undefined ? probeIntervalMs : probeTimeoutMs)) this.#startProbe(probe)
    if (this.#probing && performance.now() - this.#probeAt < probeWaitMs)
      await withTimeout(probeWaitMs, this.#probing).catch(() => {})
    return !this.isOpen
  }

  #startProbe(probe: Probe | undefined): void {
    this.#probeAt = performance.now()
    const probing = this.#runProbe(probe).then((hasResponded) => {
      if (hasResponded) this.#close()
      if (this.#probing === probing) this.#probing = undefined
    })
    this.#probing = probing
  }

  async #runProbe(probe: Probe | undefined): Promise<boolean> {
    try {
      await probe?.()
      return true
    } catch (error) {
      return !isConnectionError(error)
    }
  }

  #close(): void {
    this.#cause = undefined
    this.#respondedAt = performance.now()
    this.outage.end()
  }
}
