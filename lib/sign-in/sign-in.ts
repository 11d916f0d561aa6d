import type { EventLog } from '../events/event-log.ts'
import type { SendMethodMail } from '../mail/sign-in-method-mail.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { UserDirectory } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'
import { Attempts } from './attempts.ts'
import { LastProvider, SignedOutMarker } from './browser-hints.ts'
import { SignInCompletion } from './complete-sign-in.ts'
import { SessionConfirmation } from './confirm-session.ts'
import { ConnectedProviders } from './connected-providers.ts'
import { SignInMethodNotifications } from './notify-sign-in-method.ts'
import { PendingRegistrations } from './pending-registration.ts'
import type { ConnectionContext } from './provider-connection.ts'
import { Reauthentication } from './reauthentication.ts'
import { Refusals } from './refuse.ts'
import { IdentityResolver, type RegistrationPolicy } from './resolve-identity.ts'

/**
 * The way from a click on a provider to a session. It knows nothing of the registration, account and test pages above it;
 * `callback/` passes it the function that builds a provider's router.
 */
export class SignIn {
  readonly attempts: Attempts
  readonly completion: SignInCompletion
  readonly connectedProviders: ConnectedProviders
  readonly lastProvider: LastProvider
  readonly notifications: SignInMethodNotifications
  readonly pendingRegistrations: PendingRegistrations
  readonly reauthentication: Reauthentication
  readonly refusals: Refusals
  readonly resolver: IdentityResolver
  readonly signedOutMarker: SignedOutMarker
  /** whether the portal can send codes */
  readonly canVerifyEmail: boolean

  constructor(
    core: Core,
    modules: Pick<ConnectionContext, 'buildRouter' | 'outbound'> & {
      events: EventLog
      identities: IdentitiesTable
      pages: Pages
      registration: RegistrationPolicy
      /** left out without a mailer */
      sendMethodMail: SendMethodMail | undefined
      sessions: Sessions
      table: ProvidersTable
      users: UserDirectory
    },
  ) {
    const { events, identities, pages, registration, users } = modules
    this.canVerifyEmail = modules.sendMethodMail !== undefined
    this.attempts = new Attempts(core)
    this.lastProvider = new LastProvider(core)
    this.notifications = new SignInMethodNotifications(core, modules)
    this.pendingRegistrations = new PendingRegistrations(core)
    this.reauthentication = new Reauthentication(core, modules)
    this.refusals = new Refusals(core, pages, events)
    this.resolver = new IdentityResolver(identities, users, registration)
    this.signedOutMarker = new SignedOutMarker(core)
    this.connectedProviders = new ConnectedProviders(core, this.refusals, {
      ...modules,
      attempts: this.attempts,
      passport: modules.sessions.passport,
    })
    this.completion = new SignInCompletion(core, {
      ...modules,
      canVerifyEmail: this.canVerifyEmail,
      confirmation: new SessionConfirmation(core.knex, modules),
      lastProvider: this.lastProvider,
      notifications: this.notifications,
      pendingRegistrations: this.pendingRegistrations,
      resolver: this.resolver,
      signedOutMarker: this.signedOutMarker,
    })
  }
}
