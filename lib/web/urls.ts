import { PortalSsoError } from '../shared/errors.ts'

/** Builds our URLs from the options, never from the `Host` header: the sender of a request chooses that. */
export class PortalUrls {
  readonly #baseUrl: string | Readonly<Record<string, string>>
  readonly #mount: string

  /** @param baseUrl one origin for all portals, or one for each */
  constructor(baseUrl: string | Readonly<Record<string, string>>, mountPath: string) {
    this.#baseUrl = baseUrl
    this.#mount = mountPath === '/' ? '' : mountPath
  }

  /** The public origin of a portal. @throws PortalSsoError if the options do not name the portal */
  origin(portal: string): string {
    const baseUrl = this.#baseUrl
    const origin = typeof baseUrl === 'string' ? baseUrl : Object.hasOwn(baseUrl, portal) && baseUrl[portal]
    if (!origin)
      throw new PortalSsoError('request_invalid', `no baseUrl for the portal ${JSON.stringify(portal)}`)
    return origin
  }

  /** The origin and the mount path of a portal, where all our pages are. */
  base(portal: string): string {
    return this.origin(portal) + this.#mount
  }

  /** Path and query of one of our pages, such as `path('/login', { returnTo })`. Undefined parameters are left out. */
  path(page: string, parameters: Record<string, string | undefined> = {}): string {
    return this.#mount + page + queryString(parameters)
  }

  /** The redirect URI of a provider. */
  callback(slug: string, portal: string): string {
    return this.origin(portal) + this.path(`/login/${slug}/callback`)
  }

  /** The redirect URI of a provider's page for admin consent. */
  adminConsent(slug: string, portal: string): string {
    return this.origin(portal) + this.path(`/login/${slug}/admin-consent/callback`)
  }

  /** The post-logout redirect URI. */
  loggedOut(portal: string): string {
    return this.origin(portal) + this.path('/logout/done')
  }

  /** The JWK set with the keys that authenticate us to a provider. */
  clientKeys(slug: string, portal: string): string {
    return this.origin(portal) + this.path(`/login/${slug}/jwks.json`)
  }

  /** The path of a provider's own logo. Below a reserved slug, so that no provider has this path. */
  providerLogo(hash: string): string {
    return this.path(`/login/assets/providers/${hash}`)
  }

  backChannelLogout(slug: string, portal: string): string {
    return this.origin(portal) + this.path(`/logout/${slug}/backchannel`)
  }

  frontChannelLogout(slug: string, portal: string): string {
    return this.origin(portal) + this.path(`/logout/${slug}/frontchannel`)
  }
}

/** @returns `?` and the parameters that are not undefined, or nothing */
export function queryString(parameters: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(parameters).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  )
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
}
