import type { Request, Response } from 'express'
import { servesDomain } from '../oidc/vouches.ts'
import { type Provider, providerName } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { accountLabel, type RegistrationStep } from '../sign-in/pending-registration.ts'
import { listProviders } from '../sign-in/picker-route.ts'
import { domainOf } from '../users/email-address.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Locale } from '../web/locale.ts'
import type { Pages } from '../web/pages.ts'
import { codeMinutes, type EmailVerifications, type Verdict } from './email-verification.ts'

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

export const otherSignInsPage = '/register/sign-in'
/** More than these have a page of their own. */
const maxOtherSignIns = 4

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
  readonly #codes: EmailVerifications

  constructor(core: Core, pages: Pages, providersTable: ProvidersTable, codes: EmailVerifications) {
    this.#core = core
    this.#codes = codes
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
    const { returnTo, sent } = pending
    const user = req.user as User | undefined
    const locale = this.#pages.locale(req)
    res.status(error?.status ?? 200)
    await this.#pages.show(req, res, view, {
      email,
      typed: typed.slice(0, 254),
      again,
      minutes: codeMinutes,
      wait: this.#codes.secondsToWait(sent?.at),
      error: describeFormError(error, locale.t),
      account: accountLabel(pending),
      registration: pending.id,
      provider: { displayName: providerName(provider, locale) },
      user,
      action: urls.path('/register/verify'),
      sendAction: urls.path('/register/code'),
      addressHref: user ? undefined : urls.path('/register', { address: 'other' }),
      cancelHref: user
        ? urls.path('/account/security')
        : urls.path('/login', { returnTo, cancelled: 'registration' }),
      otherWays: user ? [] : await this.#otherSignIns({ pending, provider }, locale),
    })
  }

  /** The address belongs to a user who has another account at the provider: asks for one sign-in with the method used before. */
  async showProveAccount(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { pending, provider } = step
    await this.#pages.show(req, res, 'prove-account', {
      // The provider or a code has confirmed the address.
      account: { ...accountLabel(pending), emailTrusted: true },
      provider: { displayName: providerName(provider, this.#pages.locale(req)) },
      otherWays: await this.#otherSignIns(step, this.#pages.locale(req)),
      cancelHref: this.#core.urls.path('/login', { returnTo: pending.returnTo, cancelled: 'registration' }),
    })
  }

  /** All other sign-in methods, where they are too many for the page before. */
  async showOtherSignIns(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { urls } = this.#core
    const locale = this.#pages.locale(req)
    const { t } = locale
    const where = { portal: step.pending.portal, action: urls.path(otherSignInsPage), locale }
    const { providers, search } = await listProviders(req, this.#table, urls, where)
    await this.#pages.show(req, res, 'providers', {
      title: t('proof.other.title'),
      sentence: t('proof.other.sentence', { provider: providerName(step.provider, locale) }),
      backHref: urls.path('/register'),
      search,
      providers: providers.map((each) => ({ ...each, ...this.#otherSignIn(each, step, t) })),
    })
  }

  /** The other proof: a sign-in with a linked method. Offered to everybody, because the user is not known yet. */
  async #otherSignIns(step: RegistrationStep, locale: Locale): Promise<object[]> {
    const { pending, provider } = step
    const { identity, portal } = pending
    const { t } = locale
    const limit = maxOtherSignIns + 2
    const shown = await this.#table.listEnabled(portal, { shown: true, limit })
    const others = [...(await this.#hiddenFor(portal, identity.email)), ...shown]
      .filter(({ id }) => id !== provider.id)
      .map((each) => this.#otherSignIn({ ...each, displayName: providerName(each, locale) }, step, t))
    const all = { href: this.#core.urls.path(otherSignInsPage), label: t('proof.other.all') }
    const own = { ...provider, displayName: providerName(provider, locale) }
    return [...(others.length > maxOtherSignIns ? [all] : others), this.#otherSignIn(own, step, t)]
  }

  /** A provider that the login page hides is offered only to users with an address of its domains. */
  async #hiddenFor(portal: string, email: string | undefined): Promise<Provider[]> {
    if (email === undefined) return []
    const domain = domainOf(email)
    const first = { emailDomain: `"${domain}`, limit: maxOtherSignIns }
    const found = await this.#table.listEnabled(portal, first)
    return found.filter((each) => !each.showOnPicker && servesDomain(each, domain))
  }

  #otherSignIn(
    { id, slug, displayName }: Pick<Provider, 'id' | 'slug' | 'displayName'>,
    { pending: { returnTo }, provider }: RegistrationStep,
    t: Locale['t'],
  ) {
    const isSame = id === provider.id
    const query = { account: isSame ? 'other' : undefined, returnTo, proving: '1' }
    return {
      href: this.#core.urls.path(`/login/${slug}`, query),
      label: t(`proof.other.${isSame ? 'otherAccount' : 'signIn'}`, { provider: displayName }),
    }
  }
}
