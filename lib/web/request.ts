import { parse } from 'node:querystring'
import express, { type Request, type RequestHandler, Router } from 'express'
import ipaddr from 'ipaddr.js'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'

const maxPrefix = { ipv4: 32, ipv6: 128 }

/**
 * The network of a client's address, such as `203.0.113.0/24`. With `trust proxy` the address comes from a header, and some
 * proxies append the port (Azure Application Gateway). Without parsing it, all their users would share one rate limit.
 *
 * @param bits length of the prefix to keep; an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) counts as IPv4
 * @returns `undefined` for text that is no address
 */
export function clientNetwork(
  client: string | undefined,
  bits: { ipv4: number; ipv6: number },
): string | undefined {
  // Most addresses: ipaddr.js would parse each several times.
  if (client !== undefined && ipaddr.IPv4.isValidFourPartDecimal(client)) {
    if (bits.ipv4 === maxPrefix.ipv4) return client
    if (bits.ipv4 === 24) return `${client.slice(0, client.lastIndexOf('.'))}.0/24`
  }
  const address = client?.replace(/^\[([^\]]+)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2')
  if (address === undefined || !ipaddr.isValid(address)) return undefined
  const parsed = ipaddr.process(address)
  const kind = parsed.kind()
  const prefix = bits[kind]
  if (prefix === maxPrefix[kind]) return parsed.toString()
  const { IPv4, IPv6 } = ipaddr
  const network = (kind === 'ipv4' ? IPv4 : IPv6).networkAddressFromCIDR(`${parsed.toString()}/${prefix}`)
  return `${network.toString()}/${prefix}`
}

/** A client address, or its network: what a session has as its location unless the host names a place. */
const addressPattern = /^(?:[\d.]+|[\da-f:.]*:[\da-f:.]*)(?:\/\d+)?$/i

/** @returns the place, or `undefined` for an address, which tells users nothing */
export function placeName(location: string | undefined): string | undefined {
  return location && addressPattern.test(location) ? undefined : location
}

/** @returns the name of the portal that a request is for */
export type PortalResolver = (req: Request) => string

/** Starts and ends with a lower-case letter or a digit, so that a host name has one spelling only. */
const portalName = /^[a-z0-9](?:[a-z0-9_.:-]{0,98}[a-z0-9])?$/

/**
 * Checks the name that the host's function returns, often from the Host header. An attacker could otherwise send another
 * spelling (`PORTAL.example.com`) to reach a "portal" without providers, in which the classic login is open.
 */
export function createPortalResolver(
  portal: ((req: Request) => string) | undefined,
  baseUrl: string | Readonly<Record<string, string>>,
): PortalResolver {
  return (req) => {
    const name: unknown = portal ? portal(req) : 'default'
    const isName = typeof name === 'string' && portalName.test(name)
    if (isName && (typeof baseUrl === 'string' || Object.hasOwn(baseUrl, name))) return name
    throw new PortalSsoError('request_invalid', 'the option `portal` returned a name that is no portal')
  }
}

/** True for GET and HEAD: safe to redirect back to, without losing a form. */
export function isSafeMethod({ method }: Request): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** True if a browser wants to show the response; false for clients that want JSON. */
export function acceptsHtml(req: Request): boolean {
  // fetch() sends `Accept: */*` by default, as many other clients do, but its destination is empty. So is that of a navigation that
  // a service worker passes on.
  const { accept, 'sec-fetch-dest': destination, 'sec-fetch-mode': mode } = req.headers
  if (destination === 'empty' && mode !== 'navigate') return false
  // As browsers send it: nothing can come before the first type without a weight.
  if (accept?.startsWith('text/html,') || accept === 'text/html') return true
  return req.accepts(['html', 'json']) === 'html'
}

const maxFormBytes = 64 * 1024
const maxFormFields = 100

/** Reads forms. If a parser of the host has read the body before, its object, text or bytes are used. */
export function formParser(): Router {
  return Router()
    .post(/(?:)/, useParsedBody)
    .use(express.urlencoded({ extended: false, limit: maxFormBytes, parameterLimit: maxFormFields }))
}

/**
 * Reads a form with a file, for administrators only. A browser sends the file of a form as multipart/form-data, which Node's own
 * parser reads. A larger form is discarded and has no fields, so that the page can say what is allowed.
 */
export function uploadParser(): RequestHandler {
  const raw = express.raw({ type: 'multipart/form-data', limit: maxFormBytes })
  return (req, res, next) => {
    if (!req.is('multipart/form-data')) return next()
    raw(req, res, (error?: unknown) => {
      const isTooLarge = (error as { type?: unknown } | undefined)?.type === 'entity.too.large'
      if (isTooLarge) req.body = {}
      if (error || !Buffer.isBuffer(req.body)) return next(isTooLarge ? undefined : error)
      readUpload(req, req.body).then((fields) => {
        req.body = fields
        next()
      }, next)
    })
  }
}

/** @returns text, and the bytes of files, by the names of the fields */
async function readUpload(req: Request, body: Buffer): Promise<Record<string, string | Buffer>> {
  const headers = { 'content-type': req.get('content-type') ?? '' }
  const form = await new Response(new Uint8Array(body), { headers }).formData().catch((cause: unknown) => {
    throw new PortalSsoError('request_invalid', 'the form with a file cannot be read', { cause })
  })
  const fields = [...form].map(async ([name, value]): Promise<[string, string | Buffer]> => {
    return [name, typeof value === 'string' ? value : Buffer.from(await value.arrayBuffer())]
  })
  return Object.fromEntries(await Promise.all(fields))
}

const useParsedBody: RequestHandler = (req, _res, next) => {
  const body: unknown = req.body
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    const text = req.is('urlencoded') ? body.toString() : ''
    if (text.length > maxFormBytes || text.split('&').length > maxFormFields)
      throw new PortalSsoError('request_invalid', 'the form is too large')
    req.body = parse(text, '&', '=', { maxKeys: maxFormFields })
  } else if (!body && req.readableEnded && req.is('urlencoded')) {
    if (req.get('content-length') !== '0')
      throw new ConfigurationError(
        'middleware before `sso.router()` has read the form without setting `req.body`: mount `sso.router()` before it',
      )
    // Express 4 would read it again.
    Object.assign(req, { body: {}, _body: true })
  }
  next()
}
