import type { Request, RequestHandler, Response } from 'express'
import { LRUCache } from 'lru-cache'
import type { PassportStatic } from 'passport'
import type { HttpClients } from '../oidc/http-client.ts'
import type { Identity } from '../oidc/identity.ts'
import { createProviderClient, type ProviderClient } from '../oidc/provider-client.ts'
import { signingKeyOf } from '../providers/client-key.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { Attempts } from './attempts.ts'
import { type Begin, type Finish, ProviderStrategy } from './provider-strategy.ts'

/** The clients of all providers: built when somebody needs one, then shared until the row's version changes. */
export interface ProviderClients {
  /** @throws PortalSsoError `provider_unavailable` when the provider gives no metadata that can be used */
  of(provider: Provider): Promise<ProviderClient>
}

/** More providers than this take turns; each costs a few kilobytes and a discovery to build. */
export const mostProviders = 200
// Providers move an endpoint now and then: their documents are read again after an hour, in milliseconds.
const lifetime = 3_600_000

export function createProviderClients(table: ProvidersTable, outbound: HttpClients): ProviderClients {
  const pending = new Map<string, Promise<ProviderClient>>()
  const built = new LRUCache<
    string,
    { version: number; client: ProviderClient; referenced: string | undefined }
  >({
    max: mostProviders,
    ttl: lifetime,
  })

  /** Read at each use, so that a rotated secret applies at once, and a reference that is no longer allowed is refused. */
  async function readReference({ clientSecretReference }: Provider): Promise<string | undefined> {
    if (clientSecretReference === undefined) return undefined
    try {
      return await table.readSecretReference(clientSecretReference)
    } catch (cause) {
      throw new PortalSsoError('provider_unavailable', 'the client secret cannot be read', { cause })
    }
  }

  async function build(provider: Provider, referenced?: string): Promise<ProviderClient> {
    const credentials = {
      clientSecret: referenced ?? (await table.clientSecret(provider)),
      signingKey: async () => await signingKeyOf(await table.clientKeys(provider), Date.now()),
    }
    const client = await createProviderClient(
      provider,
      credentials,
      outbound.clientFor(provider.id, provider),
    ).catch((cause: unknown) => {
      throw new PortalSsoError('provider_unavailable', 'the provider cannot be used', { cause })
    })
    built.set(provider.id, { version: provider.version, client, referenced })
    return client
  }

  return {
    /** One build serves all who ask meanwhile; a failed one is forgotten, so the next to ask tries anew. */
    async of(provider) {
      const referenced = await readReference(provider)
      const kept = built.get(provider.id)
      if (kept?.version === provider.version && kept.referenced === referenced) return kept.client
      const key = `${provider.id}@${provider.version}`
      const building = pending.get(key) ?? build(provider, referenced).finally(() => pending.delete(key))
      pending.set(key, building)
      return await building
    },
  }
}

/** The protocol of all providers: one Passport strategy for each row and version, built when somebody needs it. */
export interface ProviderStrategies {
  /**
   * Remembers an attempt in this browser.
   *
   * @returns where at the provider the browser has to go
   * @throws PortalSsoError `provider_unavailable` when the provider gives no metadata that can be used
   */
  begin(req: Request, res: Response, provider: Provider, step: Omit<Begin, 'step' | 'lead'>): Promise<string>
  /**
   * @returns who came back
   * @throws PortalSsoError when any check fails
   */
  finish(req: Request, res: Response, provider: Provider, step: Omit<Finish, 'step'>): Promise<Identity>
}

export interface ProviderStrategiesParts {
  urls: PortalUrls
  attempts: Attempts
  clients: ProviderClients
  passport: InstanceType<PassportStatic['Passport']>
}

interface Built {
  client: ProviderClient
  name: string
}

/** milliseconds */
const grace = 60_000

export function createProviderStrategies({
  urls,
  attempts,
  clients,
  passport,
}: ProviderStrategiesParts): ProviderStrategies {
  let strategies = 0
  const built = new LRUCache<string, Built>({
    max: mostProviders,
    dispose({ name }) {
      // An answer that is being judged right now still needs it.
      setTimeout(() => passport.unuse(name), grace).unref()
    },
  })

  async function nameOf(provider: Provider): Promise<string> {
    const client = await clients.of(provider)
    const kept = built.get(provider.id)
    if (kept?.client === client) return kept.name
    const name = `${provider.id}@${provider.version}#${++strategies}`
    const callback = urls.callback(provider.slug, provider.portal)
    passport.use(name, new ProviderStrategy(provider, client, attempts, callback))
    built.set(provider.id, { client, name })
    return name
  }

  return {
    async begin(req, res, provider, step) {
      const name = await nameOf(provider)
      return await new Promise((resolve, reject) => {
        const asked = { ...step, step: 'begin', onRedirectUrl: resolve } satisfies Begin
        const run = passport.authenticate(name, asked as object) as RequestHandler
        run(req, res, reject)
      })
    },
    async finish(req, res, provider, step) {
      const name = await nameOf(provider)
      return await new Promise((resolve, reject) => {
        // By name: handed an instance, Passport writes this request's `success` onto the shared object, and one person's
        // answer ends in another's request.
        const asked = { ...step, step: 'finish' } satisfies Finish
        const run = passport.authenticate(name, asked as object, (error: unknown, identity?: unknown) => {
          if (error || !identity) reject(error ?? new PortalSsoError('answer_invalid', 'the strategy failed'))
          else resolve(identity as Identity)
        }) as RequestHandler
        run(req, res, reject)
      })
    },
  }
}
