import { type Request, type RequestHandler, Router } from 'express'
import { type AdminOptions, adminRouter } from './admin/admin.ts'
import { BreakGlassApi } from './classic-login/break-glass.ts'
import { HistoryApi } from './events/event-history.ts'
import type { PortalEvents } from './events/event-log.ts'
import { type GuardOptions, guard } from './guard.ts'
import { type Health, healthRoutes } from './health/service-health.ts'
import { IdentitiesApi } from './management/identities-api.ts'
import { ProvidersApi } from './management/providers-api.ts'
import { rotateSecrets } from './management/rotate-secrets.ts'
import { SessionsApi } from './management/sessions-api.ts'
import type { Modules } from './modules.ts'
import { limitAsStarts } from './rate-limit-routes.ts'
import { portalRouter } from './router.ts'
import type { SerializeUser } from './sessions/sessions.ts'
import { type ActOptions, resolveActOptions } from './shared/act-options.ts'
import { TestSignInsApi } from './test-sign-in/test-sign-in-links.ts'
import { UsersApi } from './users/users.ts'
import { HostMiddleware } from './web/host-middleware.ts'

/** Options of `sso.session`. */
export interface SessionMiddlewareOptions {
  /** Whether the host mounts its own express-session before this. Default false: the plugin's own, in Redis. */
  own?: boolean | undefined
}

/** The actions of administrators and code in one portal. Every method takes `{ portal, actor }` as its last argument. */
export class PortalApi {
  /** Connects and manages providers. */
  readonly providers: ProvidersApi
  /** Lists and ends sessions. */
  readonly sessions: SessionsApi
  /** Finds and creates users in the directory in use: the option `users`, or the table `sso_users`. */
  readonly users: UsersApi
  /** Lists the identities of users, and decides about those that wait for an administrator. */
  readonly identities: IdentitiesApi
  /** Reads the stored events. */
  readonly history: HistoryApi
  /** Tests providers with a sign-in that starts no session. */
  readonly testSignIns: TestSignInsApi
  /** Access for when every provider fails. */
  readonly breakGlass: BreakGlassApi

  /** @internal */
  constructor(modules: Modules, portal = 'default') {
    const { classicLogin, core, management, users } = modules
    this.providers = new ProvidersApi(management, portal)
    this.sessions = new SessionsApi(management, portal)
    this.users = new UsersApi(users, portal)
    this.identities = new IdentitiesApi(management, users, portal)
    this.history = new HistoryApi(core, portal)
    this.testSignIns = new TestSignInsApi(core, modules, portal)
    this.breakGlass = new BreakGlassApi(classicLogin.breakGlass, portal)
  }
}

/**
 * The plugin of one application: middleware and routers, and the API of the default portal. Mount `session()` before everything
 * that needs a user, then `router()`.
 */
export class PortalSso extends PortalApi {
  /** Emits events after they were stored. */
  readonly events: PortalEvents
  /**
   * For `passport.serializeUser(sso.serializeUser)` on the application's own Passport: its `passport.authenticate` and `req.login`
   * then start a session of the plugin, and `session()` restores the user. Needs neither `deserializeUser` nor `passport.session()`.
   */
  readonly serializeUser: SerializeUser
  readonly #modules: Modules
  readonly #hostMiddleware: HostMiddleware
  readonly #close: () => Promise<void>
  #closed: Promise<void> | undefined

  /** @internal */
  constructor(modules: Modules, close: () => Promise<void>) {
    super(modules)
    this.events = modules.events.emitter
    this.serializeUser = modules.sessions.serializeUser
    this.#modules = modules
    const { core, errorHandler, refusalLog, sessions } = modules
    this.#hostMiddleware = new HostMiddleware(core, {
      handleError: errorHandler.handle,
      onForeignSession() {
        sessions.usesViews = true
      },
      report: (req, message, fields) => void refusalLog.write(req, { level: 'warn', message, fields }),
    })
    this.#close = close
  }

  /**
   * Middleware that runs the cookie session and sets `req.user`.
   *
   * @param options `own: true` if the host mounts its own express-session before it
   */
  session(options: SessionMiddlewareOptions = {}): RequestHandler {
    const { errorHandler, serviceHealth, sessions } = this.#modules
    if (options.own) serviceHealth.usesHostSession = true
    const open: RequestHandler = options.own ? (_req, _res, next) => next() : sessions.cookieSession()
    return this.#hostMiddleware.watchSession((req, res, next) => {
      // Errors of either get our error page; the host's would show their message.
      const unlessFailed = (proceed: () => void) => (error?: unknown) =>
        error ? errorHandler.handle(error, req, res, next) : proceed()
      const identify = () => sessions.identify(req, res, unlessFailed(next))
      open(req, res, unlessFailed(identify))
    })
  }

  /** The login, registration, account and logout pages and the protocol's endpoints. Also starts the maintenance timer. */
  router(): Router {
    this.#modules.maintenance.start()
    return portalRouter(this.#modules, this.#hostMiddleware)
  }

  /**
   * Middleware that admits signed-in users only; with `maxAge` or `acr`, only those who authenticated recently or strongly
   * enough. Pages redirect all others to the sign-in page and back; other clients get 401 as `application/problem+json`.
   *
   * @throws ConfigurationError if an option is invalid
   */
  guard(options?: GuardOptions): RequestHandler {
    return guard(this.#modules.core, this.#modules, options)
  }

  /**
   * Makes the session fresh for `guard({ maxAge })`. Call it after the application itself has authenticated the signed-in user, for
   * example with a password. `req.login` for a user who is signed in already is not an authentication.
   *
   * @throws PortalSsoError `not_signed_in` if the request has no signed-in user, such as before the callback of `req.login`
   */
  markAuthenticated(req: Request): void {
    this.#modules.sessions.markAuthenticated(req)
  }

  /** Middleware before the host's own password handler: refuses with 403 while a provider is enabled. */
  classicLoginGate(): RequestHandler {
    const { classicLogin, sessions } = this.#modules
    // After it, `req.login` starts a session of this instance, or the host's own.
    return classicLogin.gate(limitAsStarts(this.#modules), (req) => sessions.assertOwn(req))
  }

  /**
   * The pages on which administrators manage providers, sessions and events. Mount them at any path.
   *
   * @throws ConfigurationError without `authorize`
   */
  admin(options: AdminOptions): Router {
    const { core, ...modules } = this.#modules
    const { history, identities, providers, sessions: sessionsApi } = this
    const pages = adminRouter({ ...core, ...modules, history, identities, providers, sessionsApi }, options)
    // `authorize` must not see the user of another instance in the app as `req.user`.
    const check: RequestHandler = (req, _res, next) => {
      modules.sessions.assertOwn(req)
      modules.sessions.assertFresh(req)
      next()
    }
    return Router().use(check, pages, modules.errorHandler.handle)
  }

  /** The same API, bound to one portal. */
  portal(name: string): PortalApi {
    return new PortalApi(this.#modules, name)
  }

  /**
   * Encrypts all client secrets and keys with the first secret of `secret: [new, old]`.
   *
   * @returns how many providers were changed
   * @throws ManagementError `conflict` if none of the secrets decrypts a value; nothing changes then
   */
  async rotateSecrets(options: Pick<ActOptions, 'actor'> = {}): Promise<{ providers: number }> {
    return await rotateSecrets(this.#modules.management, resolveActOptions(options, 'default'))
  }

  /**
   * Runs the maintenance that the router starts every minute: disables retired providers, warns of expiring client secrets and
   * deletes expired rows. For a host that is frozen between requests. Safe on any number of instances.
   */
  async runMaintenance(): Promise<void> {
    await this.#modules.maintenance.run()
  }

  /**
   * Checks database, Redis, migrations and clock, within a second and at most once a second. Providers are not part of it: see
   * `sso.providers.list`.
   */
  async health(): Promise<Health> {
    return await this.#modules.serviceHealth.check()
  }

  /**
   * `GET /livez` and `GET /readyz` for orchestrators: `app.use(sso.healthRoutes())`, before `sso.session()`. `/livez` responds with 200
   * as long as the process responds at all. `/readyz` responds with 503 only if guarded pages would, or while the instance is closing.
   */
  healthRoutes(): Router {
    return healthRoutes(this.#modules.serviceHealth)
  }

  /**
   * Waits up to ten seconds for the requests in flight, stops the maintenance and closes what the plugin opened. The host's own Knex
   * instance and Redis client stay open. Call it after the server has stopped accepting requests, and before you close those. A second
   * call waits for the first.
   *
   * @throws the first error of what could not be closed; everything else is closed all the same
   */
  async close(): Promise<void> {
    this.#modules.serviceHealth.isClosing = true
    this.#closed ??= this.#close()
    await this.#closed
  }
}
