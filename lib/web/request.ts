import type { Request } from 'express'
import ipaddr from 'ipaddr.js'
import { PortalSsoError } from '../shared/errors.ts'

/**
 * The network that a client's address is in, such as `203.0.113.0/24`. With `trust proxy` the address is what a header says:
 * only what reads as an address is one. Some proxies write the port behind it (Azure Application Gateway): if that were no
 * address, all people behind them would be one client, and one of them could use up the limits of all.
 *
 * @param bits how much of the address is kept; an IPv4 address written as IPv6 (RFC 4291, 2.5.5.2) is an IPv4 address
 * @returns `undefined` for anything that is no address
 */
export function clientNetwork(
  client: string | undefined,
  bits: { ipv4: number; ipv6: number },
): string | undefined {
  const address = client?.replace(/^\[([^\]]+)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2')
  if (address === undefined || !ipaddr.isValid(address)) return undefined
  const parsed = ipaddr.process(address)
  const kept = bits[parsed.kind()]
  const bytes = parsed
    .toByteArray()
    .map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, kept - at * 8))))
  const network = ipaddr.fromByteArray(bytes).toString()
  return kept === bytes.length * 8 ? network : `${network}/${kept}`
}

/** Which portal a request is for. */
export type PortalResolver = (req: Request) => string

/** Starts and ends with a letter or digit, in lower case: a site has one spelling only. */
export const portalName = /^[a-z0-9](?:[a-z0-9_.:-]{0,98}[a-z0-9])?$/

/**
 * What the host's function says is part of keys and cookies, and often comes from the Host header. One spelling only:
 * `PORTAL.example.com` and `portal.example.com.` are the same site, and would be portals without a provider, in which the
 * classic login is open.
 */
export function createPortalResolver(
  portal: (req: Request) => string,
  baseUrl: string | Readonly<Record<string, string>>,
): PortalResolver {
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

/** Whether an address alone can ask for it again: a redirect may lead back to it, and none of its forms is lost. */
export function isSafeMethod({ method }: Request): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** Whether a person is to read the answer, rather than a script that wants JSON. */
export function acceptsHtml(req: Request): boolean {
  // A fetch() of a page's script says `Accept: */*` like many a tool, but its destination is empty.
  if (req.get('sec-fetch-dest') === 'empty') return false
  return req.accepts(['html', 'json']) === 'html'
}
