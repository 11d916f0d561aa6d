import type { CookieOptions, Request, Response } from 'express'
import type { Core } from '../web/core.ts'
import { cookiesOf } from '../web/sealed-cookie.ts'

const hintTtlMs = 365 * 24 * 3_600_000

/**
 * Two cookies without a seal, because forging them gains nothing: the provider that this browser used last, which marks a row of
 * the picker, and whether its user signed out. Then the next sign-in asks for the account, which matters on a shared machine.
 */
export class BrowserHints {
  readonly #lastProvider: string
  readonly #signedOut: string
  readonly #attributes: CookieOptions

  constructor({ cookieName, secure }: Pick<Core, 'cookieName' | 'secure'>) {
    this.#lastProvider = cookieName('last-provider')
    this.#signedOut = cookieName('signed-out')
    this.#attributes = { httpOnly: true, secure, sameSite: 'lax', path: '/' }
  }

  /** @returns the slug of the provider that this browser used last */
  lastProvider(req: Request): string | undefined {
    return cookiesOf(req)[this.#lastProvider]
  }

  /** True after a sign-out, until the next sign-in: the provider would sign the last user straight back in. */
  isSignedOut(req: Request): boolean {
    return cookiesOf(req)[this.#signedOut] !== undefined
  }

  recordSignOut(res: Response): void {
    res.cookie(this.#signedOut, '1', { ...this.#attributes, maxAge: hintTtlMs })
  }

  recordSignIn(req: Request, res: Response, slug: string): void {
    res.cookie(this.#lastProvider, slug, { ...this.#attributes, maxAge: hintTtlMs })
    if (cookiesOf(req)[this.#signedOut] !== undefined) res.clearCookie(this.#signedOut, this.#attributes)
  }
}
