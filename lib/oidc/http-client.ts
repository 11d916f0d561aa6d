import { createHash } from 'node:crypto'
import { type CircuitBreakerPolicy, ConsecutiveBreaker, circuitBreaker, handleWhen } from 'cockatiel'
import { LRUCache } from 'lru-cache'
import type { CustomFetch } from 'openid-client'
import { type Dispatcher, fetch, type Response as UndiciResponse } from 'undici'
import { createAddressRules } from './address-rules.ts'
import { assertTunnelled, createAgents, type Network, type Resolve } from './connector.ts'

/** How providers are reached. */
export interface OutboundSettings {
  /** seconds for a whole exchange: waiting for a turn, connecting, headers and body; default 5, at most 6 */
  timeoutSeconds: number
  /**
   * addresses and ranges that a provider may be at although they are not public, such as `10.20.0.0/16`; default none. The
   * loopback is allowed, too, while `baseUrl` is itself on it
   */
  allowedAddresses: string[]
  /** requests of one provider to one origin at a time; more wait their turn; default 32 */
  concurrency: number
}

/** The only way out, with all the limits that a hostile provider makes necessary. */
export interface HttpClients extends HttpClient {
  /**
   * The same for one provider, whose failures and connections count for itself alone: its metadata may name another one's
   * endpoint, and have us hang up on that five times in a row, or use up all connections to it.
   *
   * @param owner id of the provider
   * @param network its proxy and certificates; other ones make another way, with connections and failures of its own
   */
  of(owner: string, network?: Network): HttpClient
  close(): Promise<void>
}

export interface HttpClient {
  /** seconds for a whole exchange */
  readonly timeLimit: number
  /** An answer of at most 1 MiB, without following a redirect. @throws Unreachable, or Error for what is not to be fetched */
  readonly fetch: CustomFetch
  /** The same for public documents, which may move within their origin: follows three redirects there. */
  readonly fetchMoved: CustomFetch
}

/** The provider gave no answer that could be looked at, or is known to give none at present. */
export class UnreachableError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Unreachable'
  }
}

class ResponseTooLargeError extends Error {}

/** No answer in time from an endpoint that answered others meanwhile. */
class QueueTimeoutError extends Error {}

interface Endpoint {
  breaker: CircuitBreakerPolicy
  /** milliseconds on the clock of `performance` */
  lastAnswer: number
}

/** bytes of one answer, after decompression */
const sizeLimit = 1024 * 1024

// After five failures in a row an endpoint is left alone for ten seconds: whoever comes meanwhile is told at once, and holds
// no socket and no memory for the whole time limit. Then one request tries whether it is back.
const failuresInARow = 5
const leftAlone = 10_000
/** providers whose connections are kept; each has a few kilobytes */
const mostOwners = 200

/** @param resolve for tests; the system's resolver otherwise */
export function createHttpClients(settings: OutboundSettings, resolve?: Resolve): HttpClients {
  const { timeoutSeconds: timeLimit, allowedAddresses, concurrency } = settings
  const rules = createAddressRules(allowedAddresses)
  const createAgent = createAgents(rules, { concurrency, timeout: timeLimit * 1000 }, resolve)
  // Each a few connections, which end by themselves when nobody needs them.
  const agents = new LRUCache<string, Dispatcher>({
    max: mostOwners,
    // Once its requests under way are done.
    dispose: (agent) => void agent.close().catch(() => {}),
  })
  // By endpoint, not by provider alone: keys that still answer must not hide that the token endpoint hangs.
  const endpoints = new LRUCache<string, Endpoint>({ max: 1000, ttl: 3_600_000 })

  function agentOf(owner: string, network: Network): Dispatcher {
    const known = agents.get(owner)
    if (known) return known
    const agent = createAgent(network)
    agents.set(owner, agent)
    return agent
  }

  function endpointOf(owner: string, { origin, pathname }: URL): Endpoint {
    const key = `${owner} ${origin}${pathname}`
    const known = endpoints.get(key)
    if (known) return known
    const breaker = circuitBreaker(
      handleWhen((error) => !(error instanceof ResponseTooLargeError || error instanceof QueueTimeoutError)),
      {
        halfOpenAfter: leftAlone,
        breaker: new ConsecutiveBreaker(failuresInARow),
      },
    )
    const endpoint = { breaker, lastAnswer: Number.NEGATIVE_INFINITY }
    endpoints.set(key, endpoint)
    return endpoint
  }

  /** Who brings a hundred made-up codes at once makes some of them wait in vain for their turn: that is no dead endpoint. */
  async function ask(endpoint: Endpoint, ...request: Parameters<typeof exchange>): Promise<Response> {
    const began = performance.now()
    try {
      const response = await exchange(...request)
      endpoint.lastAnswer = performance.now()
      return response
    } catch (cause) {
      if (cause instanceof ResponseTooLargeError || endpoint.lastAnswer < began) throw cause
      throw new QueueTimeoutError('it answers others', { cause })
    }
  }

  function wayOf(id: string, network: Network = {}): HttpClient {
    const owner = id + fingerprint(network)
    const fetchOnce: CustomFetch = async (address, options) => {
      const url = new URL(address)
      assertFetchable(url)
      if (network.proxy !== undefined) assertTunnelled(url, rules)
      try {
        const endpoint = endpointOf(owner, url)
        return await endpoint.breaker.execute(() => ask(endpoint, agentOf(owner, network), url, options))
      } catch (cause) {
        if (cause instanceof ResponseTooLargeError) throw cause
        throw new UnreachableError(`${url.origin} gave no answer`, { cause })
      }
    }
    return { timeLimit, fetch: fetchOnce, fetchMoved: followSameOriginRedirects(fetchOnce) }
  }

  async function exchange(dispatcher: Dispatcher, url: URL, options: Parameters<CustomFetch>[1]) {
    const { signal: given, method, headers, body } = options
    return await inTime(timeLimit * 1000, given, async (signal) => {
      const request = { method, headers, body: body ?? null, signal }
      return await wholeAnswer(await fetch(url, { ...request, dispatcher, redirect: 'manual' }))
    })
  }

  async function close(): Promise<void> {
    const open = [...agents.values()]
    await Promise.all(open.map((agent) => agent.destroy()))
    agents.clear()
  }

  return { ...wayOf(''), of: wayOf, close }
}

/** Certificates are long: as part of a key they are their digest. */
function fingerprint({ proxy = '', certificateAuthority = '' }: Network): string {
  if (proxy === '' && certificateAuthority === '') return ''
  return ` ${createHash('sha256')
    .update(JSON.stringify([proxy, certificateAuthority]))
    .digest('base64url')}`
}

/** TLS everywhere; plain http stays on this machine. */
export function isFetchable(url: URL): boolean {
  // Credentials in an address would go out in a header, and end in logs.
  if (url.username !== '' || url.password !== '') return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

function assertFetchable(url: URL): void {
  if (!isFetchable(url)) throw new Error(`${url.origin} is not https`)
}

/**
 * With a timer of our own: what `AbortSignal.timeout` and `AbortSignal.any` make stays in memory until the time is over, also
 * when the answer came at once, and under load that is all of the last seconds' requests.
 */
async function inTime<T>(
  limit: number,
  given: AbortSignal | undefined,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  given?.throwIfAborted()
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(new Error(`no answer within ${limit} ms`)), limit)
  const abort = () => controller.abort(given?.reason)
  given?.addEventListener('abort', abort, { once: true })
  try {
    return await act(controller.signal)
  } finally {
    clearTimeout(timer)
    given?.removeEventListener('abort', abort)
  }
}

/** The answer with its body, read to the end within the limits, under headers that fit it. */
async function wholeAnswer(answer: UndiciResponse): Promise<Response> {
  const body = await readBounded(answer)
  const headers = new Headers([...answer.headers])
  headers.delete('content-encoding')
  headers.delete('content-length')
  const { status, statusText } = answer
  return new Response(bodyless(status) ? null : body, { status, statusText, headers })
}

async function readBounded({ body }: UndiciResponse): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  // Leaving the loop cancels the rest.
  for await (const chunk of body ?? []) {
    size += (chunk as Uint8Array).byteLength
    if (size > sizeLimit) throw new ResponseTooLargeError(`the answer is larger than ${sizeLimit} bytes`)
    chunks.push(chunk as Uint8Array)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

function bodyless(status: number): boolean {
  return status === 204 || status === 205 || status === 304
}

/** Whether an error comes from a provider that gave no answer, or one of 5xx, rather than from a wrong one. */
export function isUnreachable(error: unknown): boolean {
  for (let at = error, depth = 0; at && depth < 5; depth++) {
    const { status, code, cause } = at as { status?: unknown; code?: unknown; cause?: unknown }
    if (at instanceof UnreachableError || code === 'OAUTH_TIMEOUT' || code === 'OAUTH_ABORT') return true
    if (typeof status === 'number' && status >= 500) return true
    at = cause
  }
  return false
}

/** For public documents, which may move within their origin: follows three redirects there. */
export function followSameOriginRedirects(fetchOnce: CustomFetch): CustomFetch {
  return async (address, options) => {
    let url = new URL(address)
    for (let redirects = 0; ; redirects++) {
      const response = await fetchOnce(url.href, options)
      const location = response.headers.get('location')
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response
      if (redirects === 3) throw new Error(`${url.origin} redirects too often`)
      if (!URL.canParse(location, url.href)) throw new Error(`${url.origin} redirects to no address`)
      url = refuseCrossSitePosts(new URL(location, url), url)
    }
  }
}

// A document on another origin is somebody else's word.
function refuseCrossSitePosts(to: URL, from: URL): URL {
  if (to.origin !== from.origin) throw new Error(`${from.origin} redirects to another origin`)
  return to
}
