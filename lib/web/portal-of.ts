import type { Request } from 'express'
import { PortalSsoError } from '../errors.ts'

/** Which portal a request is for. */
export type PortalOf = (req: Request) => string

/** Starts and ends with a letter or digit, in lower case: a site has one spelling only. */
export const portalName = /^[a-z0-9](?:[a-z0-9_.:-]{0,98}[a-z0-9])?$/

/**
 * What the host's function says is part of keys and cookies, and often comes from the Host header. One spelling only:
 * `PORTAL.example.com` and `portal.example.com.` are the same site, and would be portals without a provider, in which the
 * classic login is open.
 */
export function createPortalOf(
  portal: (req: Request) => string,
  baseUrl: string | Readonly<Record<string, string>>,
): PortalOf {
  return (req) => {
    const name: unknown = portal(req)
    const plain = typeof name === 'string' && portalName.test(name)
    if (plain && (typeof baseUrl === 'string' || Object.hasOwn(baseUrl, name))) return name
    throw new PortalSsoError(
      'request_invalid',
      'the option `portal` gave no name of a portal: lower-case letters, digits, and . : _ - inside',
    )
  }
}
