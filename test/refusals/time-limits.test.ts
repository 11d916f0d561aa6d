import { beforeAll, describe, expect, it } from '@jest/globals'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { expectRefusal, type RefusalScene, testAftermath, useRefusalScene } from '../support/refusals.ts'
import { signIn } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const scene = useRefusalScene()

const endpoints = ['discovery', 'token', 'jwks', 'userinfo'] as const
const rows = endpoints.flatMap((endpoint) => [
  { endpoint, how: 'never responds', fault: `${endpoint}Hang` as const },
  { endpoint, how: 'responds byte by byte, without end', fault: `${endpoint}Trickle` as const },
])

interface Slow {
  part: RefusalScene
  seen: Seen
  seconds: number
}

const begun = new Map<string, Promise<Slow>>()
/** A simultaneous sign-in with a provider that responds immediately. It measures how slow this machine is. */
let quick: Promise<Slow>
const providers: FaultyProvider[] = []

// All sign-ins wait at the same time, each at its own provider.
beforeAll(async () => {
  for (const [n, { fault }] of rows.entries()) {
    const provider = await startFaultyProvider()
    providers.push(provider)
    const slug = `slow-${n}`
    await scene.portal.connect(provider, { slug, displayName: slug })
    Object.assign(provider.faults, { [fault]: true, claimsInUserinfoOnly: true })
    begun.set(fault, wait({ ...scene, visitor: new Visitor() }, slug))
  }
  quick = wait({ ...scene, visitor: new Visitor() }, 'acme')
  await Promise.allSettled([...begun.values(), quick])
  await Promise.all(providers.map((provider) => provider.close()))
})

async function wait(part: RefusalScene, slug: string): Promise<Slow> {
  const start = performance.now()
  const seen = await signIn(part, slug)
  return { part, seen, seconds: (performance.now() - start) / 1000 }
}

describe('refused: an endless response, within 10 s', () => {
  it.each(rows)('$endpoint endpoint that $how (ours)', async ({ endpoint, fault }) => {
    const { part, seen, seconds } = await begun.get(fault)!
    // Without UserInfo there is no address, and this portal sends no codes.
    const status = endpoint === 'userinfo' ? 403 : 502
    await expectRefusal(part, seen, { status, cause: /did not (?:respond|arrive in time)/ })
    expect(seconds).toBeLessThan(10 + (await quick).seconds)
  })
})

testAftermath(scene)
