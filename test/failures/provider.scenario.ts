import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { type Faults, type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { acmeInput } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'
import { longestWait, ofKind, slackMs, statuses, useParts } from './support/scene.ts'

const parts = useParts()
const providerMs = 10_000

const trickle: Faults = { tokenTrickle: true }
const bomb: Faults = { tokenBomb: true }
const endless: Faults = { tokenEndless: true }

describe('a provider', () => {
  it('is down, responds byte by byte, sends an endless body or a gzip bomb, or redirects without end: its sign-ins show an error page within 10 s, and no other request notices', async () => {
    const scene = await parts.startUnderLoad()
    const { instance, url } = scene
    const broken = new Map<string, FaultyProvider>()
    for (const slug of ['down', 'trickle', 'endless', 'bomb', 'redirects']) {
      const provider = await startFaultyProvider()
      broken.set(slug, provider)
      await instance.act('connect', { ...acmeInput(provider), slug })
    }
    try {
      const signIns: Promise<{ slug: string; status: number; waitMs: number }>[] = []
      const outage = await scene.outage(
        12,
        async () => {
          const location = () => ({
            status: 302,
            headers: { location: `${broken.get('redirects')!.issuer}/token?${Math.random()}` },
          })
          Object.assign(broken.get('trickle')!.faults, trickle)
          Object.assign(broken.get('endless')!.faults, endless)
          Object.assign(broken.get('bomb')!.faults, bomb)
          Object.assign(broken.get('redirects')!.faults, { tokenResponse: location() } satisfies Faults)
          for (const [slug, provider] of broken)
            signIns.push(
              (async () => {
                const visitor = new Visitor()
                const started = await visitor.get(`${url}/login/${slug}`)
                const response = await visitor.get(started.location!)
                if (slug === 'down') await provider.close()
                const at = performance.now()
                const { status } = await visitor.get(response.location!)
                return { slug, status, waitMs: performance.now() - at }
              })(),
            )
          await delay(0)
        },
        () => {},
      )
      const failed = await Promise.all(signIns)
      expect(failed.map(({ slug, status }) => ({ slug, status }))).toEqual(
        [...broken.keys()].map((slug) => ({ slug, status: ['down', 'trickle'].includes(slug) ? 502 : 400 })),
      )
      expect(Math.max(...failed.map(({ waitMs }) => waitMs))).toBeLessThan(providerMs + slackMs)
      expect(statuses(ofKind(outage.all, 'page'))).toEqual([200])
      expect(statuses(ofKind(outage.all, 'start'))).toEqual([302])
      expect(statuses(ofKind(outage.all, 'callback'))).toEqual([303])
      expect(longestWait(outage, outage.all)).toBeLessThan(1000 + slackMs)
      // One line for each failed sign-in, and one for each outage that a probe has confirmed.
      const isRefusal = ({ message }: { message: string }) => message === 'a sign-in was refused'
      const slugsOf = (logs: typeof outage.logs) => logs.map(({ fields }) => fields.provider).sort()
      expect(slugsOf(outage.logs.filter(isRefusal))).toEqual([...broken.keys()].sort())
      expect(slugsOf(outage.logs.filter((line) => !isRefusal(line)))).toEqual(['down', 'trickle'])
    } finally {
      for (const [slug, provider] of broken) if (slug !== 'down') await provider.close()
    }
  })
})
