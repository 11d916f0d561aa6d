import { randomBytes } from 'node:crypto'
import { parseCookie } from 'cookie'
import type { CookieOptions, Request, Response } from 'express'
import type { Seal } from '../shared/seal.ts'
import { MINUTE, SECOND } from '../shared/time.ts'
import type { Core } from './core.ts'

type Cookies = Readonly<Record<string, string | undefined>>

export type CookieCore = Pick<Core, 'clock' | 'cookieName' | 'portalOf' | 'seal' | 'secure' | 'urls'>

/**
 * Cookies that only we can write and read. They hold the state of a visitor's sign-in, so that no server has to. Each is bound to
 * origin and mount path: a cookie of staging, or of another instance of the app, is worthless here, even with the same secret.
 */
export class SealedCookies<T> {
  readonly #core: CookieCore
  readonly #seal: Seal
  readonly #ttlMs: number
  readonly #keptMs: number
  readonly #attributes: CookieOptions

  /**
   * @param purpose has keys of its own
   * @param lifetime.keptSeconds how long the browser keeps the cookie for `getExpired`; default: until it expires
   */
  constructor(
    core: CookieCore,
    purpose: string,
    { ttlSeconds, keptSeconds = ttlSeconds }: { ttlSeconds: number; keptSeconds?: number },
  ) {
    const { secure } = core
    this.#core = core
    this.#seal = core.seal(purpose)
    this.#ttlMs = ttlSeconds * SECOND
    this.#keptMs = keptSeconds * SECOND
    // SameSite=Lax: sent when the provider redirects the browser back, but not with a POST from another site.
    this.#attributes = { httpOnly: true, secure, sameSite: 'lax', path: '/' }
  }

  /** @returns the value of the cookie */
  set(res: Response, name: string, value: T, ttlMs = this.#ttlMs): string {
    const { clock, portalOf, urls } = this.#core
    const context = `${name} ${urls.base(portalOf(res.req))}`
    const sealed = this.#seal.close({ value, until: clock.now() + ttlMs }, context)
    res.cookie(name, sealed, { ...this.#attributes, maxAge: this.#keptMs })
    return sealed
  }

  get(req: Request, name: string): T | undefined {
    const opened = this.#open(req, name)
    // A client can ignore Max-Age.
    return opened && opened.until > this.#core.clock.now() ? opened.value : undefined
  }

  /** @returns a value that proves nothing any more, but tells how to start again */
  getExpired(req: Request, name: string): T | undefined {
    const opened = this.#open(req, name)
    const expiredMs = opened && this.#core.clock.now() - opened.until
    return expiredMs !== undefined && expiredMs >= 0 && expiredMs < this.#keptMs ? opened?.value : undefined
  }

  #open(req: Request, name: string): { value: T; until: number } | undefined {
    const sealed = cookiesOf(req)[name]
    if (sealed === undefined) return undefined
    const { portalOf, urls } = this.#core
    const context = `${name} ${urls.base(portalOf(req))}`
    return this.#seal.open(sealed, context) as { value: T; until: number } | undefined
  }

  clear(res: Response, name: string): void {
    if (cookiesOf(res.req)[name] !== undefined) res.clearCookie(name, this.#attributes)
  }
}

const parsedCookies = new WeakMap<object, { header: string; cookies: Cookies }>()

/** A sign-in reads its cookies several times. */
export function cookiesOf({ headers }: Request): Cookies {
  const { cookie: header = '' } = headers
  let parsed = parsedCookies.get(headers)
  if (parsed?.header !== header) {
    parsed = { header, cookies: parseCookie(header) }
    parsedCookies.set(headers, parsed)
  }
  return parsed.cookies
}

const stateTtlSeconds = (10 * MINUTE) / SECOND

/**
 * Binds a round trip to a provider's page, other than a sign-in, to this browser. A link from another site can therefore not
 * make our page claim that a session has ended, or that an organisation has consented.
 */
export class StateCookie {
  readonly #cookies: SealedCookies<{ state: string; kept: string }>
  readonly #name: string

  constructor(core: CookieCore, purpose: 'logout' | 'admin-consent') {
    this.#cookies = new SealedCookies(core, purpose, { ttlSeconds: stateTtlSeconds })
    this.#name = core.cookieName(purpose === 'logout' ? 'logout' : 'consent')
  }

  /**
   * @param kept a value for the way back
   * @returns the `state` parameter of the request
   */
  begin(res: Response, kept: string): string {
    const state = randomBytes(24).toString('base64url')
    this.#cookies.set(res, this.#name, { state, kept })
    return state
  }

  /** @returns the kept value, once, if this browser returns with its `state` */
  end(req: Request, res: Response, state: unknown): string | undefined {
    const trip = this.#cookies.get(req, this.#name)
    // A wrong state keeps the cookie: another site must not be able to cancel the round trip.
    if (trip === undefined || trip.state !== state) return undefined
    this.#cookies.clear(res, this.#name)
    return trip.kept
  }
}
