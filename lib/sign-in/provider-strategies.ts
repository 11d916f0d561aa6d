import type { Request, RequestHandler, Response } from 'express'
import { LRUCache } from 'lru-cache'
import type { PassportStatic } from 'passport'
import { PortalSsoError } from '../errors.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProviderClient } from '../providers/provider-client.ts'
import { mostProviders, type ProviderClients } from '../providers/provider-clients.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Attempts } from './attempts.ts'
import type { Identity } from './identity.ts'
import { type Begin, type Finish, ProviderStrategy } from './provider-strategy.ts'

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
  addresses: Addresses
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
  addresses,
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
    const callback = addresses.callback(provider.slug, provider.portal)
    passport.use(name, new ProviderStrategy(provider, client, attempts, callback))
    built.set(provider.id, { client, name })
    return name
  }

  return {
    async begin(req, res, provider, step) {
      const name = await nameOf(provider)
      return await new Promise((resolve, reject) => {
        const asked = { ...step, step: 'begin', lead: resolve } satisfies Begin
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
