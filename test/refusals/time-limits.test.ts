import { beforeAll, describe, expect, it } from '@jest/globals'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { expectRefusal, nothingRemains, type Scene, signIn, useScene } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const scene = useScene()

const endpoints = ['discovery', 'token', 'jwks', 'userinfo'] as const
const rows = endpoints.flatMap((endpoint) => [
  { endpoint, how: 'never comes', fault: `${endpoint}Hang` as const },
  { endpoint, how: 'comes byte by byte, without end', fault: `${endpoint}Trickle` as const },
])

interface Slow {
  part: Scene
  seen: Seen
  /** seconds */
  took: number
}

const begun = new Map<string, Promise<Slow>>()
/** A sign-in beside them at a provider that responds at once: the time that this machine takes. */
let quick: Promise<Slow>
const providers: FaultyProvider[] = []

// All at once, each at a provider of its own: waiting costs no more for eight than for one.
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

async function wait(part: Scene, slug: string): Promise<Slow> {
  const start = performance.now()
  const seen = await signIn(part, slug)
  return { part, seen, took: (performance.now() - start) / 1000 }
}

describe('refused: an answer that takes for ever, within 10 s', () => {
  it.each(rows)('$endpoint that $how (ours)', async ({ fault }) => {
    const { part, seen, took } = await begun.get(fault)!
    await expectRefusal(part, seen, { status: 502, cause: /./ })
    expect(took).toBeLessThan(10 + (await quick).took)
  })
})

nothingRemains(scene)
