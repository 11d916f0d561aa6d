import type { CryptoKey, JWK } from 'jose'
import { CheckError } from '../shared/errors.ts'

/** A key of `private_key_jwt` with its private half, which is stored only encrypted. */
export interface ClientKey {
  /** thumbprint of the public half (RFC 7638) */
  kid: string
  alg: ClientKeyAlgorithm
  /** when it starts to sign: ISO 8601 */
  from: string
  jwk: JWK
  /** published, but signs only if the provider refuses the algorithm of the others */
  spare?: true | undefined
}

/**
 * `next`: published but not used yet, so that the provider has time to fetch it. `retired`: published, but no longer used.
 * `spare`: published, and used only if the provider requires its algorithm.
 */
export type KeyState = 'next' | 'signing' | 'retired' | 'spare'

interface KeyWithState {
  key: ClientKey
  state: KeyState
}

/** In order of preference, for providers that announce the algorithms they accept. */
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

/** Milliseconds from publishing a key to signing with it. Providers cache a key set for minutes, rarely longer. */
export const leadTimeMs = 3_600_000
/** a key stays published this long after its successor starts to sign */
const retiredForMs = 24 * 3_600_000

/**
 * @param announced `token_endpoint_auth_signing_alg_values_supported` of the provider's metadata
 * @param current preferred, because the client may be registered for it
 * @returns `undefined` if it contains none of ours; RS256, which every provider supports, if nothing is announced
 */
export function keyAlgorithmFor(
  announced: unknown,
  current?: ClientKeyAlgorithm,
): ClientKeyAlgorithm | undefined {
  if (!Array.isArray(announced)) return current ?? 'RS256'
  return [...(current ? [current] : []), ...clientKeyAlgorithms].find((known) => announced.includes(known))
}

/** A client may be registered for one of those that its provider announces; each takes a key of its own. */
const commonAlgorithms: readonly string[] = ['ES256', 'PS256', 'RS256']

/**
 * Makes the first keys of a provider: one that signs at once, because the provider cannot have cached an earlier one, and a spare
 * one for each other common algorithm. Never shared: a provider that knows the key of another one could accept its assertions.
 */
export async function makeClientKeys(announced: unknown): Promise<ClientKey[]> {
  const preferred = keyAlgorithmFor(announced)
  if (preferred === undefined) return []
  const others = clientKeyAlgorithms.filter(
    (alg) => alg !== preferred && Array.isArray(announced) && announced.includes(alg),
  )
  const algorithms = [preferred, ...others.filter((alg) => commonAlgorithms.includes(alg))]
  const now = Date.now()
  const keys = await Promise.all(algorithms.map((alg) => makeClientKey(alg, now)))
  return keys.map((key, at) => (at === 0 ? key : { ...key, spare: true }))
}

/** The keys after the provider has accepted a spare one: it signs from now on, and no spare one is needed any more. */
export function promoteKey(keys: readonly ClientKey[], kid: string, now: number): ClientKey[] {
  const promote = ({ spare: _, ...key }: ClientKey) => ({ ...key, from: new Date(now).toISOString() })
  return keys
    .filter((key) => !key.spare || key.kid === kid)
    .map((key) => (key.kid === kid ? promote(key) : key))
}

export async function makeClientKey(alg: ClientKeyAlgorithm, from: number): Promise<ClientKey> {
  const { calculateJwkThumbprint, exportJWK, generateKeyPair } = await import('jose')
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { kid: await calculateJwkThumbprint(jwk), alg, from: new Date(from).toISOString(), jwk }
}

/**
 * Returns the published keys and their states. A new key is published an hour before it signs; the previous one stays published
 * for a day after that, because providers may cache the key set. Older keys are omitted.
 *
 * @param now milliseconds
 */
export function keysWithState(keys: readonly ClientKey[], now: number): KeyWithState[] {
  const spares = keys.filter(({ spare }) => spare).map((key): KeyWithState => ({ key, state: 'spare' }))
  const sorted = keys.filter(({ spare }) => !spare).sort((one, other) => start(one) - start(other))
  const started = sorted.filter((key) => start(key) <= now)
  // If the clock was set back, no key may have started. Then the oldest signs: the provider has known it longest.
  const signing = Math.max(started.length - 1, 0)
  const others = sorted.flatMap((key, at): KeyWithState[] => {
    if (at > signing) return [{ key, state: 'next' }]
    if (at === signing) return [{ key, state: 'signing' }]
    const successor = sorted[at + 1]
    return successor && start(successor) + retiredForMs > now ? [{ key, state: 'retired' }] : []
  })
  return [...others, ...spares]
}

function start({ from }: Pick<ClientKey, 'from'>): number {
  return Date.parse(from)
}

/** Imports the key that signs now, or the given one. @throws CheckError if there is none */
export async function signingKeyOf(
  keys: readonly ClientKey[],
  now: number,
  id?: string,
): Promise<{ key: CryptoKey; kid: string }> {
  const found = keysWithState(keys, now).find(({ key, state }) => (id ? key.kid === id : state === 'signing'))
  if (!found) throw new CheckError('signing_key', 'the provider has no key to sign with')
  const { alg, kid, jwk } = found.key
  const { importJWK } = await import('jose')
  return { key: (await importJWK(jwk, alg)) as CryptoKey, kid }
}

/** Returns the public half of a key. Lists the members, so that no private one is published. */
export function publicHalf({ kid, alg, jwk }: ClientKey): JWK {
  const members = { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y, n: jwk.n, e: jwk.e }
  const present = Object.entries(members).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(present), kid, alg, use: 'sig' } as JWK
}
