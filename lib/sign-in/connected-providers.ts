import { LRUCache } from 'lru-cache'
import { type Provider, slugSchema } from '../providers/provider.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { type ConnectionContext, ProviderConnection } from './provider-connection.ts'
import type { Refusals } from './refuse.ts'

/** Each costs a few kilobytes, and a discovery to build. If there are more providers, they take turns. */
const maxConnections = 200

/** One router, client and Passport strategy per connected provider, generated from its row and dropped together. */
export class ConnectedProviders {
  readonly #connections = new LRUCache<string, ProviderConnection>({
    max: maxConnections,
    dispose: (connection) => connection.drop(),
  })
  readonly #core: Core
  readonly #context: ConnectionContext
  readonly #refusals: Refusals
  #built = 0

  constructor(core: Core, refusals: Refusals, context: Omit<ConnectionContext, 'urls'>) {
    this.#core = core
    this.#refusals = refusals
    this.#context = { ...context, urls: core.urls }
  }

  /** @param provider as the row is now: a new version gets a new connection */
  connect(provider: Provider): ProviderConnection {
    const { enabled, id, version } = provider
    const current = this.#connections.get(id)
    // A retirement disables a provider by the clock, before anything writes a new version.
    if (current?.provider.version === version && current.provider.enabled === enabled) return current
    const name = `${id}@${version}#${++this.#built}`
    const connection = new ProviderConnection(provider, name, this.#context)
    this.#connections.set(id, connection)
    return connection
  }

  /**
   * Sends `/login/:provider/…` to that provider's router. It reads the row for each request, so that a change made by any
   * process applies to the next click.
   */
  readonly route = asyncHandler(async (req, res, next) => {
    const portal = this.#core.portalOf(req)
    const provider = await this.#context.table.find(portal, req.params.provider)
    if (provider) {
      this.connect(provider).router(req, res, next)
      return
    }
    // Only a slug is fit for the log: a user may have pasted anything else, a code for example.
    const slug = slugSchema.safeParse(req.params.provider).data
    const name = slug === undefined ? 'of this name' : JSON.stringify(slug)
    const error = new PortalSsoError('provider_unknown', `no provider ${name}`)
    await this.#refusals.refuse(req, res, error, { portal, returnTo: safeReturnTo(req.query.returnTo) })
  })
}
