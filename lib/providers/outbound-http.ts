import ipaddr from 'ipaddr.js'
import type { CustomFetch } from 'openid-client'

/** How providers are reached. */
export interface OutboundSettings {
  /** seconds for a whole exchange: connecting, headers and body; default 5 */
  timeoutSeconds: number
  /**
   * addresses and ranges that a provider may be at although they are not public, such as `10.20.0.0/16`; default none. The
   * loopback is allowed, too, while `baseUrl` is itself on it
   */
  allowedAddresses: string[]
  /** requests to one provider at a time; more wait their turn; default 32 */
  concurrency: number
}

/** Whether it is an address, or a range of them in the notation of RFC 4632. */
export function isAddressRange(text: string): boolean {
  return ipaddr.isValid(text) || ipaddr.isValidCIDR(text)
}

/** seconds, for the whole exchange: connecting, headers and body */
export const timeLimit = 5
/** bytes of one answer, after decompression */
export const sizeLimit = 1024 * 1024

/**
 * The only way out. A provider is hostile until checked: an answer that trickles, never ends, is huge or sends us
 * elsewhere costs one sign-in, never the process.
 */
export const outboundFetch: CustomFetch = async (url, options) => {
  assertFetchable(new URL(url))
  const signals = [AbortSignal.timeout(timeLimit * 1000)]
  if (options.signal) signals.push(options.signal)
  const response = await fetch(url, {
    ...options,
    body: options.body as NonNullable<RequestInit['body']>,
    redirect: 'manual',
    signal: AbortSignal.any(signals),
  })
  const body = await readBounded(response)
  const headers = new Headers(response.headers)
  headers.delete('content-encoding')
  headers.delete('content-length')
  return new Response(bodyless(response.status) ? null : body, {
    status: response.status,
    statusText: response.statusText,
    headers,
  })
}

/** TLS everywhere; plain http stays on this machine. */
export function isFetchable(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

function assertFetchable(url: URL): void {
  if (!isFetchable(url)) throw new Error(`${url.origin} is not https`)
}

async function readBounded(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  const reader = response.body?.getReader()
  while (reader) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    if (size > sizeLimit) {
      await reader.cancel()
      throw new Error(`the answer is larger than ${sizeLimit} bytes`)
    }
    chunks.push(value)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

function bodyless(status: number): boolean {
  return status === 204 || status === 205 || status === 304
}
