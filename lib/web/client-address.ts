import ipaddr from 'ipaddr.js'

/**
 * The network that a client's address is in, such as `203.0.113.0/24`. With `trust proxy` the address is what a header says:
 * only what reads as an address is one. Some proxies write the port behind it (Azure Application Gateway): if that were no
 * address, all people behind them would be one client, and one of them could use up the limits of all.
 *
 * @param bits how much of the address is kept; an IPv4 address written as IPv6 (RFC 4291, 2.5.5.2) is an IPv4 address
 * @returns `undefined` for anything that is no address
 */
export function networkOf(
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
