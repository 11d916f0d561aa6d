import type { EventLog } from '../events/event-log.ts'
import type { Mail } from '../mail/mail.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Users } from '../users/users.ts'
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
      /** left out without a mailer */
      mail: Mail | undefined
      pages: Pages
      registrationPolicy: RegistrationPolicy
      sessions: Sessions
      table: ProvidersTable
      users: Users
    },
  ) {
    const { events, mail, pages, registrationPolicy, users } = modules
    const { identities } = users
    this.canVerifyEmail = mail !== undefined
    this.attempts = new Attempts(core)
    this.lastProvider = new LastProvider(core)
    this.notifications = new SignInMethodNotifications(core, modules)
    this.pendingRegistrations = new PendingRegistrations(core)
    this.reauthentication = new Reauthentication(core, { ...modules, identities })
    this.refusals = new Refusals(core, pages, events)
    this.resolver = new IdentityResolver(users, registrationPolicy)
    this.signedOutMarker = new SignedOutMarker(core)
    this.connectedProviders = new ConnectedProviders(core, this.refusals, {
      ...modules,
      attempts: this.attempts,
      passport: modules.sessions.passport,
    })
    this.completion = new SignInCompletion(core, {
      ...modules,
      identities,
      canVerifyEmail: this.canVerifyEmail,
      confirmation: new SessionConfirmation(core.knex, { ...modules, identities }),
      lastProvider: this.lastProvider,
      notifications: this.notifications,
      pendingRegistrations: this.pendingRegistrations,
      resolver: this.resolver,
      signedOutMarker: this.signedOutMarker,
    })
  }
}
