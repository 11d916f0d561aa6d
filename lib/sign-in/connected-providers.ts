import type { Request, RequestHandler, Response, Router } from 'express'
import { LRUCache } from 'lru-cache'
import type { PassportStatic } from 'passport'
import type { HealthProbes } from '../health/health-probes.ts'
import type { HttpClients } from '../oidc/http-client.ts'
import type { ProviderClient, Succession } from '../oidc/provider-client.ts'
import { type Provider, type ProviderHealth, providerName } from '../providers/provider.ts'
import type { ConnectedState, ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { type Pages, sendRedirectPage } from '../web/pages.ts'
import { failedExchangeKey, failedExchanges, type RateLimiter } from '../web/rate-limit.ts'
import { isSafeMethod } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { Attempt, Attempts } from './attempts.ts'
import type { Begin, Finish, ValidatedSignIn } from './provider-strategy.ts'

/** Each takes about 14 kB, and a discovery to build. If more providers are in use, they take turns. */
const maxConnections = 4000
/** Providers sometimes move an endpoint. */
const metadataTtlMs = 3_600_000
/** until the metadata is read again because an endpoint is gone. Attacker: made-up codes, which could cause it continuously. */
const rediscoveryCooldownMs = 5_000
/** The strategy of a dropped connection stays registered this long, because a response may be in flight. */
const strategyGraceMs = 60_000
/** A provider from which no user has returned for so long may be down: then users see an error page of their browser. */
const unansweredMs = 10_000

/** Loads openid-client, jose and passport-openidconnect with the first use of a provider, so that the portal starts faster. */
async function loadProtocol() {
  const { createProviderClient } = await import('../oidc/provider-client.ts')
  const { IssuerMismatchError } = await import('../oidc/discovery.ts')
  const { ProviderStrategy } = await import('./provider-strategy.ts')
  return { createProviderClient, IssuerMismatchError, ProviderStrategy }
}

/** The modules that the connections of all providers share. */
export interface ConnectionContext {
  readonly clock: Core['clock']
  readonly urls: PortalUrls
  readonly attempts: Attempts
  readonly pages: Pages
  readonly providersTable: ProvidersTable
  readonly healthProbes: HealthProbes
  readonly outbound: HttpClients
  readonly passport: InstanceType<PassportStatic['Passport']>
  readonly rateLimiter: RateLimiter
  /** @param connection left out: for names that no provider has */
  buildRouter(connection?: ProviderConnection): Router
}

interface BuiltClient {
  /** Passport gets strategies by name: given an instance, it would mix up concurrent requests. */
  strategyName: string
  building: Promise<ProviderClient>
  expiresAt: number
  referencedSecret: string | undefined
}

/** The router, the client and the Passport strategy of one version of a provider's row. */
export class ProviderConnection {
  readonly provider: Provider
  readonly router: Router
  /** as the row is now; a change of it is no new version */
  health: ProviderHealth | undefined
  readonly #name: string
  readonly #context: ConnectionContext
  #current: BuiltClient | undefined
  /** Its cached keys are kept when the client is built again. */
  #latestClient: ProviderClient | undefined
  #builds = 0
  #dropped = false
  #nextRediscoveryAt = 0
  /** the first authorization request since a user returned from the provider */
  #unansweredSince: number | undefined

  constructor(provider: Provider, name: string, context: ConnectionContext) {
    this.provider = provider
    this.#name = name
    this.health = provider.health
    this.#context = context
    this.router = context.buildRouter(this)
  }

  /**
   * Enough to sign out, which needs no client secret: it works while a referenced secret cannot be read. Concurrent callers
   * share one build; a failed one is not kept.
   *
   * @throws PortalSsoError `provider_unavailable` or `provider_error` if the provider has no usable metadata
   */
  async client(): Promise<ProviderClient> {
    const current = this.#current
    const isFresh = current !== undefined && Date.now() < current.expiresAt
    return await (isFresh ? current : this.#rebuild(undefined)).building
  }

  /**
   * Starts an attempt in this browser.
   *
   * @returns the URL of the authorization request
   * @throws PortalSsoError `provider_unavailable` or `provider_error` if the provider has no usable metadata, `provider_error` if its
   * secret cannot be read
   */
  async begin(
    req: Request,
    res: Response,
    request: Omit<Begin, 'step' | 'uiLocales' | 'onRedirectUrl'>,
  ): Promise<string> {
    const strategyName = await this.#readyStrategy()
    const now = Date.now()
    this.#unansweredSince ??= now
    if (now - this.#unansweredSince >= unansweredMs) {
      this.#unansweredSince = now
      this.#context.healthProbes.suspect(this.provider)
    }
    return await new Promise((resolve, reject) => {
      const uiLocales = this.#context.pages.locales.remember(req, res)
      const step = { ...request, step: 'begin', uiLocales, onRedirectUrl: resolve } satisfies Begin
      const run = this.#context.passport.authenticate(strategyName, step as object) as RequestHandler
      run(req, res, reject)
    })
  }

  /**
   * Sends the browser to the provider a second time: it may support only one of `max_age` and `prompt=login`. Call this only if
   * `canRetry` allows it.
   */
  async retry(req: Request, res: Response, attempt: Attempt, pages: Pages): Promise<void> {
    const { purpose, returnTo, otherAccount = false, reauthentication, restarted, askedLogin } = attempt
    // The strategy refuses to begin with the query of an authorization response.
    const start = Object.create(req, { query: { value: {} }, body: { value: undefined } }) as Request
    const href = await this.begin(start, res, {
      ...{ purpose, returnTo, otherAccount, reauthentication, restarted },
      retry: askedLogin ? 'max_age' : 'login',
    })
    // A form that the provider posted came through our own page, whose `form-action` would block a redirect.
    if (isSafeMethod(req)) res.status(303).set('location', href).end()
    else
      await sendRedirectPage(pages, req, res, { href, name: providerName(this.provider, pages.locale(req)) })
  }

  /**
   * Validates the authorization response and the tokens.
   *
   * @throws PortalSsoError if any check fails
   */
  async authenticate(
    req: Request,
    res: Response,
    received: Pick<Finish, 'response' | 'attempt' | 'trace'>,
  ): Promise<ValidatedSignIn> {
    this.#unansweredSince = undefined
    const strategyName = await this.#readyStrategy()
    const { healthProbes } = this.#context
    const onFault = () => healthProbes.suspect(this.provider, true)
    const onWrongCode = async () => {
      const { portal, slug } = this.provider
      this.#context.rateLimiter.count(
        failedExchanges,
        failedExchangeKey(req, () => portal, slug),
      )
    }
    const step = { ...received, step: 'finish', onWrongCode, onFault } satisfies Finish
    const { passport } = this.#context
    const validated = await new Promise((resolve, reject) => {
      const done = (error: unknown, result: unknown) => (error ? reject(error) : resolve(result))
      const run = passport.authenticate(strategyName, step as object, done) as RequestHandler
      run(req, res, (error: unknown) => done(error, undefined))
    })
    if (!validated) throw new PortalSsoError('response_invalid', 'the strategy failed')
    if (this.health) healthProbes.recover({ ...this.provider, health: this.health })
    return validated as ValidatedSignIn
  }

  /** Unregisters the strategy once no response can be in flight any more. */
  drop(): void {
    this.#dropped = true
    if (this.#current) this.#unregisterLater(this.#current.strategyName)
  }

  /** A secret that the row only refers to is read at each use, so that a rotated or no longer allowed one applies at once. */
  async #readyStrategy(): Promise<string> {
    const reference = this.provider.clientSecretReference
    const referencedSecret = reference === undefined ? undefined : await this.#readSecret(reference)
    const current = this.#current
    const isUsable =
      current && Date.now() < current.expiresAt && current.referencedSecret === referencedSecret
    const { building, strategyName } = isUsable ? current : this.#rebuild(referencedSecret)
    await building
    return strategyName
  }

  #rebuild(referencedSecret: string | undefined): BuiltClient {
    if (this.#current) this.#unregisterLater(this.#current.strategyName)
    const strategyName = `${this.#name}.${++this.#builds}`
    const building = this.#build(strategyName, referencedSecret)
    const current = { strategyName, building, expiresAt: Date.now() + metadataTtlMs, referencedSecret }
    this.#current = current
    building.catch(() => {
      if (this.#current === current) this.#current = undefined
    })
    return current
  }

  /** Lets the next request read the metadata again: an endpoint is gone, so the provider may have moved it. */
  #expire(): void {
    if (!this.#current || Date.now() < this.#nextRediscoveryAt) return
    this.#nextRediscoveryAt = Date.now() + rediscoveryCooldownMs
    this.#current.expiresAt = 0
  }

  #unregisterLater(strategyName: string): void {
    setTimeout(() => this.#context.passport.unuse(strategyName), strategyGraceMs).unref()
  }

  async #readSecret(reference: string): Promise<string> {
    try {
      return await this.#context.providersTable.readSecretReference(reference)
    } catch (cause) {
      throw new PortalSsoError('provider_error', 'the client secret cannot be read', { cause })
    }
  }

  async #build(strategyName: string, referencedSecret: string | undefined): Promise<ProviderClient> {
    const { createProviderClient, IssuerMismatchError, ProviderStrategy } = await loadProtocol()
    const { provider } = this
    const { attempts, clock, outbound, passport, providersTable, urls } = this.#context
    const isReferenced = provider.clientSecretReference !== undefined
    const credentials = {
      clientSecret: isReferenced ? referencedSecret : await providersTable.clientSecret(provider),
      clientKeys: () => providersTable.clientKeys(provider),
    }
    const httpClient = outbound.clientFor(provider.id, provider)
    const succession: Succession = {
      previous: this.#latestClient,
      onMoved: () => this.#expire(),
      onKeys: (response, askedAt) => clock.compareWithProvider(response, askedAt, provider.issuer),
    }
    const building = createProviderClient(provider, credentials, httpClient, succession)
    const client = await building.catch((cause: unknown) => {
      this.#context.healthProbes.suspect(provider)
      // Waiting would not help: the settings, or the provider's own, are wrong.
      const code = cause instanceof IssuerMismatchError ? 'provider_error' : 'provider_unavailable'
      throw new PortalSsoError(code, 'the provider cannot be used', { cause })
    })
    this.#latestClient = client
    const callbackUrl = urls.callback(provider.slug, provider.portal)
    passport.use(strategyName, new ProviderStrategy(provider, client, attempts, callbackUrl))
    if (this.#dropped) this.#unregisterLater(strategyName)
    return client
  }
}

/** One router, client and Passport strategy per connected provider, generated from its row and dropped together. */
export class ConnectedProviders {
  readonly #connections: LRUCache<string, ProviderConnection>
  readonly #core: Core
  readonly #context: ConnectionContext
  #unknown: Router | undefined
  #preparing: Promise<unknown> | undefined
  #built = 0

  /** @param max for tests */
  constructor(core: Core, context: Omit<ConnectionContext, 'clock' | 'urls'>, max = maxConnections) {
    this.#connections = new LRUCache({ max, dispose: (connection) => connection.drop() })
    this.#core = core
    this.#context = { ...context, clock: core.clock, urls: core.urls }
  }

  /** Loads what the first sign-in needs. The login page does this, because users take longer to choose a provider. */
  prepare(): void {
    const { outbound } = this.#context
    this.#preparing ??= Promise.allSettled([loadProtocol(), outbound.prepare()])
  }

  async close(): Promise<void> {
    await this.#preparing
  }

  /** @param provider as the row is now: a new version gets a new connection */
  connect(provider: Provider): ProviderConnection {
    const current = this.#current(provider)
    if (current) return current
    const { id, version } = provider
    const name = `${id}@${version}#${++this.#built}`
    const connection = new ProviderConnection(provider, name, this.#context)
    this.#connections.set(id, connection)
    return connection
  }

  /** @returns the connection that was built from the row as it is now */
  #current({
    enabled,
    health,
    id,
    reauthentication,
    version,
  }: ConnectedState): ProviderConnection | undefined {
    const connection = this.#connections.get(id)
    // A retirement disables a provider by the clock, and a test sign-in finds out about re-authentication, without a new version.
    const isCurrent =
      connection?.provider.version === version &&
      connection.provider.enabled === enabled &&
      connection.provider.reauthentication === reauthentication
    if (!isCurrent) return undefined
    connection.health = health
    return connection
  }

  /**
   * Sends `/login/:provider/…` to that provider's router. It reads the row for each request, so that a change made by any
   * process applies to the next click.
   */
  readonly route = asyncHandler(async (req, res, next) => {
    const { providersTable } = this.#context
    const [portal, slug] = [this.#core.portalOf(req), req.params.provider]
    const connection = await this.#core.breakers.database.run(async () => {
      const state = await providersTable.findState(portal, slug)
      const current = state && this.#current(state)
      if (current || !state) return current
      const provider = await providersTable.find(portal, slug)
      return provider && this.connect(provider)
    })
    // While users try, the probes come sooner.
    if (connection?.health)
      this.#context.healthProbes.suspect({ ...connection.provider, health: connection.health })
    this.#unknown ??= this.#context.buildRouter()
    const router = connection?.router ?? this.#unknown
    router(req, res, next)
  })
}
