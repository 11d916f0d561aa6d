import { randomBytes } from 'node:crypto'
import { parseCookie } from 'cookie'
import type { Request, Response } from 'express'
import type { Seal } from '../shared/seal.ts'

/** Cookies that only we can write and read, under a name each; what a visitor's sign-in needs lives there and not here. */
export interface SealedCookies<T> {
  /** @returns the characters that it takes in the `Cookie` header of the requests to come */
  set(res: Response, name: string, value: T): Promise<number>
  get(req: Request, name: string): Promise<T | undefined>
  clear(res: Response, name: string): void
}

export interface CookieOptions {
  /** seconds that the value is good for */
  lifetime: number
  /** true on https */
  secure: boolean
}

export function createSealedCookies<T>(seal: Seal, { lifetime, secure }: CookieOptions): SealedCookies<T> {
  // SameSite=Lax: comes along when the provider sends the browser back, never with a post from elsewhere.
  const attributes = { httpOnly: true, secure, sameSite: 'lax', path: '/' } as const
  return {
    async set(res, name, value) {
      const sealed = await seal.close({ value, until: Date.now() + lifetime * 1000 }, name)
      res.cookie(name, sealed, { ...attributes, maxAge: lifetime * 1000 })
      return headerLength(name, sealed)
    },
    async get(req, name) {
      const sealed = cookiesOf(req)[name]
      if (sealed === undefined) return undefined
      const opened = (await seal.open(sealed, name)) as { value: T; until: number } | undefined
      // Max-Age is only a wish to the browser.
      return opened && opened.until > Date.now() ? opened.value : undefined
    },
    clear(res, name) {
      res.clearCookie(name, attributes)
    },
  }
}

/** `__Host-` pins a cookie to this host and path `/` over TLS, so that no sibling domain can plant one (RFC 6265bis, 4.1.3). */
export function cookieName(name: string, secure: boolean): string {
  return secure ? `__Host-${name}` : name
}

/** With what stands between it and its neighbours: `name=value; `. */
export function headerLength(name: string, value: string): number {
  return name.length + value.length + 3
}

export function cookiesOf(req: Request): Record<string, string | undefined> {
  return parseCookie(req.headers.cookie ?? '')
}

/**
 * Ways to a provider's page, for something else than a sign-in, and back. In a sealed cookie of that browser: a link from elsewhere
 * to our page cannot make it say that a session has ended which goes on, or that an organisation has consented.
 */
export interface StateCookie {
  /**
   * @param kept what is to be known on the way back
   * @returns the `state` to send along
   */
  begin(res: Response, kept: string): Promise<string>
  /** @returns what was kept, once, when this browser comes back from there */
  end(req: Request, res: Response, state: unknown): Promise<string | undefined>
}

interface UnderWay {
  state: string
  kept: string
}

/** seconds that a person has there */
const lifetime = 600

/** @param cookie one name for each kind of way */
export function createStateCookie(
  seal: Seal,
  secure: boolean,
  cookie: 'sso-logout' | 'sso-consent',
): StateCookie {
  const cookies = createSealedCookies<UnderWay>(seal, { lifetime, secure })
  const name = cookieName(cookie, secure)
  return {
    async begin(res, kept) {
      const state = randomBytes(24).toString('base64url')
      await cookies.set(res, name, { state, kept })
      return state
    },
    async end(req, res, state) {
      const underWay = await cookies.get(req, name)
      // A wrong one leaves it alone, else any site could take the right one's place beforehand.
      if (underWay === undefined || underWay.state !== state) return undefined
      cookies.clear(res, name)
      return underWay.kept
    },
  }
}
