import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'
import { CheckError } from '../shared/errors.ts'

/** One key of `private_key_jwt`, with its private half: sealed in the row, and nowhere else. */
export interface ClientKey {
  /** thumbprint of the public half (RFC 7638) */
  kid: string
  alg: ClientKeyAlgorithm
  /** moment from which it signs */
  from: string
  jwk: JWK
}

/** `next`: published but not used yet, so that the provider has time to fetch it. `retired`: still published, signs no more. */
export type KeyState = 'next' | 'signing' | 'retired'

export interface Standing<Key> {
  key: Key
  state: KeyState
}

/** In the order in which they are chosen where the provider says what it takes. */
export const clientKeyAlgorithms = [
  'ES256',
  'PS256',
  'RS256',
  'ES384',
  'PS384',
  'RS384',
  'ES512',
  'PS512',
  'RS512',
] as const
/** Algorithm of a key of `private_key_jwt` (RFC 7518, 3.1). */
export type ClientKeyAlgorithm = (typeof clientKeyAlgorithms)[number]

/** milliseconds from publishing a key to signing with it: providers cancel-retirement a key set for minutes, seldom for longer */
export const leadTime = 3_600_000
/** milliseconds that a key stays published after another one signs */
const afterTime = 24 * 3_600_000

/**
 * @param announced `token_endpoint_auth_signing_alg_values_supported` of the provider's metadata
 * @returns `undefined` when none of ours is among them; RS256, which everybody knows, when nothing is announced
 */
export function keyAlgorithmFor(announced: unknown): ClientKeyAlgorithm | undefined {
  if (!Array.isArray(announced)) return 'RS256'
  return clientKeyAlgorithms.find((known) => announced.includes(known))
}

export async function makeClientKey(alg: ClientKeyAlgorithm, from: number): Promise<ClientKey> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { kid: await calculateJwkThumbprint(jwk), alg, from: new Date(from).toISOString(), jwk }
}

/**
 * Which key is what at a moment. A new one is published first and signs an hour later; the one before stays published for a day
 * after that, for providers that keep an old key set. What is past that is left out.
 *
 * @param now milliseconds
 */
export function standing<Key extends Pick<ClientKey, 'from'>>(
  keys: readonly Key[],
  now: number,
): Standing<Key>[] {
  const inOrder = [...keys].sort((one, other) => start(one) - start(other))
  const begun = inOrder.filter((key) => start(key) <= now)
  // With a clock that was set back there may be none: the oldest is the one that the provider has known longest.
  const signing = Math.max(begun.length - 1, 0)
  return inOrder.flatMap((key, at): Standing<Key>[] => {
    if (at > signing) return [{ key, state: 'next' }]
    if (at === signing) return [{ key, state: 'signing' }]
    const successor = inOrder[at + 1]
    return successor && start(successor) + afterTime > now ? [{ key, state: 'retired' }] : []
  })
}

function start({ from }: Pick<ClientKey, 'from'>): number {
  return Date.parse(from)
}

/** The one that signs now, ready to. @throws Error when there is none */
export async function signingKeyOf(
  keys: readonly ClientKey[],
  now: number,
): Promise<{ key: CryptoKey; kid: string }> {
  const found = standing(keys, now).find(({ state }) => state === 'signing')
  if (!found) throw new CheckError('signing_key', 'the provider has no key to sign with')
  const { alg, kid, jwk } = found.key
  return { key: (await importJWK(jwk, alg)) as CryptoKey, kid }
}

/** The public members of a key, listed one by one so that no private member leaks. */
export function publicHalf({ kid, alg, jwk }: ClientKey): JWK {
  const members = { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, n: jwk.n, e: jwk.e }
  const there = Object.entries(members).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(there), kid, alg, use: 'sig' } as JWK
}
