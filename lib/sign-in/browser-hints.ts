import type { Request, Response } from 'express'
import { cookieName, cookiesOf } from '../web/sealed-cookie.ts'

/** Which provider this browser used last. Only marks a row of the picker, so it needs no seal. */
export interface LastProvider {
  get(req: Request): string | undefined
  set(res: Response, slug: string): void
}

export const year = 365 * 24 * 3_600_000

export function createLastProvider(secure: boolean): LastProvider {
  const name = cookieName('sso-last', secure)
  return {
    get: (req) => cookiesOf(req)[name],
    set(res, slug) {
      res.cookie(name, slug, { httpOnly: true, secure, sameSite: 'lax', path: '/', maxAge: year })
    },
  }
}

/**
 * That somebody signed out in this browser, and nobody has signed in since. Their provider may well know them still: on a shared
 * machine the next click on it would sign the last person straight back in, so it is asked to ask. Who plants it makes a provider
 * ask once more, and who takes it away is at the machine anyway: it needs no seal.
 */
export interface SignedOutMarker {
  set(res: Response): void
  is(req: Request): boolean
  clear(req: Request, res: Response): void
}

export function createSignedOutMarker(secure: boolean): SignedOutMarker {
  const name = cookieName('sso-left', secure)
  const attributes = { httpOnly: true, secure, sameSite: 'lax', path: '/' } as const
  const is = (req: Request) => cookiesOf(req)[name] !== undefined
  return {
    set: (res) => void res.cookie(name, '1', { ...attributes, maxAge: year }),
    is,
    clear(req, res) {
      if (is(req)) res.clearCookie(name, attributes)
    },
  }
}
