import { lookup as systemLookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import { CheckError } from '../shared/errors.ts'
import { type AddressRules, isLoopbackAddress, NotPublicError } from './address-rules.ts'

/** The network settings of a provider's row. */
export interface Network {
  /** http(s) URL of a proxy, without credentials; default: none */
  proxy?: string | undefined
  /** PEM certificates to verify TLS with, instead of the system's */
  certificateAuthority?: string | undefined
}

export interface AgentLimits {
  /** concurrent requests to one origin */
  concurrency: number
  connectTimeoutMs: number
}

/** Looks up the addresses of a host name. */
export type Resolve = (hostname: string) => Promise<{ address: string; family: number }[]>

type Connect = ReturnType<typeof buildConnector>

/**
 * Creates dispatchers that connect only to allowed addresses. Each name is resolved once and the checked address is used, so
 * that an attacker gains nothing by changing it in between (DNS rebinding).
 *
 * @param resolve for tests; default the system's resolver
 */
export function createAgents(
  rules: AddressRules,
  { concurrency, connectTimeoutMs: timeout }: AgentLimits,
  resolve: Resolve = resolveBySystem,
): (network: Network) => Dispatcher {
  const resolveOnce = shareInFlight(resolve)
  const connectorFor = (isAllowed: AddressRules, ca?: string): Connect => {
    // Explicit, so that no environment variable can turn it off.
    const tls = { rejectUnauthorized: true, ...(ca !== undefined && { ca }) }
    const connect = buildConnector({ timeout, ...tls, lookup: createLookup(isAllowed, resolveOnce) })
    return (options, callback) => {
      const literal = withoutBrackets(options.hostname)
      // Node does not call `lookup` for a literal address.
      if (isIP(literal) && !isAllowed(literal)) callback(new NotPublicError(literal), null)
      else connect(options, callback)
    }
  }
  const secure = connectorFor(rules)
  const plainLoopback = connectorFor((address) => isLoopbackAddress(address) && rules(address))
  const pool = { connections: concurrency, keepAliveTimeout: 20_000 }

  function direct({ certificateAuthority: ca }: Network): Dispatcher {
    const connectTls = ca === undefined ? secure : connectorFor(rules, ca)
    const connect: Connect = (options, callback) =>
      (options.protocol === 'https:' ? connectTls : plainLoopback)(options, callback)
    return new Agent({ ...pool, connect })
  }

  /** Tunnels TLS (`CONNECT`), so that the proxy sees a host name, but no code and no secret. */
  function viaProxy(proxy: string, { certificateAuthority: ca }: Network): Dispatcher {
    return new ProxyAgent({
      ...pool,
      uri: proxy,
      // The proxy's URL is entered by an administrator, too: the same address rules apply.
      clientFactory: (origin) =>
        new Pool(origin, { connections: concurrency, connect: secure, headersTimeout: timeout }),
      requestTls: { timeout, rejectUnauthorized: true, ...(ca !== undefined && { ca }) },
    })
  }

  return (network) => (network.proxy === undefined ? direct(network) : viaProxy(network.proxy, network))
}

/**
 * A proxy resolves host names itself, so their addresses cannot be checked here. Refuses forbidden literal addresses, the
 * names of the loopback, and plain http, which would leave this machine.
 */
export function assertProxyAllowed(url: URL, rules: AddressRules): void {
  if (url.protocol !== 'https:')
    throw new CheckError('https', `${url.origin} is not https, and plain http is not sent through a proxy`)
  const host = withoutBrackets(url.hostname).replace(/\.$/, '')
  const literal = host === 'localhost' || host.endsWith('.localhost') ? '127.0.0.1' : host
  if (isIP(literal) && !rules(literal)) throw new NotPublicError(literal)
}

function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}

function createLookup(isAllowed: AddressRules, resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (found) => {
        const [first, ...others] = found.filter(({ address }) => isAllowed(address))
        if (!first) callback(new NotPublicError(found.map(({ address }) => address).join(', ')), '', 0)
        else if (options.all) callback(null, [first, ...others])
        else callback(null, first.address, first.family)
      },
      (error: Error) => callback(error, '', 0),
    )
  }
}

const resolveBySystem: Resolve = (hostname) => systemLookup(hostname, { all: true })

// A system lookup occupies one of Node's four worker threads. Sharing it prevents a name server that never answers from
// occupying all four, and with them the portal's file access and signatures.
function shareInFlight(resolve: Resolve): Resolve {
  const pending = new Map<string, ReturnType<Resolve>>()
  return (hostname) => {
    const lookup = pending.get(hostname) ?? resolve(hostname).finally(() => pending.delete(hostname))
    pending.set(hostname, lookup)
    return lookup
  }
}
