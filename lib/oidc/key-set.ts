import { type CompactVerifyGetKey, compactVerify, type JSONWebKeySet, type JWK } from 'jose'
import { CheckError } from '../shared/errors.ts'
import { HOUR, MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import { type HttpClient, UnreachableError } from './http-client.ts'
import { withoutEmpty } from './identity.ts'

/** the purpose of a token */
export type KeyUse = 'sign-in' | 'logout'

// Separate, so that forged logout tokens, which anyone can send, cannot delay a sign-in after a key rotation.
const cooldownMs = { 'sign-in': 5 * SECOND, logout: MINUTE }
const freshForMs = 10 * MINUTE
const staleIfErrorMs = HOUR
/** how long a token waits for newer keys while older ones are usable: less than a sign-in may take */
const refreshTimeoutMs = 2 * SECOND

interface FetchedKeys {
  resolver: KeyResolver
  fetchedAt: number
  /** of the request that fetched them */
  request: number
}

/** Finds the key that a token's header names, or the only one that fits. */
export type KeyResolver = CompactVerifyGetKey

interface KeySetOptions {
  /** @throws if the key set is malformed */
  resolverFor(keySet: JSONWebKeySet): KeyResolver
  /** Reads the discovery document again. Called when the key set is gone. @returns its `jwks_uri` */
  locate(): Promise<string>
  /** Called with each key set, which tells the provider's time. @param askedAt milliseconds since 1970 */
  onResponse?: ((response: Response, askedAt: number) => void) | undefined
}

interface Verification {
  use: KeyUse
  /** that may have signed the token */
  algorithms: readonly string[]
  /** milliseconds, of `performance.now()`: for the wait, not for a request, which others may share */
  deadline?: number | undefined
}

/** The keys of one provider. They are fetched when a token needs them, never by a timer. */
export class KeySet {
  readonly #outbound: Pick<HttpClient, 'fetch'>
  readonly #options: KeySetOptions
  #uri: string
  #current: FetchedKeys | undefined
  #requests = 0
  #pending: Promise<FetchedKeys> | undefined
  /** of the last request; `undefined` after a success */
  #failure: unknown
  readonly #nextFetchAt = { 'sign-in': 0, logout: 0 }

  constructor(uri: string, outbound: Pick<HttpClient, 'fetch'>, options: KeySetOptions) {
    this.#uri = uri
    this.#outbound = outbound
    this.#options = options
  }

  get uri(): string {
    return this.#uri
  }

  /**
   * Verifies the signature of a token. The keys are fetched again if none of the cached ones verifies it, once per cool-down: the
   * provider may have created the key after it received the code.
   *
   * @returns the payload
   * @throws CheckError `signature`; UnreachableError or CheckError if the keys cannot be fetched
   */
  async verify(token: string, { use, algorithms, deadline }: Verification): Promise<Uint8Array> {
    const earlier = this.#requests
    const cached = this.#current
    const isFresh = cached !== undefined && Date.now() < cached.fetchedAt + freshForMs
    let found = isFresh ? cached : await this.#refresh(use, deadline)
    for (;;) {
      try {
        return (await compactVerify(token, found.resolver, { algorithms: [...algorithms] })).payload
      } catch (cause) {
        // A request in progress may bring the key, and costs nothing.
        const mayFetch = this.#pending !== undefined || Date.now() >= this.#nextFetchAt[use]
        // Keys that were requested after the token arrived are new enough.
        const isOlder = found.request <= earlier
        if (isOlder && !mayFetch && this.#failure !== undefined) throw this.#failure
        if (!isOlder || !mayFetch)
          throw new CheckError('signature', 'no key of the provider verifies the signature', { cause })
      }
      if (!this.#pending) this.#coolDown(use)
      found = await this.#load(deadline)
    }
  }

  /** Fetches the keys. If that fails, returns those of the last hour. */
  async #refresh(use: KeyUse, deadline: number | undefined): Promise<FetchedKeys> {
    const now = Date.now()
    const cached = this.#current
    const older = cached && now < cached.fetchedAt + staleIfErrorMs ? cached : undefined
    try {
      if (now < this.#nextFetchAt[use] && this.#failure !== undefined) throw this.#failure
      // Otherwise forged tokens would cause a second request after this one.
      if (use === 'logout' && !this.#pending) this.#coolDown(use)
      const loaded = this.#load(deadline)
      return await (older ? withTimeout(refreshTimeoutMs, loaded) : loaded)
    } catch (error) {
      this.#failure ??= error
      if (now >= this.#nextFetchAt[use]) this.#coolDown(use)
      if (older) return older
      throw error
    }
  }

  #coolDown(use: KeyUse): void {
    this.#nextFetchAt[use] = Date.now() + cooldownMs[use]
  }

  /** Concurrent callers share one request. */
  async #load(deadline: number | undefined): Promise<FetchedKeys> {
    this.#pending ??= this.#request(++this.#requests).finally(() => {
      this.#pending = undefined
    })
    if (deadline === undefined) return await this.#pending
    const loaded = withTimeout(Math.max(0, deadline - performance.now()), this.#pending)
    return await loaded.catch((error: unknown) => {
      const isLate = error instanceof CheckError && error.code === 'timeout'
      throw isLate ? new UnreachableError('the keys did not arrive in time') : error
    })
  }

  async #request(request: number): Promise<FetchedKeys> {
    const askedAt = Date.now()
    try {
      let response = await this.#outbound.fetch(this.#uri, keyRequest)
      if (isGone(response)) {
        const uri = await this.#options.locate()
        if (uri !== this.#uri) response = await this.#outbound.fetch(uri, keyRequest)
        this.#uri = uri
      }
      const resolver = this.#options.resolverFor(await readKeySet(response))
      this.#options.onResponse?.(response, askedAt)
      this.#current = { resolver, fetchedAt: Date.now(), request }
      this.#failure = undefined
      return this.#current
    } catch (error) {
      this.#failure = error
      throw error
    }
  }
}

/** True if an endpoint is gone: the provider may have moved it. */
export function isGone({ status }: Response): boolean {
  return status === 404 || status === 410
}

export const keyRequest = {
  method: 'GET',
  headers: { accept: 'application/json, application/jwk-set+json' },
  body: undefined,
  redirect: 'manual',
} as const

export async function readKeySet(response: Response): Promise<JSONWebKeySet> {
  const { status } = response
  const message = `the key set responded with status ${status}`
  // The provider is overloaded or down: it refuses nothing of the user.
  if (status === 429 || status >= 500) throw new UnreachableError(message)
  if (status !== 200) throw new CheckError('jwks_uri', message)
  if (!/^application\/(?:jwk-set\+)?json\b/i.test(response.headers.get('content-type') ?? ''))
    throw new CheckError('jwks_uri', 'the key set has the wrong content type')
  const keySet: unknown = await response.json().catch(() => undefined)
  const { keys } = (keySet ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys)) throw new CheckError('jwks_uri', 'the key set has no valid list of keys')
  return { keys: keys.filter((key) => typeof key === 'object' && key !== null).map(usableMembers) }
}

/** jose would ignore a key for the type of a member that we do not use. A member that is null or empty counts as absent. */
function usableMembers(key: object): JWK {
  const { ext: _, ...members } = withoutEmpty(key)
  return members
}
