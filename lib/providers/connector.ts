import { lookup as systemLookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { buildConnector } from 'undici'
import { type AddressRules, isLoopbackAddress } from './address-rules.ts'

/** The addresses of a name. */
export type Resolve = (hostname: string) => Promise<{ address: string; family: number }[]>

/**
 * Connects to addresses that the rules let through, and to the very ones that were looked at: a name that answers with
 * another address a moment later (DNS rebinding) gains nothing, because nobody asks a second time.
 *
 * @param timeout milliseconds for the connection
 * @param resolve for tests; the system's resolver otherwise
 */
export function createConnector(
  rules: AddressRules,
  timeout: number,
  resolve: Resolve = resolveBySystem,
): ReturnType<typeof buildConnector> {
  const resolveOnce = shared(resolve)
  const connectorFor = (permits: AddressRules) =>
    buildConnector({
      timeout,
      // Explicit, so that no environment variable turns it off.
      rejectUnauthorized: true,
      lookup: lookupOf(permits, resolveOnce),
    })
  const secure = connectorFor(rules)
  const plain = connectorFor((address) => isLoopbackAddress(address) && rules(address))
  return (options, callback) => {
    const literal = options.hostname.replace(/^\[|\]$/g, '')
    // A literal address never goes through `lookup`.
    if (isIP(literal) && !rules(literal)) callback(refused(literal), null)
    else if (options.protocol === 'https:') secure(options, callback)
    else plain(options, callback)
  }
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

function refused(addresses: string): Error {
  return new Error(
    `the address ${addresses || 'of nothing'} is not a public one: if it is right, allow it (option \`outbound.allowedAddresses\`, ALLOWED_ADDRESSES of the CLI)`,
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
