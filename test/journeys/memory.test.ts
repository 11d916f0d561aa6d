/** @slow measures memory over hundreds of sign-ins */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { answers } from '../refusals/tables/answers.ts'
import { endpoints } from '../refusals/tables/endpoints.ts'
import { idToken } from '../refusals/tables/id-token.ts'
import { keys } from '../refusals/tables/keys.ts'
import { algorithms, signatures } from '../refusals/tables/signatures.ts'
import { bundle } from '../support/bundle.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import {
  type Group,
  type Listener,
  type Row,
  resolveFaults,
  slugs,
  startListener,
} from '../support/refusals.ts'
import { signIn } from '../support/scene.ts'
import { freePort } from '../support/services/server.ts'
import { Visitor } from '../support/visitor.ts'

/** Simultaneous sign-ins, each with its own provider, because a provider has one set of faults. */
const laneCount = 4

interface Hostile {
  group: Group
  row: Row
}

const table: Hostile[] = [
  ...signatures,
  ...algorithms,
  ...idToken,
  ...endpoints,
  ...keys,
  ...answers,
].flatMap((group) => group.rows.map((row) => ({ group, row })))

/** A prime that does not divide the number of rows. */
const stride = table.length % 97 === 0 ? 89 : 97

// V8's optimising compilers keep adding machine code to the heap for minutes: 3 MB that would look like a leak, or hide one.
const flags = ['--expose-gc', '--no-opt', '--always-sparkplug', '--no-maglev']

let folder: string
let url: string
let child: ChildProcess
let attacker: Listener
let lanes: FaultyProvider[]
let stderr = ''

beforeAll(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'portal-sso-memory-'))
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  child = spawn(process.execPath, [...flags, await bundle('test/support/instance.ts')], {
    env: {
      ...process.env,
      PORT: String(port),
      BASE_URL: url,
      DATABASE_URL: `sqlite:${path.join(folder, 'portal.sqlite')}`,
      REDIS_URL: process.env.TEST_REDIS_URL,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  await Promise.race([
    once(child.stdout!, 'data'),
    once(child, 'exit').then(() => {
      throw new Error(`the portal exited: ${stderr}`)
    }),
  ])
  attacker = await startListener()
  lanes = await Promise.all(Array.from({ length: laneCount }, () => startFaultyProvider()))
  for (const [lane, provider] of lanes.entries()) {
    for (const [slug, settings] of Object.entries(slugs)) await connect(provider, `${slug}-${lane}`, settings)
    await connect(provider, `undiscovered-${lane}`, {})
  }
})
afterAll(async () => {
  child.kill('SIGKILL')
  await Promise.all([...lanes, attacker].map((server) => server.close()))
  await fs.rm(folder, { recursive: true })
})

async function connect(provider: FaultyProvider, slug: string, settings: object): Promise<void> {
  const { issuer, clientId, clientSecret } = provider
  const input = { slug, displayName: slug, issuer, clientId, clientSecret, ...settings }
  const answer = await fetch(`${url}/test/providers/connect`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify([input]),
  })
  expect([answer.status, slug]).toEqual([200, slug])
}

/** Sends rows that are far apart in the table, so that the first 200 are as mixed as the rest. */
async function sendHostileSignIns(from: number, to: number): Promise<void> {
  let due = from
  const lane = async (provider: FaultyProvider, at: number) => {
    while (due < to) {
      const { group, row } = table[(due++ * stride) % table.length]!
      await refuse(provider, at, group, row)
    }
  }
  await Promise.all(lanes.map(lane))
}

async function refuse(provider: FaultyProvider, lane: number, group: Group, row: Row): Promise<void> {
  const [fault, , faults] = row
  provider.reset()
  Object.assign(
    provider.faults,
    await resolveFaults(faults, { provider, other: lanes[(lane + 1) % laneCount]!, attacker }),
  )
  // The portal caches a valid discovery document, so these rows use a provider that never has one.
  const slug = group.name === 'discovery document' ? 'undiscovered' : (group.slug ?? 'acme')
  const part = { portal: { url }, visitor: new Visitor() }
  const seen = await signIn(part, `${slug}-${lane}`)
  // Cached keys or metadata hide a fault of the document, which only a probe then requests. test/refusals expects each refusal.
  const isHidden = /JWKS|key set|header|announces/.test(group.name)
  expect([isHidden || seen.status >= 400, group.name, fault]).toEqual([true, group.name, fault])
}

async function heap(): Promise<number> {
  return (await (await fetch(`${url}/test/heap`)).json()) as number
}

describe('after 2,000 hostile sign-ins', () => {
  it('the portal uses at most 8 % more memory than after 200, and has printed no warning', async () => {
    await sendHostileSignIns(0, 200)
    const early = await heap()
    await sendHostileSignIns(200, 2000)
    const late = await heap()
    expect(late / early).toBeLessThan(1.08)
    expect(stderr).toBe('')
    expect(child.exitCode).toBeNull()
  }, 900_000)
})
