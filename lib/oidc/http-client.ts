import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import type { CircuitBreakerPolicy } from 'cockatiel'
import { LRUCache } from 'lru-cache'
import type { CustomFetchOptions } from 'openid-client'
import type { Dispatcher } from 'undici'
import { CheckError } from '../shared/errors.ts'
import { digest } from '../shared/seal.ts'
import { type AddressRules, createAddressRules } from './address-rules.ts'
import type { AgentLimits, Network, Resolve } from './connector.ts'
import { Turns } from './turns.ts'

/** Limits for requests to providers. */
export interface OutboundSettings {
  /** Seconds for a whole exchange: queue, connection, headers and body. 1 to 6, default 5. */
  timeoutSeconds: number
  /**
   * Addresses and ranges, at most 100, that are allowed although they are not public, such as `10.20.0.0/16`. Default none; while
   * `baseUrl` is on the loopback, that is allowed as well.
   */
  allowedAddresses: string[]
  /** Concurrent requests of one provider to one origin; further ones are queued. 1 to 1000, default 32. */
  concurrency: number
}

/** All outbound requests pass through here, limited against hostile providers. */
export interface HttpClients extends HttpClient {
  /**
   * The client of one provider, with its own connections and failure count. A hostile provider could name another provider's
   * endpoint in its metadata, and otherwise exhaust its connections or open its circuit breaker.
   *
   * @param owner id of the provider
   * @param network its proxy and certificates; a change starts with new connections and no failures
   */
  clientFor(owner: string, network?: Network): HttpClient
  /** Loads the libraries, so that the first request does not wait for them. */
  prepare(): Promise<unknown>
  close(): Promise<void>
}

export interface HttpClient {
  /** for a whole exchange */
  readonly timeoutSeconds: number
  /** Returns a response of at most 1 MiB; follows no redirect. @throws UnreachableError, or Error for a forbidden URL */
  readonly fetch: ProviderFetch
  /** The same for public documents: follows up to three redirects within their origin. */
  readonly fetchFollowingRedirects: ProviderFetch
}

/**
 * Requests with a client address, because anyone can cause them, take turns with those of other addresses. Those without one are
 * the portal's own, such as for keys: no client can delay them.
 */
export type ProviderFetch = (
  url: string,
  options: CustomFetchOptions & {
    address?: string | undefined
    /** milliseconds, of `performance.now()`; costs less than a signal */
    deadline?: number | undefined
  },
) => Promise<Response>

/** The provider did not respond, or its circuit breaker is open. */
export class UnreachableError extends CheckError {
  override readonly name = 'UnreachableError'

  constructor(message: string, options?: ErrorOptions) {
    super('unreachable', message, options)
  }
}

/** The response to a TLS handshake was not TLS. */
export class PlainHttpError extends UnreachableError {}

class ResponseTooLargeError extends CheckError {}

/** A request timed out in the queue, or while the endpoint responded to other requests. */
class QueueTimeoutError extends CheckError {}

interface Endpoint {
  breaker: CircuitBreakerPolicy
  /** milliseconds, of `performance.now()` */
  lastResponseAt: number
}

/** of one response, before and after decompression */
const maxResponseBytes = 1024 * 1024
// Requests do not ask for compression. Some servers compress all the same.
const decoders = new Map([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
])
/** Those that browsers and `fetch` refuse: a provider's metadata must not point the portal at a mail server or an IRC server. */
const blockedPorts = new Set(
  (
    '1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123 135 137 139 ' +
    '143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720 1723 ' +
    '2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080'
  ).split(' '),
)

// After five failures in a row requests to an endpoint fail at once for ten seconds, so that they hold no socket and no memory
// until they time out. Then one request tests whether it responds again.
const maxConsecutiveFailures = 5
const retryDelayMs = 10_000
const maxRedirects = 3
/** Failures of requests with larger bodies do not count: the codes of all known providers are shorter. */
const maxCountedBytes = 4096
/** providers whose connections are kept; each takes a few kilobytes */
const maxAgents = 200
const maxEndpoints = 1000
const endpointTtlMs = 3_600_000

/** @param resolve for tests; default the system's resolver */
export function createHttpClients(settings: OutboundSettings, resolve?: Resolve): HttpClients {
  const { timeoutSeconds, allowedAddresses, concurrency } = settings
  const timeoutMs = timeoutSeconds * 1000
  const rules = createAddressRules(allowedAddresses)
  let opening: ReturnType<typeof openNetwork> | undefined
  const open = () => (opening ??= openNetwork(rules, { concurrency, connectTimeoutMs: timeoutMs }, resolve))
  const origins = new LRUCache<string, Turns>({ max: maxEndpoints, memoMethod: () => new Turns(concurrency) })

  function clientFor(id: string, network: Network = {}): HttpClient {
    const owner = id + fingerprint(network)
    const fetchOnce: ProviderFetch = async (href, options) => {
      const url = new URL(href)
      if (!isFetchable(url)) throw new CheckError('https', `${url.origin} is not https`)
      const { agents, assertProxyAllowed, endpoints } = await open()
      if (network.proxy !== undefined) assertProxyAllowed(url, rules)
      const endpoint = endpoints.memo(`${owner} ${url.origin}${url.pathname}`)
      try {
        if (blockedPorts.has(url.port))
          throw new CheckError('address', `the port ${url.port} is for another protocol`)
        return await endpoint.breaker.execute(() => {
          const dispatcher = agents.memo(owner, { context: network })
          const turns = origins.memo(`${owner} ${url.origin}`)
          return exchange(endpoint, url, { ...options, timeoutMs, dispatcher, turns })
        })
      } catch (cause) {
        if (cause instanceof ResponseTooLargeError) throw cause
        if (isPlainHttp(cause)) throw new PlainHttpError(`${url.origin}: this address speaks plain http`)
        throw new UnreachableError(`${url.origin} did not respond`, { cause })
      }
    }
    return {
      timeoutSeconds,
      fetch: fetchOnce,
      fetchFollowingRedirects: followSameOriginRedirects(fetchOnce),
    }
  }

  async function close(): Promise<void> {
    const agents = (await opening)?.agents
    await Promise.all([...(agents?.values() ?? [])].map((agent) => agent.destroy()))
    agents?.clear()
  }

  return { ...clientFor(''), clientFor, prepare: open, close }
}

/** Loads undici and cockatiel with the first request, so that the portal starts faster. */
async function openNetwork(rules: AddressRules, limits: AgentLimits, resolve?: Resolve) {
  const { assertProxyAllowed, createAgents } = await import('./connector.ts')
  const { ConsecutiveBreaker, circuitBreaker, handleWhen } = await import('cockatiel')
  const isFailure = (error: Error) =>
    !(error instanceof ResponseTooLargeError || error instanceof QueueTimeoutError)
  const createBreaker = () =>
    circuitBreaker(handleWhen(isFailure), {
      halfOpenAfter: retryDelayMs,
      breaker: new ConsecutiveBreaker(maxConsecutiveFailures),
    })
  const createAgent = createAgents(rules, limits, resolve)
  return {
    assertProxyAllowed,
    agents: new LRUCache<string, Dispatcher, Network>({
      max: maxAgents,
      memoMethod: (_owner, _expired, { context }) => createAgent(context),
      // `close` waits for the pending requests.
      dispose: (agent) => void agent.close().catch(() => {}),
    }),
    // Per endpoint, not per provider: a working key set must not hide a token endpoint that hangs.
    endpoints: new LRUCache<string, Endpoint>({
      max: maxEndpoints,
      ttl: endpointTtlMs,
      memoMethod: () => ({ breaker: createBreaker(), lastResponseAt: Number.NEGATIVE_INFINITY }),
    }),
  }
}

type ExchangeRequest = Parameters<ProviderFetch>[1] & {
  timeoutMs: number
  dispatcher: Dispatcher
  turns: Turns
}

/**
 * Uses its own timer: signals of `AbortSignal.timeout` and `AbortSignal.any` stay in memory until they expire, even after
 * the response. Under load, those of all requests of the last seconds would accumulate.
 */
async function exchange(
  endpoint: Endpoint,
  url: URL,
  {
    timeoutMs,
    dispatcher,
    turns,
    address = '',
    method,
    headers,
    body,
    signal: callerSignal,
    deadline = Number.POSITIVE_INFINITY,
  }: ExchangeRequest,
): Promise<Response> {
  const startedAt = performance.now()
  const controller = new AbortController()
  const timeout = () => controller.abort(new CheckError('timeout', `no response within ${timeoutMs} ms`))
  const timer = setTimeout(timeout, Math.min(timeoutMs, deadline - startedAt))
  const abort = () => controller.abort(callerSignal?.reason)
  callerSignal?.addEventListener('abort', abort, { once: true })
  let endTurn: (() => void) | undefined
  let connectedAt = Number.POSITIVE_INFINITY
  try {
    callerSignal?.throwIfAborted()
    const { signal } = controller
    endTurn = await turns.take(address, signal)
    connectedAt = performance.now()
    const response = await send(dispatcher, url, { method, headers, body, signal })
    endpoint.lastResponseAt = performance.now()
    return response
  } catch (cause) {
    // An attacker who sends many made-up codes makes requests time out in the queue: that must not open the breaker.
    const wasQueued = controller.signal.aborted && connectedAt > startedAt + timeoutMs / 2
    // The server may hang up because of a made-up code that is too large for it.
    const isLarge = String(body ?? '').length > maxCountedBytes
    const isFailure = !wasQueued && !isLarge && endpoint.lastResponseAt < startedAt
    if (cause instanceof ResponseTooLargeError || isFailure) throw cause
    throw new QueueTimeoutError('timeout', 'it responds to other requests', { cause })
  } finally {
    endTurn?.()
    clearTimeout(timer)
    callerSignal?.removeEventListener('abort', abort)
  }
}

/** Costs less CPU than `fetch`, and never follows a redirect. */
async function send(
  dispatcher: Dispatcher,
  url: URL,
  {
    method,
    headers,
    body,
    signal,
  }: Omit<CustomFetchOptions, 'redirect' | 'signal'> & { signal: AbortSignal },
): Promise<Response> {
  const sent = dispatcher.request({
    origin: url.origin,
    path: url.pathname + url.search,
    method: method as Dispatcher.HttpMethod,
    // Firewalls refuse requests without a user agent.
    headers: { accept: '*/*', 'user-agent': 'express-portal-sso', ...headers },
    body: body == null ? null : String(body),
    signal,
  })
  // While undici still connects, it does not notice that the signal is aborted.
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  return await Promise.race([sent.then(readResponse), aborted])
}

/** Identifies network settings in a cache key; a digest, because certificates are long. */
function fingerprint({ proxy = '', certificateAuthority = '' }: Network): string {
  if (proxy === '' && certificateAuthority === '') return ''
  return ` ${digest(JSON.stringify([proxy, certificateAuthority]))}`
}

/** https everywhere; plain http only on the loopback. */
export function isFetchable(url: URL): boolean {
  // Credentials in a URL would be sent in a header, and end up in logs.
  if (url.username !== '' || url.password !== '') return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
}

/** RFC 6761 6.3: every name below `localhost` is this machine. A connection by plain http checks the address as well. */
export function isLoopback(hostname: string): boolean {
  return hostname === '[::1]' || /^(127(\.\d{1,3}){3}|(.+\.)?localhost)$/.test(hostname)
}

/** Reads the whole body within the limits, and removes the headers that no longer describe it. */
async function readResponse(received: Dispatcher.ResponseData): Promise<Response> {
  const { body, statusCode: status } = received
  const chunks: Uint8Array[] = []
  let size = 0
  // A throw inside the loop cancels the download.
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > maxResponseBytes) throw tooLarge()
    chunks.push(chunk)
  }
  const { 'content-encoding': encoding, 'content-length': _, ...others } = received.headers
  const headers: [string, string][] = []
  for (const [name, values = []] of Object.entries(others))
    for (const value of [values].flat()) headers.push([name, value])
  const content = Buffer.concat(chunks)
  const decode =
    size > 0 &&
    decoders.get(
      String(encoding ?? '')
        .trim()
        .toLowerCase(),
    )
  const bytes = decode
    ? await decode(content, { maxOutputLength: maxResponseBytes }).catch(refuseLarge)
    : content
  return createResponse(bytes, { status, headers })
}

/** Of received responses, because `clone` costs more than all checks of a response. */
const bodies = new WeakMap<Response, Uint8Array>()
const utf8 = new TextDecoder()

/** Its body is no stream, which would cost more than the checks of a sign-in, and can be read again. */
export function createResponse(bytes: Uint8Array, init: ResponseInit): Response {
  const response = new Response(null, init)
  const text = async () => utf8.decode(bytes)
  const json = async () => JSON.parse(utf8.decode(bytes)) as unknown
  bodies.set(response, bytes)
  return Object.assign(response, { text, json, clone: () => createResponse(bytes, response) })
}

/** @returns `undefined` unless the body is JSON. The response itself can still be read. */
export function readJson(response: Response): unknown {
  try {
    return JSON.parse(utf8.decode(bodies.get(response)))
  } catch {
    return undefined
  }
}

function refuseLarge(error: NodeJS.ErrnoException): never {
  throw error.code === 'ERR_BUFFER_TOO_LARGE' ? tooLarge() : error
}

const tooLarge = () =>
  new ResponseTooLargeError('response_size', `the response is larger than ${maxResponseBytes} bytes`)

/** OpenSSL's codes for bytes that are no TLS record. */
function isPlainHttp(error: unknown): boolean {
  for (let current = error, depth = 0; current && depth < 5; depth++) {
    const { code, cause } = current as { code?: unknown; cause?: unknown }
    if (/^ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST)$/.test(String(code)))
      return true
    current = cause
  }
  return false
}

/** True if the provider did not respond, or responded with 429 or 5xx; false if its response was wrong. */
export function isUnreachable(error: unknown): boolean {
  const status = statusOf(error) ?? 0
  if (status === 429 || status >= 500) return true
  for (let current = error, depth = 0; current && depth < 5; depth++) {
    const { code, cause } = current as { code?: unknown; cause?: unknown }
    if (current instanceof UnreachableError || code === 'OAUTH_TIMEOUT' || code === 'OAUTH_ABORT') return true
    current = cause
  }
  return false
}

/** Returns the HTTP status of the response that caused an error of openid-client. */
export function statusOf(error: unknown): number | undefined {
  for (let current = error, depth = 0; current && depth < 5; depth++) {
    const { status, cause } = current as { status?: unknown; cause?: unknown }
    if (typeof status === 'number') return status
    current = cause
  }
  return undefined
}

function followSameOriginRedirects(fetchOnce: ProviderFetch): ProviderFetch {
  return async (href, options) => {
    let url = new URL(href)
    for (let redirects = 0; ; redirects++) {
      const response = await fetchOnce(url.href, options)
      const location = response.headers.get('location')
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response
      if (redirects === maxRedirects) throw new CheckError('redirect', `${url.origin} redirects too often`)
      if (!URL.canParse(location, url.href))
        throw new CheckError('redirect', `${url.origin} redirects to an invalid URL`)
      const target = new URL(location, url)
      // Another origin could serve a document in the provider's name.
      if (target.origin !== url.origin)
        throw new CheckError('redirect', `${url.origin} redirects to another origin`)
      url = target
    }
  }
}
