import type { Request, Response } from 'express'
import { cookieName, cookiesOf } from '../web/sealed-cookie.ts'

/** Which provider this browser used last. Only marks a row of the picker, so it needs no seal. */
export interface LastUsed {
  get(req: Request): string | undefined
  set(res: Response, slug: string): void
}

const year = 365 * 24 * 3_600_000

export function createLastUsed(secure: boolean): LastUsed {
  const name = cookieName('sso-last', secure)
  return {
    get: (req) => cookiesOf(req)[name],
    set(res, slug) {
      res.cookie(name, slug, { httpOnly: true, secure, sameSite: 'lax', path: '/', maxAge: year })
    },
  }
}
