import type { EventLog } from '../events/event-log.ts'
import type { RefusalLog } from '../events/refusal-log.ts'
import { HealthProbes } from '../health/health-probes.ts'
import type { Mail } from '../mail/mail.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { RedisLike } from '../sessions/redis-client.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Users } from '../users/users.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'
import { Attempts, RedeemedCodes } from './attempts.ts'
import { BrowserHints } from './browser-hints.ts'
import { SignInCompletion } from './complete-sign-in.ts'
import { ConnectedProviders, type ConnectionContext } from './connected-providers.ts'
import { IdentityResolver, type RegistrationPolicy } from './decide.ts'
import { SignInMethodNotifications } from './notify-sign-in-method.ts'
import { PendingRegistrations } from './pending-registration.ts'
import { Reauthentication } from './reauthentication.ts'
import { AccountReclaim } from './reclaim-account.ts'
import { Refusals } from './refuse.ts'

/**
 * The way from a click on a provider to a session. It knows nothing of the registration, account and test pages above it;
 * `callback/` passes it the function that builds a provider's router.
 */
export class SignIn {
  readonly attempts: Attempts
  readonly browserHints: BrowserHints
  readonly completion: SignInCompletion
  readonly connectedProviders: ConnectedProviders
  readonly healthProbes: HealthProbes
  readonly notifications: SignInMethodNotifications
  readonly pendingRegistrations: PendingRegistrations
  readonly reauthentication: Reauthentication
  readonly reclaim: AccountReclaim
  readonly refusals: Refusals
  readonly resolver: IdentityResolver
  /** whether the portal can send codes */
  readonly canVerifyEmail: boolean

  constructor(
    core: Core,
    modules: Pick<ConnectionContext, 'buildRouter' | 'outbound' | 'rateLimiter'> & {
      events: EventLog
      refusalLog: RefusalLog
      /** left out without a mailer */
      mail: Mail | undefined
      pages: Pages
      linking: { endOtherSessions: boolean }
      registrationPolicy: RegistrationPolicy
      sessions: Sessions
      providersTable: ProvidersTable
      redis: RedisLike | undefined
      users: Users
    },
  ) {
    const { linking, mail, pages, providersTable, redis, refusalLog, registrationPolicy, users } = modules
    const { identities } = users
    this.canVerifyEmail = mail !== undefined
    this.attempts = new Attempts(core, new RedeemedCodes(core, redis))
    this.browserHints = new BrowserHints(core)
    this.notifications = new SignInMethodNotifications(core, modules)
    this.pendingRegistrations = new PendingRegistrations(core)
    this.reauthentication = new Reauthentication(core, { ...modules, identities })
    this.refusals = new Refusals(core, pages, refusalLog, providersTable)
    this.resolver = new IdentityResolver(users, registrationPolicy, linking.endOtherSessions)
    this.healthProbes = new HealthProbes(core, modules)
    this.connectedProviders = new ConnectedProviders(core, {
      ...modules,
      attempts: this.attempts,
      healthProbes: this.healthProbes,
      passport: modules.sessions.passport,
    })
    const endsOtherSessions = linking.endOtherSessions
    this.reclaim = new AccountReclaim({ ...modules, endsOtherSessions })
    this.completion = new SignInCompletion(core, {
      ...modules,
      blocked: users.blocked,
      identities,
      browserHints: this.browserHints,
      canVerifyEmail: this.canVerifyEmail,
      notifications: this.notifications,
      pendingRegistrations: this.pendingRegistrations,
      reclaim: this.reclaim,
      resolver: this.resolver,
    })
  }
}
