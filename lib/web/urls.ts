import { PortalSsoError } from '../shared/errors.ts'

/** Where our pages are. Built from the options, never from the `Host` header, which the sender of a request chooses. */
export interface PortalUrls {
  /** the public origin of a portal; @throws PortalSsoError for a portal that the options do not name */
  origin(portal: string): string
  /** path and query of one of our pages, such as `path('/login', { returnTo })`; parameters left undefined are left out */
  path(page: string, parameters?: Record<string, string | undefined>): string
  /** the redirect URI of a provider */
  callback(slug: string, portal: string): string
  /** where a provider sends administrators after they were asked to consent */
  adminConsent(slug: string, portal: string): string
  /** where a provider sends people after signing them out */
  loggedOut(portal: string): string
  /** where a provider fetches the keys that we authenticate with */
  clientKeys(slug: string, portal: string): string
  /** where a provider says that a session of its own has ended */
  backChannelLogout(slug: string, portal: string): string
  /** what a provider's page loads in a frame to say the same */
  frontChannelLogout(slug: string, portal: string): string
}

/** @param baseUrl one origin for all, or one for each portal */
export function createPortalUrls(
  baseUrl: string | Readonly<Record<string, string>>,
  mountPath: string,
): PortalUrls {
  const mount = mountPath === '/' ? '' : mountPath

  function origin(portal: string): string {
    const found = typeof baseUrl === 'string' ? baseUrl : Object.hasOwn(baseUrl, portal) && baseUrl[portal]
    if (!found)
      throw new PortalSsoError('request_invalid', `no baseUrl for the portal ${JSON.stringify(portal)}`)
    return found
  }

  function path(page: string, parameters: Record<string, string | undefined> = {}): string {
    const given = Object.entries(parameters).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    )
    const query = new URLSearchParams(given).toString()
    return mount + page + (query && `?${query}`)
  }

  return {
    origin,
    path,
    callback: (slug, portal) => origin(portal) + path(`/login/${slug}/callback`),
    adminConsent: (slug, portal) => origin(portal) + path(`/login/${slug}/admin-consent/callback`),
    loggedOut: (portal) => origin(portal) + path('/logout/done'),
    clientKeys: (slug, portal) => origin(portal) + path(`/login/${slug}/jwks.json`),
    backChannelLogout: (slug, portal) => origin(portal) + path(`/logout/${slug}/backchannel`),
    frontChannelLogout: (slug, portal) => origin(portal) + path(`/logout/${slug}/frontchannel`),
  }
}
