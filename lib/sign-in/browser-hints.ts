import type { Request, Response } from 'express'
import type { Core } from '../web/core.ts'
import { cookieName, cookiesOf } from '../web/sealed-cookie.ts'

const hintTtlMs = 365 * 24 * 3_600_000

/** The provider that this browser used last. It only marks a row of the picker, so it needs no seal. */
export class LastProvider {
  readonly #name: string
  readonly #secure: boolean

  constructor({ secure }: Pick<Core, 'secure'>) {
    this.#name = cookieName('sso-last-provider', secure)
    this.#secure = secure
  }

  get(req: Request): string | undefined {
    return cookiesOf(req)[this.#name]
  }

  set(res: Response, slug: string): void {
    const attributes = { httpOnly: true, secure: this.#secure, sameSite: 'lax', path: '/' } as const
    res.cookie(this.#name, slug, { ...attributes, maxAge: hintTtlMs })
  }
}

/**
 * Set after a sign-out until the next sign-in. On a shared machine the provider would sign the last user straight back in, so
 * the next request asks for the account. A forged cookie only causes that question, so it needs no seal.
 */
export class SignedOutMarker {
  readonly #name: string
  readonly #attributes: { httpOnly: true; secure: boolean; sameSite: 'lax'; path: '/' }

  constructor({ secure }: Pick<Core, 'secure'>) {
    this.#name = cookieName('sso-signed-out', secure)
    this.#attributes = { httpOnly: true, secure, sameSite: 'lax', path: '/' }
  }

  set(res: Response): void {
    res.cookie(this.#name, '1', { ...this.#attributes, maxAge: hintTtlMs })
  }

  isSet(req: Request): boolean {
    return cookiesOf(req)[this.#name] !== undefined
  }

  clear(req: Request, res: Response): void {
    if (this.isSet(req)) res.clearCookie(this.#name, this.#attributes)
  }
}
