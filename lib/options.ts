import type { Request } from 'express'
import type { Knex } from 'knex'
import type { EventSettings } from './events/events.ts'
import type { Logger } from './logger.ts'
import type { Mailer } from './mail/mailer.ts'
import type { OutboundSettings } from './providers/outbound-http.ts'
import type { RegistrationField } from './registration/registration-form.ts'
import type { PartialLimits, SessionLimits } from './sessions/limits.ts'
import type { RedisLike } from './sessions/redis-store.ts'
import type { RegistrationPolicy } from './sign-in/look-up.ts'
import type { UserDirectory } from './users/user-directory.ts'
import type { Branding } from './web/pages.ts'
import type { RateLimits } from './web/rate-limit.ts'

export interface PortalSsoOptions {
  /**
   * Public origin of the application, such as `https://portal.example.com`; with several portals an origin for each,
   * `{ 'north': 'https://north.example.com', … }`. Callback URLs are built from it, never from the Host header. https, or
   * http on a loopback address for development.
   */
  baseUrl: string | Record<string, string>
  /** 32 or more random characters, no spaces. An array rotates: the first one writes, all read. An `undefined` of `process.env` fails at start. */
  secret: string | string[] | undefined
  /** a Knex instance of the host's, a Knex configuration, or a URL: `postgres://…`, `sqlite:file`. `undefined` fails at start */
  database: Knex | Knex.Config | string | undefined
  /** bring the tables up to date at start; default true. Otherwise `portal-sso migrate` does */
  migrate?: boolean | undefined
  /** a connected `redis` client or cluster; left out: sessions in the process, for development only */
  redis?: RedisLike | undefined
  /** the host's own users; left out: the table `sso_users` */
  users?: UserDirectory | undefined
  /** which portal a request is for; left out: one portal, `default` */
  portal?: ((req: Request) => string) | undefined
  /** where `sso.router()` is mounted; default `/` */
  mountPath?: string | undefined
  /** where a sign-in without a deep link leads; default `/` */
  homePath?: string | undefined
  /** who may register; default `open`: everybody whose address is certain, see `RegistrationPolicy` */
  registration?: RegistrationPolicy | undefined
  /** fields added to the registration form; default none */
  registrationFields?: RegistrationField[] | undefined
  /** address of the terms to accept at registration; default none */
  registrationTerms?: string | undefined
  /** default 30 minutes idle, 12 hours absolute, users asked for every 5 s */
  session?: Partial<SessionOptions> | undefined
  /** how the pages look; default the name `Portal` and nothing else */
  branding?: Partial<Branding> | undefined
  /** a folder whose templates replace ours of the same name */
  viewsDir?: string | undefined
  /** break glass: requests for which it is true see and may use the host's classic login all the same */
  classicLogin?: { allow: (req: Request) => boolean } | undefined
  /**
   * sends the codes that prove an address, and tells people that a way to sign in was added or removed: a transport of nodemailer's,
   * or a function; left out: a sign-in whose address nobody vouches for is refused, and nobody is told
   */
  mailer?: Mailer | undefined
  /** sender of these mails, such as `Portal <no-reply@example.com>`; default the transport's own */
  mailFrom?: string | undefined
  /** where warnings go by the mailer, such as of a client secret that runs out: one address or several; left out: no mail */
  adminMail?: string | string[] | undefined
  /** how providers are reached; default 5 s, and no addresses of private networks */
  outbound?: Partial<OutboundSettings> | undefined
  /**
   * requests a minute from one client address, which is `req.ip`: behind a proxy set Express's `trust proxy`, or all share
   * the proxy's. Default 2000 each, 200 for e-mailed codes; `false`: something in front of the portal limits already
   */
  rateLimits?: Partial<RateLimits> | false | undefined
  /** what is written down of each event; default a shortened client address, kept for 365 days */
  events?: Partial<EventSettings> | undefined
  /** pino's shape; default one line of JSON on stderr */
  logger?: Logger | undefined
}

export interface SessionOptions extends SessionLimits {
  /** portals whose limits are others; default none */
  portals: Readonly<Record<string, PartialLimits>>
  /**
   * seconds that it may take until a session notices what was changed past it: a user who was switched off in the directory, a
   * session that was ended from a command line. 0 asks at each request; default 5
   */
  userCacheSeconds: number
  /**
   * where a request comes from, for the list of somebody's sessions: a town that a CDN tells in a header, say; default the client
   * address as far as `events.clientAddress` keeps it
   */
  place?: ((req: Request) => string | undefined) | undefined
}
