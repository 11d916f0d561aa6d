import { lookup as systemLookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import { type AddressRules, isLoopbackAddress } from './address-rules.ts'

/** What a provider's row says of the way to it. */
export interface Network {
  /** http(s) address of a proxy, without credentials; left out: straight */
  proxy?: string | undefined
  /** PEM certificates that its TLS is verified with, instead of the system's */
  certificateAuthority?: string | undefined
}

export interface AgentSettings {
  /** requests to one origin at a time */
  concurrency: number
  /** milliseconds for a connection */
  timeout: number
}

/** The addresses of a name. */
export type Resolve = (hostname: string) => Promise<{ address: string; family: number }[]>

type Connect = ReturnType<typeof buildConnector>

/**
 * Makes what sends requests: to addresses that the rules let through, and to the very ones that were looked at. A name that
 * answers with another address a moment later (DNS rebinding) gains nothing, because nobody asks a second time.
 *
 * @param resolve for tests; the system's resolver otherwise
 */
export function createAgents(
  rules: AddressRules,
  { concurrency, timeout }: AgentSettings,
  resolve: Resolve = resolveBySystem,
): (network: Network) => Dispatcher {
  const resolveOnce = shared(resolve)
  const connectorFor = (permits: AddressRules, ca?: string): Connect => {
    // Explicit, so that no environment variable turns it off.
    const tls = { rejectUnauthorized: true, ...(ca !== undefined && { ca }) }
    const connect = buildConnector({ timeout, ...tls, lookup: lookupOf(permits, resolveOnce) })
    return (options, callback) => {
      const literal = unbracketed(options.hostname)
      // A literal address never goes through `lookup`.
      if (isIP(literal) && !permits(literal)) callback(refused(literal), null)
      else connect(options, callback)
    }
  }
  const permitted = connectorFor(rules)
  const plain = connectorFor((address) => isLoopbackAddress(address) && rules(address))
  const kept = { connections: concurrency, keepAliveTimeout: 20_000 }

  function straight({ certificateAuthority: ca }: Network): Dispatcher {
    const secure = ca === undefined ? permitted : connectorFor(rules, ca)
    const connect: Connect = (options, callback) =>
      (options.protocol === 'https:' ? secure : plain)(options, callback)
    return new Agent({ ...kept, connect })
  }

  /** A tunnel (`CONNECT`), so that the proxy sees a name and TLS, and neither a code nor a secret. */
  function through(proxy: string, { certificateAuthority: ca }: Network): Dispatcher {
    return new ProxyAgent({
      ...kept,
      uri: proxy,
      // Who may enter a proxy must not reach with it what only this server can reach: the same rules hold for its address.
      clientFactory: (origin) =>
        new Pool(origin, { connections: concurrency, connect: permitted, headersTimeout: timeout }),
      requestTls: { timeout, rejectUnauthorized: true, ...(ca !== undefined && { ca }) },
    })
  }

  return (network) => (network.proxy === undefined ? straight(network) : through(network.proxy, network))
}

/**
 * A proxy resolves names itself, and where they lead is its own to say. What can be seen here is refused here: an address that
 * the rules forbid, this machine by its name, and plain text, which would leave it.
 *
 * @throws Error that says which
 */
export function assertTunnelled(url: URL, rules: AddressRules): void {
  if (url.protocol !== 'https:') throw new Error(`${url.origin} is not https, and goes through no proxy`)
  const host = unbracketed(url.hostname).replace(/\.$/, '')
  const literal = host === 'localhost' || host.endsWith('.localhost') ? '127.0.0.1' : host
  if (isIP(literal) && !rules(literal)) throw refused(literal)
}

function unbracketed(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}

function lookupOf(permits: AddressRules, resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (found) => {
        const [first, ...others] = found.filter(({ address }) => permits(address))
        if (!first) callback(refused(found.map(({ address }) => address).join(', ')), '', 0)
        else if (options.all) callback(null, [first, ...others])
        else callback(null, first.address, first.family)
      },
      (error: Error) => callback(error, '', 0),
    )
  }
}

function refused(urls: string): Error {
  return new Error(
    `the address ${urls || 'of nothing'} is not a public one: if it is right, allow it (option \`outbound.allowedAddresses\`, ALLOWED_ADDRESSES of the CLI)`,
  )
}

const resolveBySystem: Resolve = (hostname) => systemLookup(hostname, { all: true })

// The system's resolver keeps one of Node's four threads while it waits: a name server that never answers may have one of
// them, not all, and with them the whole portal's files and signatures.
function shared(resolve: Resolve): Resolve {
  const pending = new Map<string, ReturnType<Resolve>>()
  return (hostname) => {
    const asked = pending.get(hostname) ?? resolve(hostname).finally(() => pending.delete(hostname))
    pending.set(hostname, asked)
    return asked
  }
}
