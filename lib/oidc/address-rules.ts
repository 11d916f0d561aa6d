import ipaddr from 'ipaddr.js'
import { CheckError } from '../shared/errors.ts'
import { type Phrase, phrase } from '../shared/phrase.ts'

/** Returns true if the portal may connect to this address, in any notation that a socket accepts. */
export type AddressRules = (address: string) => boolean

// In a public range, but inside every Azure machine it is the platform itself, which hands out the machine's secrets.
const azurePlatform = '168.63.129.16'

// The only range that IANA assigns to global unicast. Outside it, addresses that no special-purpose registry lists can still
// reach the private network: a host with IPv4-compatible tunnels sends `::10.0.0.1` to 10.0.0.1.
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')

/** RFC 6052 */
const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96')

/**
 * Server-side request forgery: an administrator could enter a URL that only this server reaches, such as a cloud's metadata
 * service. Allows only addresses that are public by IANA's special-purpose registries, and those that the operator names.
 *
 * @param allowed addresses and ranges to allow although they are not public
 */
export function createAddressRules(allowed: readonly string[]): AddressRules {
  const ranges = allowed.map((text) =>
    ipaddr.isValidCIDR(text) ? ipaddr.parseCIDR(text) : singleAddressRange(ipaddr.process(text)),
  )
  return (text) => {
    if (!ipaddr.isValid(text)) return false
    const address = unwrapNat64(ipaddr.process(text))
    const isAllowed = ranges.some(
      ([range, bits]) => range.kind() === address.kind() && address.match(range, bits),
    )
    return isAllowed || (isPublic(address) && address.toString() !== azurePlatform)
  }
}

/** True for an address, or a range in CIDR notation (RFC 4632). */
export function isAddressRange(text: string): boolean {
  return ipaddr.isValid(text) || ipaddr.isValidCIDR(text)
}

export function isLoopbackAddress(text: string): boolean {
  return ipaddr.isValid(text) && ipaddr.process(text).range() === 'loopback'
}

function isPublic(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (address instanceof ipaddr.IPv6 && !address.match(globalUnicast)) return false
  return address.range() === 'unicast'
}

/** In an IPv6-only network every IPv4 address is translated (NAT64): judge the IPv4 address inside. */
function unwrapNat64(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  const isTranslated = address instanceof ipaddr.IPv6 && address.match(nat64)
  return isTranslated ? ipaddr.fromByteArray(address.toByteArray().slice(12)) : address
}

function singleAddressRange(address: ipaddr.IPv4 | ipaddr.IPv6): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  return [address, address.kind() === 'ipv4' ? 32 : 128]
}

/** The host name has no address that the option `outbound.allowedAddresses` allows. */
export class NotPublicError extends CheckError {
  readonly problem: Phrase

  constructor(addresses: string) {
    const problem = phrase('the address {{addresses}} is not public', { addresses: addresses || '?' })
    super('address', `${problem}: ${allowAddress}`)
    this.problem = problem
  }
}

/** The hint for a `NotPublicError`. */
export const allowAddress = phrase(
  'if it is correct, allow it (option `outbound.allowedAddresses`, ALLOWED_ADDRESSES for the CLI)',
)
