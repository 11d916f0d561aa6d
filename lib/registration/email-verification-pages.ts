import type { Request, Response } from 'express'
import { servesDomain } from '../oidc/vouches.ts'
import { providerName } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { accountLabel, type RegistrationStep } from '../sign-in/pending-registration.ts'
import { domainOf } from '../users/email-address.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Locale } from '../web/locale.ts'
import type { Pages } from '../web/pages.ts'
import { codeMinutes, type Verdict } from './email-verification.ts'

/** A mistake in the input, or a failed delivery: key of a message under `proof.errors`, and the status of the page. */
export interface FormError {
  sentence: 'emailInvalid' | 'tooMany' | 'mailFailed' | 'codeMalformed' | 'codeWrong' | 'codeOver'
  status: 422 | 429 | 502
  left?: number
}

/** @param verdict that did not prove the address */
export function codeError(verdict: Verdict): FormError {
  const left = verdict.result === 'wrong' ? verdict.left : 0
  return left > 0 ? { sentence: 'codeWrong', left, status: 422 } : { sentence: 'codeOver', status: 422 }
}

/** `entry` is shown beside the field. */
export function describeFormError(error: FormError | undefined, t: Locale['t']) {
  const sentence = error && t(`proof.errors.${error.sentence}`, { count: error.left ?? 0 })
  return { sentence, entry: error?.status === 422 ? sentence : undefined }
}

interface EmailVerificationPage {
  view: 'address' | 'verify'
  /** the address that the code was sent to */
  email?: string | undefined
  /** fills the field */
  typed?: string | undefined
  /** whether a code had been sent before */
  again?: boolean
  error?: FormError
}

/**
 * The two pages on which a user proves an address. They never know whether the portal has a user with it, unless that user is
 * signed in.
 */
export class EmailVerificationPages {
  readonly #core: Core
  readonly #pages: Pages
  readonly #table: ProvidersTable

  constructor(core: Core, pages: Pages, providersTable: ProvidersTable) {
    this.#core = core
    this.#pages = pages
    this.#table = providersTable
  }

  async show(
    req: Request,
    res: Response,
    { pending, provider }: RegistrationStep,
    { view, email, typed = '', again = false, error }: EmailVerificationPage,
  ): Promise<void> {
    const { urls } = this.#core
    const { returnTo } = pending
    const user = req.user as User | undefined
    const locale = this.#pages.locale(req)
    res.status(error?.status ?? 200)
    await this.#pages.show(req, res, view, {
      email,
      typed: typed.slice(0, 254),
      again,
      minutes: codeMinutes,
      error: describeFormError(error, locale.t),
      account: accountLabel(pending),
      provider: { displayName: providerName(provider, locale) },
      user,
      action: urls.path('/register/verify'),
      sendAction: urls.path('/register/code'),
      addressHref: user ? undefined : urls.path('/register', { address: 'other' }),
      cancelHref: user
        ? urls.path('/account/security')
        : urls.path('/login', { returnTo, cancelled: 'registration' }),
      otherWays: user ? [] : await this.#otherSignIns(req, { pending, provider }),
    })
  }

  /** The address belongs to a user who has another account at the provider: asks for one sign-in with the method used before. */
  async showProveAccount(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { pending, provider } = step
    await this.#pages.show(req, res, 'prove-account', {
      account: accountLabel(pending),
      provider: { displayName: providerName(provider, this.#pages.locale(req)) },
      otherWays: await this.#otherSignIns(req, step),
      cancelHref: this.#core.urls.path('/login', { returnTo: pending.returnTo, cancelled: 'registration' }),
    })
  }

  /** The other proof: a sign-in with a linked method. Offered to everybody, because the user is not known yet. */
  async #otherSignIns(req: Request, { pending, provider }: RegistrationStep): Promise<object[]> {
    const { identity, portal, returnTo } = pending
    const locale = this.#pages.locale(req)
    const domain = domainOf(identity.email ?? '')
    const enabled = await this.#table.listEnabled(portal)
    const others = enabled.filter(
      (each) => each.id !== provider.id && (each.showOnPicker || servesDomain(each, domain)),
    )
    return [...others, provider].map((each) => {
      const { id, slug } = each
      const sameProvider = id === provider.id
      const query = { account: sameProvider ? 'other' : undefined, returnTo, proving: '1' }
      return {
        displayName: providerName(each, locale),
        sameProvider,
        href: this.#core.urls.path(`/login/${slug}`, query),
      }
    })
  }
}
