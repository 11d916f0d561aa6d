import type { Request, RequestHandler, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { RefusalLog } from '../events/refusal-log.ts'
import type { Mail } from '../mail/mail.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { PendingRegistration, RegistrationStep } from '../sign-in/pending-registration.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import { EmailVerifications } from './email-verification.ts'
import { EmailVerificationPages } from './email-verification-pages.ts'
import type { RegistrationFormOptions } from './registration-form.ts'

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
  readonly #modules: { signIn: SignIn; providersTable: ProvidersTable }

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
    this.pages = new EmailVerificationPages(core, pages, providersTable)
    const codes = new EmailVerifications(core, secrets)
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
      const { pendingRegistrations, refusals } = this.#modules.signIn
      const portal = portalOf(req)
      const pending = pendingRegistrations.find(req, portal)
      const { requestedByUser, provider: slug, returnTo } = pending ?? {}
      // Another attempt from here would be a sign-in, as another user.
      const backHref = requestedByUser && req.user ? urls.path('/account/security') : undefined
      try {
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
        await refusals.refuse(req, res, error, { portal, provider, returnTo, backHref })
      }
    })
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
