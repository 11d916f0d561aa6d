import { afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { type HttpClient, UnreachableError } from '../../lib/oidc/http-client.ts'
import { KeySet, type KeyUse } from '../../lib/oidc/key-set.ts'
import { type Clock, takeClock, takeTimers } from '../support/clock.ts'
import { createSigningKeys, type SigningKeys } from '../support/faulty-signing.ts'
import { signal } from '../support/signal.ts'

const minute = 60_000

let keys: SigningKeys
let keySet: KeySet
let clock: Clock
let answer: () => Promise<Response>
let requests: number

beforeAll(async () => {
  keys = await createSigningKeys('unused')
})
beforeEach(() => {
  clock = takeClock()
  requests = 0
  answer = published
  const fetch = async () => {
    requests += 1
    return await answer()
  }
  const outbound: HttpClient = {
    timeoutSeconds: 5,
    fetch,
    fetchFollowingRedirects: fetch,
  }
  keySet = new KeySet('https://id.example/keys', outbound, 'RS256')
})
afterEach(() => clock.back())

const published = async () => Response.json(await keys.jwks({}))
const failing = (status: number) => async () => new Response('{}', { status })
const valid = () => keys.sign({})
const forged = () => keys.sign({}, { kid: 'unknown' })

/** @returns the ids of the keys for this token */
async function kids(token: string, use: KeyUse = 'sign-in'): Promise<unknown[]> {
  return (await keySet.keysFor(token, use)).keys.map(({ kid }) => kid)
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

async function currentKid(): Promise<string> {
  const [main] = (await keys.jwks({})).keys as { kid: string }[]
  return main!.kid
}

describe('a key set', () => {
  it('is fetched once for ten minutes, and again at its next use', async () => {
    for (let n = 0; n < 5; n++) await kids(await valid())
    clock.pass(10 * minute - 1)
    await kids(await valid())
    expect(requests).toBe(1)
    clock.pass(1)
    await kids(await valid())
    expect(requests).toBe(2)
  })

  it('is fetched once for simultaneous tokens', async () => {
    const token = await valid()
    await Promise.all(Array.from({ length: 50 }, () => kids(token)))
    expect(requests).toBe(1)
  })

  it('sets no timer, so an idle portal fetches nothing', async () => {
    await kids(await valid())
    clock.back()
    clock = takeTimers()
    await kids(await valid())
    expect(jest.getTimerCount()).toBe(0)
  })

  it.each(['an unknown key', 'a signature that fails'])(
    'is fetched again once per cool-down for %s',
    async (what) => {
      await kids(await valid())
      const wrong = await (what === 'an unknown key' ? forged() : keys.sign({}, { signature: 'foreign-key' }))
      await Promise.all(Array.from({ length: 50 }, () => kids(wrong)))
      for (let n = 0; n < 50; n++) await kids(wrong)
      expect(requests).toBe(2)
      clock.pass(5000)
      for (let n = 0; n < 50; n++) await kids(wrong)
      expect(requests).toBe(3)
    },
  )

  it('contains a new key at once, unless a sign-in caused a request within 5 s', async () => {
    await kids(await valid())
    await keys.rotate()
    expect(await kids(await valid())).toContain(await currentKid())
    await keys.rotate()
    expect(await kids(await valid())).not.toContain(await currentKid())
    clock.pass(5000)
    expect(await kids(await valid())).toContain(await currentKid())
  })

  it('is fetched again for a key that is newer than a request in progress', async () => {
    const earlier = await keys.jwks({})
    const { given: released, give: release } = signal()
    answer = async () => {
      await released
      answer = published
      return Response.json(earlier)
    }
    const first = kids(await valid())
    await keys.rotate()
    const second = kids(await valid())
    release()
    await first
    expect(await second).toContain(await currentKid())
    expect(requests).toBe(2)
  })
})

describe('forged logout tokens', () => {
  it.each(['cached', 'not cached'])('cause one request while the keys are %s', async (state) => {
    if (state === 'cached') await kids(await valid())
    requests = 0
    const token = await forged()
    await Promise.all(Array.from({ length: 50 }, () => kids(token, 'logout')))
    for (let n = 0; n < 50; n++) await kids(token, 'logout')
    expect(requests).toBe(1)
    clock.pass(minute)
    await kids(token, 'logout')
    expect(requests).toBe(2)
  })

  it('cause one request while the keys cannot be fetched', async () => {
    answer = failing(503)
    const token = await forged()
    for (let n = 0; n < 50; n++) await expect(kids(token, 'logout')).rejects.toBeInstanceOf(UnreachableError)
    expect(requests).toBe(1)
  })

  it.each([1, 100])('do not delay a sign-in after a key rotation (%i)', async (times) => {
    await kids(await valid())
    const token = await forged()
    for (let n = 0; n < times; n++) await kids(token, 'logout')
    await keys.rotate()
    expect(await kids(await valid())).toContain(await currentKid())
    expect(requests).toBe(3)
  })

  it('do not delay a sign-in that needs a new key while their request is in progress', async () => {
    await kids(await valid())
    await keys.rotate()
    const release = hold()
    const logout = kids(await forged(), 'logout')
    const signIn = kids(await valid())
    release()
    await logout
    expect(await signIn).toContain(await currentKid())
    expect(requests).toBe(2)
  })
})

describe('keys that cannot be fetched', () => {
  it.each([429, 500, 503])('are reported as unavailable with status %i', async (status) => {
    answer = failing(status)
    await expect(kids(await valid())).rejects.toThrow(`the key set responded with status ${status}`)
    await expect(kids(await valid())).rejects.toBeInstanceOf(UnreachableError)
    expect(requests).toBe(1)
    clock.pass(5000)
    answer = published
    expect(await kids(await valid())).toContain(await currentKid())
  })

  it('stay in use for an hour after they were fetched', async () => {
    await kids(await valid())
    answer = failing(503)
    for (const minutes of [10, 20, 29]) {
      clock.pass(minutes * minute)
      expect(await kids(await valid())).toContain(await currentKid())
    }
    // Fetched at most once per cool-down.
    for (let n = 0; n < 20; n++) await kids(await valid())
    expect(requests).toBe(4)
    clock.pass(minute)
    await expect(kids(await valid())).rejects.toBeInstanceOf(UnreachableError)
  })

  it('are reported as unavailable to a token with another key', async () => {
    await kids(await valid())
    answer = failing(429)
    await keys.rotate()
    for (let n = 0; n < 3; n++) await expect(kids(await valid())).rejects.toBeInstanceOf(UnreachableError)
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
    await expect(kids(await valid())).rejects.toThrow(message)
  })

  it('because the response does not arrive keep the older ones in use after 2 s', async () => {
    await kids(await valid())
    const token = await valid()
    clock.pass(10 * minute)
    const release = hold()
    jest.useFakeTimers({
      now: Date.now(),
      doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'performance'],
    })
    const waiting = kids(token)
    while (jest.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve))
    jest.advanceTimersByTime(2000)
    expect(await waiting).toContain(await currentKid())
    // The next token does not wait.
    expect(await kids(token)).toContain(await currentKid())
    release()
  })
})
