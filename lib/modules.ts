import type { RequestHandler } from 'express'
import type { Account } from './account/account.ts'
import type { ClassicLogin } from './classic-login/classic-login.ts'
import type { ErrorHandler } from './events/error-handler.ts'
import type { EventLog } from './events/event-log.ts'
import type { RefusalLog } from './events/refusal-log.ts'
import type { ServiceHealth } from './health/service-health.ts'
import type { Logout } from './logout/logout.ts'
import type { Maintenance } from './maintenance/maintenance.ts'
import type { ManagementContext } from './management/context.ts'
import type { OneTimeLinks } from './one-time-links/one-time-links.ts'
import type { ProvidersTable } from './providers/providers-table.ts'
import type { Registrations } from './registration/registrations.ts'
import type { Sessions } from './sessions/sessions.ts'
import type { PickerOptions } from './sign-in/picker-route.ts'
import type { SignIn } from './sign-in/sign-in.ts'
import type { TestSignIns } from './test-sign-in/test-sign-in.ts'
import type { Users } from './users/users.ts'
import type { Core } from './web/core.ts'
import type { Pages } from './web/pages.ts'
import type { RateLimiter, RateLimits } from './web/rate-limit.ts'
import type { StateCookie } from './web/sealed-cookie.ts'

/** Every module, as `create-portal-sso.ts` wires them. Routers take what they need of it. */
export interface Modules {
  core: Core
  account: Account
  classicLogin: ClassicLogin
  consentState: StateCookie
  errorHandler: ErrorHandler
  events: EventLog
  /** Parses forms. */
  form: RequestHandler
  logout: Logout
  logoutState: StateCookie
  maintenance: Maintenance
  management: ManagementContext
  oneTimeLinks: OneTimeLinks
  pages: Pages
  picker: PickerOptions
  /** Parses posts, after refusing those from other sites. */
  posted: RequestHandler[]
  providersTable: ProvidersTable
  rateLimiter: RateLimiter
  rateLimits: RateLimits | false
  refusalLog: RefusalLog
  registration: Registrations
  serviceHealth: ServiceHealth
  sessions: Sessions
  signIn: SignIn
  testSignIns: TestSignIns
  users: Users
}
