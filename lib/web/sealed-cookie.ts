import { parseCookie } from 'cookie'
import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'

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
