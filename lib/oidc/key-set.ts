import { compactVerify, createLocalJWKSet, type JSONWebKeySet } from 'jose'
import { CheckError } from '../shared/errors.ts'
import { HOUR, MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import { type HttpClient, UnreachableError } from './http-client.ts'

/** the purpose of a token */
export type KeyUse = 'sign-in' | 'logout'

// Separate, so that forged logout tokens, which anyone can send, cannot delay a sign-in after a key rotation.
const cooldownMs = { 'sign-in': 5 * SECOND, logout: MINUTE }
const freshForMs = 10 * MINUTE
const staleIfErrorMs = HOUR
/** how long a token waits for newer keys while older ones are usable: less than a sign-in may take */
const refreshTimeoutMs = 2 * SECOND

interface FetchedKeys {
  keys: JSONWebKeySet
  resolver: ReturnType<typeof createLocalJWKSet>
  fetchedAt: number
  /** of the request that fetched them */
  request: number
}

/** The keys of one provider. They are fetched when a token needs them, never by a timer. */
export class KeySet {
  readonly uri: string
  readonly #outbound: HttpClient
  readonly #algorithm: string
  #current: FetchedKeys | undefined
  #requests = 0
  #pending: Promise<FetchedKeys> | undefined
  /** of the last request; `undefined` after a success */
  #failure: unknown
  readonly #nextFetchAt = { 'sign-in': 0, logout: 0 }

  /** @param algorithm that tokens are signed with */
  constructor(uri: string, outbound: HttpClient, algorithm: string) {
    this.uri = uri
    this.#outbound = outbound
    this.#algorithm = algorithm
  }

  /**
   * Returns the keys to verify a token with. They are fetched again if none of the cached ones verifies it, once per cool-down.
   * The caller verifies the token: these keys may fail, too.
   *
   * @param deadline for the wait, not for the request, which others may share
   * @throws UnreachableError or CheckError if the key set cannot be fetched
   */
  async keysFor(token: string, use: KeyUse, deadline?: AbortSignal): Promise<JSONWebKeySet> {
    const earlier = this.#requests
    const cached = this.#current
    const isFresh = cached !== undefined && Date.now() < cached.fetchedAt + freshForMs
    let found = isFresh ? cached : await this.#refresh(use, deadline)
    // Keys that were requested after the token arrived are new enough.
    while (found.request <= earlier && !(await this.#verifies(found, token))) {
      // A request in progress may bring the key, and costs nothing.
      if (!this.#pending && Date.now() < this.#nextFetchAt[use]) {
        if (this.#failure !== undefined) throw this.#failure
        break
      }
      if (!this.#pending) this.#coolDown(use)
      found = await this.#load(deadline)
    }
    return found.keys
  }

  /** Fetches the keys. If that fails, returns those of the last hour. */
  async #refresh(use: KeyUse, deadline: AbortSignal | undefined): Promise<FetchedKeys> {
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

  async #verifies({ resolver }: FetchedKeys, token: string): Promise<boolean> {
    try {
      await compactVerify(token, resolver, { algorithms: [this.#algorithm] })
      return true
    } catch {
      return false
    }
  }

  /** Concurrent callers share one request. */
  async #load(deadline: AbortSignal | undefined): Promise<FetchedKeys> {
    this.#pending ??= this.#request(++this.#requests).finally(() => {
      this.#pending = undefined
    })
    return await (deadline ? beforeAbort(deadline, this.#pending) : this.#pending)
  }

  async #request(request: number): Promise<FetchedKeys> {
    try {
      const resolver = await readKeySet(await this.#outbound.fetch(this.uri, keyRequest))
      this.#current = { keys: resolver.jwks(), resolver, fetchedAt: Date.now(), request }
      this.#failure = undefined
      return this.#current
    } catch (error) {
      this.#failure = error
      throw error
    }
  }
}

const keyRequest = {
  method: 'GET',
  headers: { accept: 'application/json, application/jwk-set+json' },
  body: undefined,
  redirect: 'manual',
} as const

async function readKeySet(response: Response): Promise<FetchedKeys['resolver']> {
  const { status } = response
  const message = `the key set responded with status ${status}`
  // The provider is overloaded or down: it refuses nothing of the user.
  if (status === 429 || status >= 500) throw new UnreachableError(message)
  if (status !== 200) throw new CheckError('jwks_uri', message)
  if (!/^application\/(?:jwk-set\+)?json\b/i.test(response.headers.get('content-type') ?? ''))
    throw new CheckError('jwks_uri', 'the key set has the wrong content type')
  try {
    return createLocalJWKSet((await response.json()) as JSONWebKeySet)
  } catch (cause) {
    throw new CheckError('jwks_uri', 'the key set has no valid list of keys', { cause })
  }
}

async function beforeAbort<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const abort = () => reject(new UnreachableError('the keys did not arrive in time'))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
  })
  return await Promise.race([promise, aborted])
}
