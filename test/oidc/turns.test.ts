import { setImmediate } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from '@jest/globals'
import { Turns } from '../../lib/oidc/turns.ts'

let turns: Turns
/** The clients in the order in which they got a connection. */
let order: string[]
let held: { client: string; release: () => void }[]

beforeEach(() => {
  turns = new Turns(32)
  order = []
  held = []
})

async function ask(client: string, times = 1, signal?: AbortSignal): Promise<void> {
  for (let n = 0; n < times; n++)
    turns.take(client, signal ?? new AbortController().signal).then(
      (release) => {
        order.push(client)
        held.push({ client, release })
      },
      () => {},
    )
  await setImmediate()
}

async function release(client: string): Promise<void> {
  const at = held.findIndex((each) => each.client === client)
  held.splice(at, 1)[0]!.release()
  await setImmediate()
}

const holds = (client: string) => held.filter((each) => each.client === client).length

describe('the connections to a provider', () => {
  it('are held by one client up to three quarters while nobody else waits', async () => {
    await ask('a company', 100)
    expect(holds('a company')).toBe(24)
    for (let n = 0; n < 76; n++) await release('a company')
    expect(order).toHaveLength(100)
    expect(holds('a company')).toBe(24)
  })

  it('are available at once to a client that comes later', async () => {
    await ask('attacker', 100)
    await ask('ada')
    expect(holds('ada')).toBe(1)
  })

  it.each([1, 2, 3])('are all usable if there are only %i', async (connections) => {
    turns = new Turns(connections)
    await ask('a company', 10)
    expect(holds('a company')).toBe(connections)
  })

  it('are held by one client up to a quarter while another one waits', async () => {
    for (let n = 0; n < 4; n++) await ask(`attacker ${n}`, 100)
    await ask('ada')
    expect(holds('ada')).toBe(0)
    await release('attacker 0')
    await release('attacker 0')
    await release('attacker 0')
    expect(holds('ada')).toBe(1)
    // The first one came when nobody waited. It gets no other connection until it holds less than a quarter.
    while (holds('attacker 0') > 8) await release('attacker 0')
    expect(['attacker 1', 'attacker 2', 'attacker 3'].map(holds)).toEqual([8, 8, 7])
  })

  it('are given to the newest request of a client, because the oldest would reach its time limit', async () => {
    turns = new Turns(1)
    await ask('portal')
    const started: number[] = []
    const start = async (n: number) => {
      const end = await turns.take('a', new AbortController().signal)
      started.push(n)
      end()
    }
    const all = Promise.all([1, 2, 3].map(start))
    await release('portal')
    await all
    expect(started).toEqual([3, 2, 1])
  })

  it('are given to waiting clients in turn', async () => {
    turns = new Turns(1)
    await ask('portal')
    for (const client of ['a', 'a', 'a', 'b', 'c', 'b']) await ask(client)
    for (let n = 0; n < 6; n++) await release(order.at(-1)!)
    expect(order).toEqual(['portal', 'a', 'b', 'c', 'a', 'b', 'a'])
  })

  it('are not given to a request that no longer waits', async () => {
    turns = new Turns(1)
    await ask('portal')
    const waiting = new AbortController()
    await ask('gone', 3, waiting.signal)
    await ask('ada')
    waiting.abort()
    await release('portal')
    expect(order).toEqual(['portal', 'ada'])
    await expect(turns.take('gone', waiting.signal)).rejects.toThrow('aborted')
  })

  it('are given to a client over a quarter again when the last other one stops waiting', async () => {
    turns = new Turns(4)
    const waiting = new AbortController()
    await ask('a', 3)
    await ask('b')
    await ask('b', 1, waiting.signal)
    await ask('a')
    await release('a')
    await release('a')
    expect(holds('a')).toBe(1)
    waiting.abort()
    await setImmediate()
    expect(holds('a')).toBe(2)
  })
})
