import { afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createLocalJWKSet } from 'jose'
import { type HttpClient, UnreachableError } from '../../lib/oidc/http-client.ts'
import { KeySet, type KeyUse } from '../../lib/oidc/key-set.ts'
import { CheckError } from '../../lib/shared/errors.ts'
import { type Clock, takeClock, takeTimers } from '../support/clock.ts'
import { createSigningKeys, type SigningFaults, type SigningKeys } from '../support/faulty-signing.ts'
import { signal } from '../support/signal.ts'

const minute = 60_000
const address = 'https://id.example/keys'

let keys: SigningKeys
let keySet: KeySet
let clock: Clock
let answer: (url: string) => Promise<Response>
let requests: number
/** where the discovery document says that the keys are */
let current: string
let discoveries: number

beforeAll(async () => {
  keys = await createSigningKeys('unused')
})
beforeEach(() => {
  clock = takeClock()
  requests = 0
  answer = published
  const fetch = async (url: string) => {
    requests += 1
    return await answer(url)
  }
  const outbound: HttpClient = {
    timeoutSeconds: 5,
    fetch,
    fetchFollowingRedirects: fetch,
  }
  current = address
  discoveries = 0
  const locate = async () => {
    discoveries += 1
    return current
  }
  keySet = new KeySet(address, outbound, { resolverFor: createLocalJWKSet, locate })
})
afterEach(() => clock.back())

const published = async () => Response.json(await keys.jwks({}))
const failing = (status: number) => async () => new Response('{}', { status })
const valid = () => keys.sign({})
const forged = () => keys.sign({}, { kid: 'unknown' })

/** @returns whether the keys of the provider verify the token */
async function verifies(token: string, use: KeyUse = 'sign-in', algorithms = ['RS256']): Promise<boolean> {
  return await keySet.verify(token, { use, algorithms }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof CheckError && error.code === 'signature') return false
      throw error
    },
  )
}

/** Holds the response until the returned function is called. */
function hold(): () => void {
  const { given: released, give: release } = signal()
  answer = async () => {
    await released
    return await published()
  }
  return release
}

describe('a key set', () => {
  it('is fetched once for ten minutes, and again at its next use', async () => {
    for (let n = 0; n < 5; n++) await verifies(await valid())
    clock.pass(10 * minute - 1)
    await verifies(await valid())
    expect(requests).toBe(1)
    clock.pass(1)
    await verifies(await valid())
    expect(requests).toBe(2)
  })

  it('is fetched once for simultaneous tokens', async () => {
    const token = await valid()
    await Promise.all(Array.from({ length: 50 }, () => verifies(token)))
    expect(requests).toBe(1)
  })

  it('sets no timer, so an idle portal fetches nothing', async () => {
    await verifies(await valid())
    clock.back()
    clock = takeTimers()
    await verifies(await valid())
    expect(jest.getTimerCount()).toBe(0)
  })

  it.each<[string, SigningFaults]>([
    ['an unknown key', { kid: 'unknown' }],
    ['a signature that fails', { signature: 'foreign-key' }],
    ['a signature that fails, without a key ID', { signature: 'foreign-key', kid: 'absent' }],
  ])('is fetched again once per cool-down for %s', async (_what, faults) => {
    await verifies(await valid())
    const wrong = await keys.sign({}, faults)
    await Promise.all(Array.from({ length: 50 }, () => verifies(wrong)))
    for (let n = 0; n < 50; n++) await verifies(wrong)
    expect(requests).toBe(2)
    clock.pass(5000)
    for (let n = 0; n < 50; n++) await verifies(wrong)
    expect(requests).toBe(3)
  })

  it('contains a new key at once, unless a sign-in caused a request within 5 s', async () => {
    await verifies(await valid())
    await keys.rotate()
    expect(await verifies(await valid())).toBe(true)
    await keys.rotate()
    expect(await verifies(await valid())).toBe(false)
    clock.pass(5000)
    expect(await verifies(await valid())).toBe(true)
  })

  it('contains a new key for a token without a key ID, too', async () => {
    await verifies(await valid())
    await keys.rotate()
    expect(await verifies(await keys.sign({}, { kid: 'absent' }))).toBe(true)
    expect(requests).toBe(2)
  })

  it('is fetched again for a key that is newer than a request in progress', async () => {
    const earlier = await keys.jwks({})
    const { given: released, give: release } = signal()
    answer = async () => {
      await released
      answer = published
      return Response.json(earlier)
    }
    const first = verifies(await valid())
    await keys.rotate()
    const second = verifies(await valid())
    release()
    await first
    expect(await second).toBe(true)
    expect(requests).toBe(2)
  })
})

describe('a key set that is gone', () => {
  const moved = 'https://id.example/new-keys'
  const published404 = (status: number) => async (url: string) =>
    url === moved ? await published() : new Response('{}', { status })

  it.each([404, 410])(
    'is found again where the discovery document says, for the same token: status %i',
    async (status) => {
      await verifies(await valid())
      current = moved
      answer = published404(status)
      await keys.rotate()
      expect(await verifies(await valid())).toBe(true)
      clock.pass(10 * minute)
      expect(await verifies(await valid())).toBe(true)
      expect({ requests, discoveries }).toEqual({ requests: 4, discoveries: 1 })
    },
  )

  it('is looked for once per cool-down while the document names the same one', async () => {
    answer = published404(404)
    for (let n = 0; n < 20; n++) await expect(verifies(await valid())).rejects.toThrow('status 404')
    expect({ requests, discoveries }).toEqual({ requests: 1, discoveries: 1 })
    clock.pass(5000)
    await expect(verifies(await valid())).rejects.toThrow('status 404')
    expect({ requests, discoveries }).toEqual({ requests: 2, discoveries: 2 })
  })

  it('causes one discovery a minute by forged logout tokens', async () => {
    await verifies(await valid())
    answer = published404(404)
    const token = await forged()
    for (let n = 0; n < 20; n++) await expect(verifies(token, 'logout')).rejects.toThrow('status 404')
    expect(discoveries).toBe(1)
  })
})

describe('a token of several accepted algorithms', () => {
  const accepted = ['RS256', 'PS256', 'ES256']

  it.each(['RS256', 'PS256', 'ES256'] as const)('may choose %s', async (alg) => {
    expect(await verifies(await keys.sign({}, alg === 'RS256' ? {} : { alg }), 'sign-in', accepted)).toBe(
      true,
    )
  })

  it.each<[string, SigningFaults]>([
    ['another asymmetric algorithm', { alg: 'EdDSA' }],
    ['none', { alg: 'none' }],
    ['an HMAC with a public key', { alg: 'HS256-public-key' }],
    ['the key ID of a key for another algorithm', { alg: 'ES256', header: { kid: 'rsa-0' } }],
    [
      'an algorithm that the key is not published for',
      { header: { alg: 'PS256' }, signature: 'other-padding' },
    ],
    ['an RSA key of 1024 bits', { weakKey: true }],
  ])('may not choose %s', async (_what, faults) => {
    answer = async () => Response.json(await keys.jwks(faults))
    expect(await verifies(await keys.sign({}, faults), 'sign-in', accepted)).toBe(false)
  })

  it('may not use a key for encryption', async () => {
    const use = (list: Record<string, unknown>[]) => list.map((key) => ({ ...key, use: 'enc' }))
    answer = async () => Response.json(await keys.jwks({ jwks: use }))
    expect(await verifies(await valid(), 'sign-in', accepted)).toBe(false)
  })
})

describe('forged logout tokens', () => {
  it.each(['cached', 'not cached'])('cause one request while the keys are %s', async (state) => {
    if (state === 'cached') await verifies(await valid())
    requests = 0
    const token = await forged()
    await Promise.all(Array.from({ length: 50 }, () => verifies(token, 'logout')))
    for (let n = 0; n < 50; n++) await verifies(token, 'logout')
    expect(requests).toBe(1)
    clock.pass(minute)
    await verifies(token, 'logout')
    expect(requests).toBe(2)
  })

  it('cause one request while the keys cannot be fetched', async () => {
    answer = failing(503)
    const token = await forged()
    for (let n = 0; n < 50; n++)
      await expect(verifies(token, 'logout')).rejects.toBeInstanceOf(UnreachableError)
    expect(requests).toBe(1)
  })

  it.each([1, 100])('do not delay a sign-in after a key rotation (%i)', async (times) => {
    await verifies(await valid())
    const token = await forged()
    for (let n = 0; n < times; n++) await verifies(token, 'logout')
    await keys.rotate()
    expect(await verifies(await valid())).toBe(true)
    expect(requests).toBe(3)
  })

  it('do not delay a sign-in that needs a new key while their request is in progress', async () => {
    await verifies(await valid())
    await keys.rotate()
    const release = hold()
    const logout = verifies(await forged(), 'logout')
    const signIn = verifies(await valid())
    release()
    await logout
    expect(await signIn).toBe(true)
    expect(requests).toBe(2)
  })
})

describe('keys that cannot be fetched', () => {
  it.each([429, 500, 503])('are reported as unavailable with status %i', async (status) => {
    answer = failing(status)
    await expect(verifies(await valid())).rejects.toThrow(`the key set responded with status ${status}`)
    await expect(verifies(await valid())).rejects.toBeInstanceOf(UnreachableError)
    expect(requests).toBe(1)
    clock.pass(5000)
    answer = published
    expect(await verifies(await valid())).toBe(true)
  })

  it('stay in use for an hour after they were fetched', async () => {
    await verifies(await valid())
    answer = failing(503)
    for (const minutes of [10, 20, 29]) {
      clock.pass(minutes * minute)
      expect(await verifies(await valid())).toBe(true)
    }
    // Fetched at most once per cool-down.
    for (let n = 0; n < 20; n++) await verifies(await valid())
    expect(requests).toBe(4)
    clock.pass(minute)
    await expect(verifies(await valid())).rejects.toBeInstanceOf(UnreachableError)
  })

  it('are reported as unavailable to a token with another key', async () => {
    await verifies(await valid())
    answer = failing(429)
    await keys.rotate()
    for (let n = 0; n < 3; n++) await expect(verifies(await valid())).rejects.toBeInstanceOf(UnreachableError)
    expect(requests).toBe(2)
  })

  it.each([
    ['another status', failing(404), 'status 404'],
    [
      'another type',
      async () => new Response('{"keys":[]}', { headers: { 'content-type': 'text/html' } }),
      'content type',
    ],
    ['no list', async () => Response.json({ keys: {} }), 'list of keys'],
  ])('are the provider’s mistake with %s', async (_what, response, message) => {
    answer = response
    await expect(verifies(await valid())).rejects.toThrow(message)
  })

  it('because the response does not arrive keep the older ones in use after 2 s', async () => {
    await verifies(await valid())
    const token = await valid()
    clock.pass(10 * minute)
    const release = hold()
    jest.useFakeTimers({
      now: Date.now(),
      doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'performance'],
    })
    const waiting = verifies(token)
    while (jest.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve))
    jest.advanceTimersByTime(2000)
    expect(await waiting).toBe(true)
    // The next token does not wait.
    expect(await verifies(token)).toBe(true)
    release()
  })
})
