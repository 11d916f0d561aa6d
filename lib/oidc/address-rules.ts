import ipaddr from 'ipaddr.js'

/** Whether a connection may go to this address, in any of the spellings that a socket takes. */
export type AddressRules = (address: string) => boolean

// Public by its range, but inside of every Azure machine it is the platform itself, and hands out what that knows.
const azurePlatform = '168.63.129.16'

// All that was ever given out to be reached from everywhere. Outside lie ranges that no registry of special purposes names and
// that still lead inside: a host with old tunnels sends `::10.0.0.1` to 10.0.0.1.
const global = ipaddr.IPv6.parseCIDR('2000::/3')

const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96')

/**
 * Who may enter a provider's address must not reach with it what only this server can reach: itself, the private network,
 * a cloud's metadata service with its credentials (server-side request forgery). So only public addresses are let through,
 * by IANA's special-purpose registries, and what the operator names.
 *
 * @param allowed addresses and ranges that are fine though they are not public
 */
export function createAddressRules(allowed: readonly string[]): AddressRules {
  const ranges = allowed.map((text) =>
    ipaddr.isValidCIDR(text) ? ipaddr.parseCIDR(text) : single(ipaddr.process(text)),
  )
  return (text) => {
    if (!ipaddr.isValid(text)) return false
    const address = embedded(ipaddr.process(text))
    const named = ranges.some(
      ([range, bits]) => range.kind() === address.kind() && address.match(range, bits),
    )
    return named || (isPublic(address) && address.toString() !== azurePlatform)
  }
}

/** Whether it is an address, or a range of them in the notation of RFC 4632. */
export function isAddressRange(text: string): boolean {
  return ipaddr.isValid(text) || ipaddr.isValidCIDR(text)
}

export function isLoopbackAddress(text: string): boolean {
  return ipaddr.isValid(text) && ipaddr.process(text).range() === 'loopback'
}

function isPublic(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (address instanceof ipaddr.IPv6 && !address.match(global)) return false
  return address.range() === 'unicast'
}

// In a network of IPv6 alone every IPv4 address comes in this wrapping (RFC 6052): it is as public as what is inside.
function embedded(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  const wrapped = address instanceof ipaddr.IPv6 && address.match(nat64)
  return wrapped ? ipaddr.fromByteArray(address.toByteArray().slice(12)) : address
}

function single(address: ipaddr.IPv4 | ipaddr.IPv6): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  return [address, address.kind() === 'ipv4' ? 32 : 128]
}
