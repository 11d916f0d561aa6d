import type { Application, ErrorRequestHandler, Request, RequestHandler, Response, Router } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from './core.ts'

/** A layer of Express 4 or 5. */
interface Layer {
  name?: string
  handle: { stack?: Layer[] }
  /** whether it is mounted at `/`, in Express 5 */
  slash?: boolean
  /** the same in Express 4 */
  regexp?: { fast_slash?: boolean }
}

const foreignSession = /cookie-?session/i

/** By the names of middleware functions. */
const advice: readonly [name: RegExp, advice: string, mayComeFirst?: true][] = [
  [
    /csrf|xsrf|lusca/i,
    'mount `sso.router()` before it: it refuses the posts of providers and of our pages, which have their own CSRF protection',
  ],
  [/^authenticate$/, 'if it is `passport.session()`, remove it: `sso.session()` restores the users'],
  [
    /^initialize$/,
    'remove `passport.initialize()`: `req.login` would use its serializer, and start a session that nobody can revoke',
    true,
  ],
  [
    foreignSession,
    'remove it: the portal needs `req.session` of express-session, which `sso.session()` provides',
  ],
]

/** Paths below the mount path. `POST /login` may be the classic login of the host. */
const ourPaths = /^\/(?:login(?:\/.*)?|register(?:\/.*)?|logout(?:\/.*)?|account\/security(?:\/.*)?)$/i
const isOurs = ({ method }: Request, path: string) =>
  ourPaths.test(path) && !(method === 'POST' && /^\/login\/?$/i.test(path))

/** Express leaves the last matching route in `req.route`. */
const isAtHostRoute = ({ route }: { route?: unknown }) => route !== undefined

interface HostMiddlewareModules {
  handleError: ErrorRequestHandler
  /** Called if cookie-session replaces `req.session`. */
  onForeignSession(): void
  /** Logs with a limit for each client address. */
  report(req: Request, message: string, fields: object): void
}

/**
 * Finds middleware that the host mounted before our router and that breaks it: at the first request, when Express knows the order,
 * and whenever such middleware refuses a request for one of our pages. It never lets a request bypass the host's middleware.
 */
export class HostMiddleware {
  readonly #core: Pick<Core, 'logger' | 'urls'>
  readonly #modules: HostMiddlewareModules
  /** the return values of `sso.session()` and `sso.router()` */
  readonly #sessions = new Set<unknown>()
  readonly #routers = new Set<unknown>()
  readonly #reached = new WeakSet<Request>()
  readonly #found = new Set<string>()
  #isChecked = false

  constructor(core: Pick<Core, 'logger' | 'urls'>, modules: HostMiddlewareModules) {
    this.#core = core
    this.#modules = modules
  }

  /**
   * No nested router: each one that a request only passes costs a turn of the event loop.
   *
   * @returns the middleware of `sso.session()`
   */
  watchSession(handle: RequestHandler): RequestHandler {
    const session: RequestHandler = (req, res, next) => {
      this.#checkOnce(req)
      if (req.method === 'POST') this.#watchPost(req, res)
      handle(req, res, next)
    }
    this.#sessions.add(session)
    return session
  }

  /** @param routes the middleware of `sso.router()`, which requests for other paths than `paths` do not enter */
  watchRouter(routes: Router, paths: RegExp): Router {
    const entrance = routes as Router & { handle: RequestHandler }
    const { handle } = entrance
    entrance.handle = (req, res, next) => {
      this.#checkOnce(req)
      if (req.method === 'POST') this.#reached.add(req)
      if (paths.test(req.path)) handle.call(entrance, req, res, next)
      else next()
    }
    this.#routers.add(routes)
    return routes
  }

  #checkOnce({ app }: { app?: Application }): void {
    // Without Express, such as in a WebSocket handshake, there is none.
    if (this.#isChecked || !app) return
    this.#isChecked = true
    this.#check(app)
  }

  #check(app: Application): void {
    // Express 4 throws at `app.router`.
    const { stack = [] } = ((app as { _router?: unknown })._router ?? app.router) as Layer['handle']
    const layers = this.#flatten(stack)
    const names = layers.map(({ name = '' }) => name)
    const [session, router] = [this.#isSession, this.#isRouter].map((isIt) =>
      layers.findIndex(({ handle }) => isIt(handle)),
    ) as [number, number]
    for (const [at, name] of names.slice(0, Math.max(router, 0)).entries())
      for (const [pattern, sentence, mayComeFirst] of advice)
        if (pattern.test(name) && !(mayComeFirst && at < session)) this.#found.add(`${name}: ${sentence}`)
    if (this.#found.size > 0)
      this.#core.logger.warn(
        { middleware: [...this.#found] },
        'middleware before `sso.router()` can break the sign-in',
      )
    if (names.some((name) => foreignSession.test(name))) this.#modules.onForeignSession()
    // Express calls only error handlers that come after the failure, and the host's own cannot know what to do about it.
    for (const layer of layers)
      if (this.#isRouter(layer.handle))
        Object.assign(layer, { handleError: this.#explain, handle_error: this.#explain })
  }

  readonly #isRouter = (handle: unknown) => this.#routers.has(handle)
  readonly #isSession = (handle: unknown) => this.#sessions.has(handle)

  /** The middleware of all paths in its order, and ours. */
  #flatten(stack: readonly Layer[]): Layer[] {
    return stack.flatMap((layer) => {
      const { handle, regexp, slash = regexp?.fast_slash } = layer
      const isOwn = ({ handle }: Layer) => this.#isSession(handle) || this.#isRouter(handle)
      const inner = handle.stack && !isOwn(layer) ? this.#flatten(handle.stack) : [layer]
      return slash || inner.some(isOwn) ? inner : []
    })
  }

  /** An error of middleware before our router, on one of our pages. A route of the host, or a refusal such as 401, is its own. */
  readonly #explain: ErrorRequestHandler = (error: unknown, req, res, next) => {
    const {
      code,
      message,
      status = 500,
    } = (error ?? {}) as { [name in 'code' | 'message' | 'status']?: unknown }
    const isCsrf = code === 'EBADCSRFTOKEN' || /csrf/i.test(String(message))
    const isExplained = (isCsrf || status === 500 || status === 400) && !isAtHostRoute(req)
    if (res.headersSent || !isOurs(req, req.path) || !isExplained) return next(error)
    this.#reached.add(req)
    const described = `middleware before \`sso.router()\` failed (${this.#advice()})`
    const problem = new PortalSsoError(status === 400 ? 'request_invalid' : 'misconfigured', described, {
      cause: error,
    })
    this.#modules.handleError(problem, req, res, next)
  }

  /** Reports middleware that refuses a post without an error, whatever its name is. */
  #watchPost(req: Request, res: Response): void {
    const [path = ''] = req.originalUrl.split('?')
    const prefix = this.#core.urls.path('')
    if (path.startsWith(prefix) && isOurs(req, path.slice(prefix.length)))
      res.once('finish', () => {
        const { statusCode: status } = res
        if (status < 400 || status === 429 || this.#reached.has(req) || isAtHostRoute(req)) return
        const message = 'middleware before `sso.router()` refused a post to one of our pages'
        this.#modules.report(req, message, { status, advice: this.#advice() })
      })
  }

  #advice(): string {
    return [...this.#found].join('; ') || 'mount `sso.router()` before it'
  }
}
