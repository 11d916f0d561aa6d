import type { CookieOptions, Request, Response } from 'express'
import { DAY, HOUR, MINUTE } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { cookiesOf } from '../web/sealed-cookie.ts'

const hintTtlMs = 365 * DAY
/** As long as an attempt can be restarted. After a sign-in, it only has to stop a loop. */
const [skipTtlMs, skipTtlSignedInMs] = [4 * HOUR, MINUTE]

/**
 * Cookies without a seal, because forging them gains nothing: the provider that this browser used last, which marks a row of the
 * picker; whether its user signed out, so that the next sign-in asks for the account, which matters on a shared machine; and whether
 * the picker was skipped.
 */
export class BrowserHints {
  readonly #lastProvider: string
  readonly #signedOut: string
  readonly #skipped: string
  readonly #attributes: CookieOptions

  constructor({ cookieName, secure }: Pick<Core, 'cookieName' | 'secure'>) {
    this.#lastProvider = cookieName('last-provider')
    this.#signedOut = cookieName('signed-out')
    this.#skipped = cookieName('skipped')
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

  /** @returns false after a sign-out, and where the provider would send the user back in a loop */
  skipOnce(req: Request, res: Response): boolean {
    if (this.isSignedOut(req) || cookiesOf(req)[this.#skipped] !== undefined) return false
    res.cookie(this.#skipped, '1', { ...this.#attributes, maxAge: skipTtlMs })
    return true
  }

  recordSignIn(req: Request, res: Response, slug: string): void {
    res.cookie(this.#lastProvider, slug, { ...this.#attributes, maxAge: hintTtlMs })
    if (cookiesOf(req)[this.#skipped] !== undefined)
      res.cookie(this.#skipped, '1', { ...this.#attributes, maxAge: skipTtlSignedInMs })
    if (this.isSignedOut(req)) res.clearCookie(this.#signedOut, this.#attributes)
  }
}
