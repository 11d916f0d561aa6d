import { randomBytes } from 'node:crypto'
import type { Request, Response } from 'express'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { changeRows, insertInto } from '../database/statement.ts'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { RedisLike } from '../sessions/redis-client.ts'
import type { CircuitBreaker } from '../shared/circuit-breaker.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { digest } from '../shared/seal.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { type CookieCore, cookiesOf, SealedCookies } from '../web/sealed-cookie.ts'

/** Why a user is sent to a provider. It decides which handler gets the authorization response. */
export type Purpose =
  | { kind: 'sign-in' }
  /** The user signs in with a linked provider to prove which account the pending registration belongs to. */
  | { kind: 'prove-account'; registrationId: string }
  /** The signed-in user adds a sign-in method. The response does not start a session. */
  | { kind: 'link-account'; userId: string }
  /** An administrator tests the provider. The response produces a report and never starts a session. */
  | TestPurpose

export interface TestPurpose {
  kind: 'test'
  /** actor for the event log */
  actor: string
  /** set if a terminal waits for the outcome */
  oneTimeLinkId?: string | undefined
  /** the test has passed, and is recorded: this second response only shows whether the provider asks users to authenticate again */
  passed?: true
}

/** The time from a click on a provider until its authorization response. */
export interface Attempt {
  portal: string
  providerId: string
  /** of the provider's row when the attempt started */
  version: number
  nonce: string
  codeVerifier: string
  purpose: Purpose
  returnTo?: string | undefined
  reauthentication?: ReauthenticationRequirement | undefined
  /** the provider was told to ask for the account */
  otherAccount?: true | undefined
  /** set in the second attempt, which is not restarted again */
  restarted?: true | undefined
  /** `prompt=login` was sent in place of `max_age`: some providers respond to both together with a 500 */
  askedLogin?: true | undefined
  /** set in the second attempt at a re-authentication, which is the last one without a click */
  retried?: true | undefined
}

/** The part of a used attempt that a restart needs. */
export type UsedAttempt = Omit<Attempt, 'portal' | 'version' | 'nonce' | 'codeVerifier'>

/** An attempt whose authorization response has arrived. */
export interface CompletedAttempt extends Attempt {
  /** milliseconds since 1970 */
  startedAt: number
}

/** Requirements of a page for the authentication (OpenID Connect Core 3.1.2.1). */
export interface ReauthenticationRequirement {
  /** `max_age`: seconds since the user authenticated at the provider */
  maxAge?: number | undefined
  /** `acr_values`: any of these is sufficient */
  acr?: readonly string[] | undefined
}

export type TakeResult =
  | { attempt: CompletedAttempt }
  /** `spent`: its response has arrived before. `redeemed`: another request, perhaps still in progress, has sent its code */
  | { used: UsedAttempt; reason: 'expired' | 'spent' | 'redeemed' }

/** A user may spend this long at the provider. */
const attemptSeconds = 600
/** The browser keeps an expired attempt for its deep link. */
const usedMarkerSeconds = 4 * 3600

// Servers refuse a `Cookie` header over 8 KB, which locks the browser out of the whole site. Ours stay below 7.7 KB: 3 KB for
// all attempts, 3.3 KB for a pending registration, the rest for the session and the small cookies.
const maxCookieBytes = 3000

// A used attempt loses a longer deep link, because the same response sets the cookie of a session or of a pending registration.
const maxUsedLinkLength = 300

/** Only a state that we made may become part of a cookie's name. */
const statePattern = /^[a-z0-9]{6,8}-[\w-]{32}$/
/** The name of an attempt's cookie, of any instance. */
const attemptPattern = /[-.]attempt-[a-z0-9]{6,8}-[\w-]{32}$/

/** As sealed into its cookie. `until`: milliseconds since 1970; left out once its response has arrived */
export type FoundAttempt = { attempt: Attempt; until: number } | { attempt: UsedAttempt }

/**
 * Each attempt has a sealed cookie named after its `state`, so that tabs do not disturb each other and any instance can finish
 * it. It also stops login CSRF: a victim who is sent an attacker's response lacks the attacker's cookie.
 */
export class Attempts {
  readonly #cookies: SealedCookies<FoundAttempt>
  readonly #usedMarkers: SealedCookies<FoundAttempt>
  readonly #clock: CookieCore['clock']
  readonly #prefix: string
  readonly #redeemedCodes: Pick<RedeemedCodes, 'claim'>

  constructor(core: CookieCore, redeemedCodes: Pick<RedeemedCodes, 'claim'>) {
    this.#clock = core.clock
    this.#redeemedCodes = redeemedCodes
    this.#cookies = new SealedCookies(core, 'attempt', { ttlSeconds: usedMarkerSeconds })
    this.#usedMarkers = new SealedCookies(core, 'attempt', { ttlSeconds: attemptSeconds })
    this.#prefix = core.cookieName('attempt-')
  }

  /**
   * Also keeps a used attempt while the user signs out at the provider. No response can redeem that one.
   *
   * @returns the `state` for the authorization request
   */
  begin(req: Request, res: Response, attempt: Attempt | UsedAttempt): string {
    const now = this.#clock.now()
    const state = `${Math.floor(now / 1000).toString(36)}-${randomBytes(24).toString('base64url')}`
    const until = now + attemptSeconds * 1000
    const name = this.#prefix + state
    const sealed = this.#cookies.set(res, name, 'nonce' in attempt ? { attempt, until } : { attempt })
    this.#makeRoom(req, res, [name, sealed])
    return state
  }

  /** @returns the attempt of this browser with this `state`, even if it is used or expired */
  find(req: Request, state: string): FoundAttempt | undefined {
    return statePattern.test(state) ? this.#cookies.get(req, this.#prefix + state) : undefined
  }

  /** Returns an attempt exactly once, to one request on one instance. */
  async take(
    res: Response,
    found: FoundAttempt,
    { state, parameters }: AuthorizationResponse,
  ): Promise<TakeResult> {
    const { providerId, purpose, returnTo, reauthentication, otherAccount, restarted } = found.attempt
    let result: TakeResult
    if (!('until' in found)) result = { used: found.attempt, reason: 'spent' }
    else if (found.until <= this.#clock.now()) result = { used: found.attempt, reason: 'expired' }
    // An error response has no code to redeem.
    else if (parameters.has('code') && !(await this.#redeemedCodes.claim(state)))
      result = { used: found.attempt, reason: 'redeemed' }
    else result = { attempt: { ...found.attempt, startedAt: found.until - attemptSeconds * 1000 } }
    // Handed out for a restart once only: a provider that repeats an old response must not cause one restart after another.
    const marks = { otherAccount, restarted: 'used' in result ? (true as const) : restarted }
    const link = (returnTo?.length ?? 0) <= maxUsedLinkLength && { returnTo }
    const attempt = { providerId, purpose, ...link, reauthentication, ...marks }
    this.#usedMarkers.set(res, this.#prefix + state, { attempt })
    return result
  }

  /**
   * Deletes the oldest attempts first, so that a user with many tabs keeps the newest. Attempts of other instances in the app take
   * their part of the room, but only their own instance deletes them.
   */
  #makeRoom(req: Request, res: Response, newest: [name: string, value: string]): void {
    // A second attempt starts in the response that has just replaced the first one by its marker.
    const replaced = [res.getHeader('set-cookie') ?? []].flat().join()
    const attempts = Object.entries(cookiesOf(req)).filter(
      ([name]) => attemptPattern.test(name) && !replaced.includes(`${name}=`),
    )
    const isOwn = ([name]: [string, unknown]) => name.startsWith(this.#prefix)
    const newestFirst = attempts.filter(isOwn).sort(([a], [b]) => (a < b ? 1 : -1))
    let bytes = 0
    for (const cookie of [newest, ...attempts.filter((each) => !isOwn(each)), ...newestFirst]) {
      const [name, value = ''] = cookie
      bytes += `${name}=${value}; `.length
      if (bytes > maxCookieBytes && isOwn(cookie) && cookie !== newest) this.#cookies.clear(res, name)
    }
  }
}

/** Twice as long as an attempt is valid, because the clocks of two instances may differ. */
const markerTtlSeconds = 1200
const redisTimeoutMs = SECOND

/**
 * Decides which request sends the code of an attempt, with a marker in Redis, or in the database without Redis. A copied cookie
 * can therefore neither redeem the code again nor try other codes, even at the same time on another instance.
 */
export class RedeemedCodes {
  readonly #clock: Core['clock']
  readonly #database: CircuitBreaker
  readonly #knex: Knex
  readonly #redis: RedisLike | undefined
  readonly #prefix: string

  constructor(
    { breakers, clock, knex, prefix }: Pick<Core, 'breakers' | 'clock' | 'knex' | 'prefix'>,
    redis: RedisLike | undefined,
  ) {
    this.#clock = clock
    this.#database = breakers.database
    this.#knex = knex
    this.#prefix = `${prefix}redeemed:`
    this.#redis = redis
  }

  /**
   * Called before the code is sent.
   *
   * @returns true for the first request with this `state`
   * @throws PortalSsoError `session_unavailable` while Redis is down: without it, no session could start either
   */
  async claim(state: string): Promise<boolean> {
    const id = digest(state)
    if (this.#redis) return await setMarker(this.#redis, this.#prefix + id)
    const expiresAt = new Date(this.#clock.now() + markerTtlSeconds * SECOND).toISOString()
    try {
      const row = insertInto('sso_redeemed_codes', { id, expires_at: expiresAt })
      await this.#database.run(changeRows(this.#knex, row))
      return true
    } catch (error) {
      if (isUniqueViolation(error)) return false
      throw error
    }
  }
}

async function setMarker(redis: RedisLike, key: string): Promise<boolean> {
  try {
    const options = { expiration: { type: 'EX', value: markerTtlSeconds }, condition: 'NX' } as const
    return (await withTimeout(redisTimeoutMs, redis.set(key, '1', options))) !== null
  } catch (cause) {
    throw new PortalSsoError('session_unavailable', 'the marker of a redeemed code', { cause })
  }
}
