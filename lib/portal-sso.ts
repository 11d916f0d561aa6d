import type { RequestHandler, Router } from 'express'
import { type AdminOptions, adminRouter } from './admin/admin.ts'
import { BreakGlassApi } from './classic-login/break-glass.ts'
import type { PortalEvents } from './events/event-log.ts'
import { type GuardOptions, guard } from './guard.ts'
import { HistoryApi } from './management/history-api.ts'
import { ProvidersApi } from './management/providers-api.ts'
import { rotateSecrets } from './management/rotate-secrets.ts'
import { SessionsApi } from './management/sessions-api.ts'
import { UsersApi } from './management/users-api.ts'
import type { Modules } from './modules.ts'
import { limitRefusals } from './rate-limit-routes.ts'
import { portalRouter } from './router.ts'
import { type SessionMiddlewareOptions, sessionMiddleware } from './session.ts'
import { type ActOptions, resolveActOptions } from './shared/act-options.ts'
import { TestSignInsApi } from './test-sign-in/test-sign-ins-api.ts'

/** What administrators and code do in one portal. Every method takes `{ portal, actor }` as its last argument. */
export class PortalApi {
  readonly providers: ProvidersApi
  readonly sessions: SessionsApi
  readonly users: UsersApi
  readonly history: HistoryApi
  readonly testSignIns: TestSignInsApi
  readonly breakGlass: BreakGlassApi

  /** @internal */
  constructor({ classicLogin, history, management, testSignIns, users }: Modules, portal = 'default') {
    this.providers = new ProvidersApi(management, portal)
    this.sessions = new SessionsApi(management, portal)
    this.users = new UsersApi(users, portal)
    this.history = new HistoryApi(history, portal)
    this.testSignIns = new TestSignInsApi(testSignIns, portal)
    this.breakGlass = new BreakGlassApi(classicLogin.breakGlass, portal)
  }
}

/** Single sign-on for a host application: middleware and routers to mount, and the API of the default portal. */
export class PortalSso extends PortalApi {
  /** Emits every event after it was stored. */
  readonly events: PortalEvents
  readonly #modules: Modules
  readonly #close: () => Promise<void>

  /** @internal */
  constructor(modules: Modules, close: () => Promise<void>) {
    super(modules)
    this.events = modules.events.emitter
    this.#modules = modules
    this.#close = close
  }

  /**
   * The cookie session and `req.user`. Mount it before everything that needs a user.
   *
   * @param options `own: true` where the host mounts its own express-session before
   */
  session(options?: SessionMiddlewareOptions): RequestHandler {
    return sessionMiddleware(this.#modules, options)
  }

  /** The pages and routes. It also starts the maintenance of this instance, about once a minute. */
  router(): Router {
    this.#modules.maintenance.start()
    return portalRouter(this.#modules)
  }

  /**
   * Admits signed-in users only; with `maxAge` or `acr` only those who authenticated recently or strongly enough. A page
   * request is redirected to the sign-in, any other gets 401 and `application/problem+json`.
   *
   * @throws ConfigurationError when an option is wrong
   */
  guard(options?: GuardOptions): RequestHandler {
    return guard(this.#modules.core, this.#modules, options)
  }

  /** For the host's password handler: refuses the classic login while a provider is enabled. */
  classicLoginGate(): RequestHandler {
    return this.#modules.classicLogin.gate(limitRefusals(this.#modules))
  }

  /**
   * The pages on which administrators connect providers. Mount them where you like.
   *
   * @throws ConfigurationError without `authorize`
   */
  admin(options: AdminOptions): Router {
    const { core, errorHandler, history, pages, posted, testSignIns, users } = this.#modules
    const { providers, sessions } = this
    const context = { ...core, errorHandler, history, pages, posted, testSignIns, users }
    return adminRouter({ ...context, providers, sessionsApi: sessions }, options)
  }

  /** The same API, bound to one portal. */
  portal(name: string): PortalApi {
    return new PortalApi(this.#modules, name)
  }

  /**
   * Encrypts all stored client secrets and keys again, after `secret: [new, old]`.
   *
   * @returns how many providers were changed
   * @throws ManagementError `conflict` when a value opens under none of the secrets; nothing changes then
   */
  async rotateSecrets(options: Pick<ActOptions, 'actor'> = {}): Promise<{ providers: number }> {
    return await rotateSecrets(this.#modules.management, resolveActOptions(options, 'default'))
  }

  /**
   * Runs the maintenance now: it retires providers, warns of expiring secrets and deletes expired rows. For hosts that are
   * frozen between requests. Safe on any number of instances.
   */
  async runMaintenance(): Promise<void> {
    await this.#modules.maintenance.run()
  }

  /** Stops the maintenance and closes what this instance opened. A host's own Knex and Redis stay open. */
  async close(): Promise<void> {
    await this.#close()
  }
}
