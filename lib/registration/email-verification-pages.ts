import type { Request, Response } from 'express'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { accountLabel, type RegistrationStep } from '../sign-in/pending-registration.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'
import { codeMinutes } from './email-verification.ts'

/** A mistake in the input, or a failed delivery: key of a message under `proof.errors`, and the status of the page. */
export interface FormError {
  sentence: 'emailInvalid' | 'tooMany' | 'mailFailed' | 'codeMalformed' | 'codeWrong' | 'codeOver'
  status: 422 | 429 | 502
  /** remaining attempts */
  left?: number
}

/** The two pages on which a user proves an address. They never know whether the portal has a user with it. */
export class EmailVerificationPages {
  readonly #core: Core
  readonly #pages: Pages
  readonly #table: ProvidersTable

  constructor(core: Core, pages: Pages, providersTable: ProvidersTable) {
    this.#core = core
    this.#pages = pages
    this.#table = providersTable
  }

  async showAddress(
    req: Request,
    res: Response,
    step: RegistrationStep,
    { typed, error }: { typed: string; error?: FormError },
  ): Promise<void> {
    await this.#show(req, res, step, { view: 'address', error, locals: { typed: typed.slice(0, 254) } })
  }

  /** @param input.again whether a code had been sent before */
  async showCode(
    req: Request,
    res: Response,
    step: RegistrationStep,
    input: { email: string; typed?: string; again?: boolean; error?: FormError },
  ): Promise<void> {
    const { urls } = this.#core
    const { email, typed = '', again = false, error } = input
    const locals = {
      email,
      again,
      minutes: codeMinutes,
      typed: typed.slice(0, 40),
      action: urls.path('/register/verify'),
      addressHref: urls.path('/register', { address: 'other' }),
    }
    await this.#show(req, res, step, { view: 'verify', error, locals })
  }

  async #show(
    req: Request,
    res: Response,
    step: RegistrationStep,
    { view, locals, error }: { view: string; locals: object; error: FormError | undefined },
  ): Promise<void> {
    const { urls } = this.#core
    const { t } = this.#pages.locale(req)
    const sentence = error && t(`proof.errors.${error.sentence}`, { count: error.left ?? 0 })
    const entry = error?.status === 422 ? sentence : undefined
    const { returnTo } = step.pending
    const page = {
      ...locals,
      error: { sentence, entry },
      account: accountLabel(step.pending),
      provider: { displayName: step.provider.displayName },
      sendAction: urls.path('/register/code'),
      cancelHref: urls.path('/login', { returnTo, cancelled: 'registration' }),
      otherWays: await this.#otherSignIns(step),
    }
    res.status(error?.status ?? 200)
    await this.#pages.show(req, res, view, page)
  }

  /** The other proof: a sign-in with a method that is linked. Offered to everybody, because the user is not known yet. */
  async #otherSignIns({ pending: { portal, returnTo }, provider }: RegistrationStep): Promise<object[]> {
    const enabled = await this.#table.listEnabled(portal)
    const others = enabled.filter(({ id }) => id !== provider.id)
    return [...others, provider].map(({ id, slug, displayName }) => {
      const sameProvider = id === provider.id
      const account = sameProvider ? 'other' : undefined
      const query = { account, returnTo, proving: '1' }
      return { displayName, sameProvider, href: this.#core.urls.path(`/login/${slug}`, query) }
    })
  }
}
