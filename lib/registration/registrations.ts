import type { Request, RequestHandler, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { RefusalLog } from '../events/refusal-log.ts'
import type { Mail } from '../mail/mail.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { PortalSsoError, toProblem } from '../shared/errors.ts'
import type {
  PendingRegistration,
  RegistrationDraft,
  RegistrationStep,
} from '../sign-in/pending-registration.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { type Pages, sendRedirectPage } from '../web/pages.ts'
import { isSafeMethod } from '../web/request.ts'
import { EmailVerifications } from './email-verification.ts'
import { EmailVerificationPages } from './email-verification-pages.ts'
import type { RegistrationFormOptions } from './registration-form.ts'

// The form refuses longer values.
const maxDraftLength = 201
const maxEmailLength = 254

type StepHandler = (req: Request, res: Response, step: RegistrationStep) => Promise<void>

/** The modules that send and check codes. */
export interface EmailVerification {
  readonly codes: EmailVerifications
  readonly pages: EmailVerificationPages
  readonly mail: Mail
}

export interface RegistrationRouteModules {
  readonly events: EventLog
  readonly pages: Pages
  readonly posted: RequestHandler[]
  readonly refusalLog: RefusalLog
  readonly registration: Registrations
  readonly signIn: SignIn
  readonly sessions: Sessions
  readonly users: Users
}

/** The steps of a user who is new, or has to prove an address first. Their identity waits in a sealed cookie. */
export class Registrations {
  readonly form: RegistrationFormOptions
  readonly pages: EmailVerificationPages
  /** left out without a mailer */
  readonly emailVerification: EmailVerification | undefined
  readonly #core: Core
  readonly #modules: { pages: Pages; signIn: SignIn; providersTable: ProvidersTable }

  constructor(
    core: Core,
    modules: {
      form: RegistrationFormOptions
      pages: Pages
      secrets: readonly string[]
      mail: Mail | undefined
      signIn: SignIn
      providersTable: ProvidersTable
    },
  ) {
    const { form, pages, mail, secrets, providersTable } = modules
    this.#core = core
    this.#modules = modules
    this.form = form
    const codes = new EmailVerifications(core, secrets)
    this.pages = new EmailVerificationPages(core, pages, providersTable, codes)
    this.emailVerification = mail && { codes, pages: this.pages, mail }
  }

  /**
   * Runs a step if this browser has a pending registration.
   *
   * @param belongsTo accepts the signed-in users who may take the step; default: none
   */
  step(act: StepHandler, belongsTo?: (user: User, pending: PendingRegistration) => boolean): RequestHandler {
    return asyncHandler(async (req, res) => {
      const { homePath, portalOf, urls } = this.#core
      const { browserHints, pendingRegistrations, refusals } = this.#modules.signIn
      const portal = portalOf(req)
      const pending = pendingRegistrations.find(req, portal)
      const expired = pending ? undefined : pendingRegistrations.findExpired(req, portal)
      const { requestedByUser, provider: slug, returnTo } = pending ?? expired ?? {}
      // Another attempt from here would be a sign-in, as another user.
      const backHref = requestedByUser && req.user ? urls.path('/account/security') : undefined
      try {
        if (expired && !req.user && !requestedByUser && !browserHints.isSignedOut(req))
          return await this.restart(req, res, expired)
        if (req.user && !(pending && belongsTo?.(req.user as User, pending))) {
          // It may be another user's.
          pendingRegistrations.clear(res)
          return res.redirect(303, homePath)
        }
        // A request of a user who has signed out since must not become the next user's registration.
        if (!pending || (pending.requestedByUser && !belongsTo))
          throw new PortalSsoError('registration_expired', 'this browser has no pending registration')
        await act(req, res, { pending, provider: await this.#unchangedProvider(pending) })
      } catch (error) {
        const provider = slug === undefined ? undefined : { slug }
        const { code, status } = toProblem(error)
        const isKept = pending && req.method === 'POST' && (status >= 500 || code === 'provider_changed')
        if (isKept) pendingRegistrations.save(res, { ...pending, draft: this.readDraft(req, pending) })
        const formHref = isKept && status === 503 ? urls.path('/register') : undefined
        await refusals.refuse(req, res, error, { portal, provider, returnTo, backHref: backHref ?? formHref })
      }
    })
  }

  /** The user's input so far, with the fields of this request. */
  readDraft(req: Request, { draft, provenEmail, sent }: PendingRegistration): RegistrationDraft {
    const body = (req.body ?? {}) as Record<string, unknown>
    const names = ['name', 'terms', ...this.form.fields.map(({ name }) => `field.${name}`)]
    const typed = Object.entries(body).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string' && names.includes(entry[0]),
    )
    const form = Object.fromEntries(typed.map(([name, value]) => [name, value.slice(0, maxDraftLength)]))
    const email = typeof body.email === 'string' ? body.email.slice(0, maxEmailLength) : undefined
    return {
      email: email ?? draft?.email ?? sent?.email ?? provenEmail,
      form: typed.length > 0 ? form : draft?.form,
    }
  }

  /**
   * Asks the provider again, which costs no click: for an expired registration, or for a user who exists by now. So a stolen
   * registration never signs anybody in. A page leads there, because of `form-action`.
   */
  async restart(req: Request, res: Response, pending: PendingRegistration): Promise<void> {
    const { provider, returnTo } = pending
    const { pendingRegistrations } = this.#modules.signIn
    pendingRegistrations.saveExpired(res, { ...pending, draft: this.readDraft(req, pending) })
    const href = this.#core.urls.path(`/login/${provider}`, { returnTo })
    if (isSafeMethod(req)) return res.redirect(303, href)
    const { pages } = this.#modules
    const { name } = pages.branding(pages.locale(req))
    await sendRedirectPage(pages, req, res, { href, name })
  }

  /** A provider that was disabled or changed since does not vouch for the identity any more. */
  async #unchangedProvider(pending: PendingRegistration): Promise<Provider> {
    const { portal, provider: slug, providerId, version } = pending
    const provider = await this.#modules.providersTable.find(portal, slug)
    if (!provider?.enabled || provider.id !== providerId || provider.version !== version)
      throw new PortalSsoError('provider_changed', 'the provider was changed during the registration')
    return provider
  }
}
