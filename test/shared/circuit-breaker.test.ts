import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { CircuitBreaker } from '../../lib/shared/circuit-breaker.ts'
import { Outage } from '../../lib/shared/outage.ts'
import { type Clock, takeClock, takeTimers } from '../support/clock.ts'

interface Line {
  level: string
  message: string
  fields: Record<string, unknown>
}

let lines: Line[]
let clock: Clock

beforeEach(() => {
  lines = []
  clock = takeTimers()
})
afterEach(() => clock.back())

function createBreaker(probe: () => Promise<unknown>) {
  const log = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, message, fields: { ...fields } })
  const outage = new Outage({ error: log('error'), warn: log('warn') }, 'Redis', 'session_unavailable')
  return new CircuitBreaker({ timeoutMs: 800, code: 'session_unavailable', outage, probe })
}

const never = () => new Promise<never>(() => {})
const works = async () => 'value'
const refused = async () => {
  throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
}
const unavailable = { code: 'session_unavailable' }

/** Lets promises and `setImmediate` run. */
const turn = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)))

async function expectTimeout(call: Promise<unknown>, milliseconds: number): Promise<void> {
  const failed = expect(call).rejects.toMatchObject(unavailable)
  clock.pass(milliseconds)
  await failed
}

describe('a circuit breaker', () => {
  it('lets one call wait for the time limit, and refuses the others at once without sending them', async () => {
    const breaker = createBreaker(never)
    await expectTimeout(breaker.run(never), 800)
    clock.pass(60)
    let sent = 0
    const call = async () => void sent++
    // The first of them may wait for the probe that has just started.
    await expectTimeout(breaker.run(call), 50)
    await new Promise<void>((resolve) => setImmediate(resolve))
    for (let n = 0; n < 100; n++) await expectTimeout(breaker.run(call), 50)
    expect(sent).toBe(0)
  })

  it('has one probe in flight, however many calls it refuses', async () => {
    let probes = 0
    const breaker = createBreaker(() => {
      probes++
      return never()
    })
    await expect(breaker.run(refused)).rejects.toMatchObject(unavailable)
    for (let n = 0; n < 100; n++) await expectTimeout(breaker.run(works), 50)
    expect(probes).toBe(1)
  })

  it('admits calls again as soon as its probe succeeds', async () => {
    let respond = () => {}
    const breaker = createBreaker(
      () =>
        new Promise<void>((resolve) => {
          respond = resolve
        }),
    )
    await expect(breaker.run(refused)).rejects.toMatchObject(unavailable)
    expect(breaker.isOpen).toBe(true)
    respond()
    await turn()
    expect(breaker.isOpen).toBe(false)
    expect(await breaker.run(works)).toBe('value')
  })

  it('admits calls to a node of a cluster that works, after one to another node has failed', async () => {
    clock.back()
    const breaker = createBreaker(never)
    await expect(breaker.run(refused, { probe: refused })).rejects.toMatchObject(unavailable)
    await expect(breaker.run(works, { probe: works })).rejects.toMatchObject(unavailable)
    await sleep(300)
    expect(await breaker.run(works, { probe: works })).toBe('value')
  })

  it('does not open for errors with which the service responds, which an attacker could provoke', async () => {
    const breaker = createBreaker(never)
    for (const message of ['WRONGTYPE Operation against a key', 'OOM command not allowed', 'duplicate key']) {
      const error = new Error(message)
      await expect(breaker.run(async () => Promise.reject(error))).rejects.toBe(error)
    }
    expect([breaker.isOpen, lines]).toEqual([false, []])
  })

  it('does not open while other calls succeed: one node of a cluster is down, or one command is slow', async () => {
    const breaker = createBreaker(never)
    const slow = breaker.run(never)
    await turn()
    await breaker.run(works)
    await expectTimeout(slow, 800)
    expect(breaker.isOpen).toBe(false)
  })

  it('refuses further calls for a key at once that has just failed while others succeed, for a quarter of a second', async () => {
    const breaker = createBreaker(never)
    const slow = breaker.run(never, { key: 'on a node that is down' })
    await turn()
    await breaker.run(works, { key: 'on another node' })
    await expectTimeout(slow, 800)
    await expect(breaker.run(works, { key: 'on a node that is down' })).rejects.toMatchObject(unavailable)
    expect(await breaker.run(works, { key: 'on another node' })).toBe('value')
    expect(breaker.isOpen).toBe(false)
    await sleep(300)
    expect(await breaker.run(works, { key: 'on a node that is down' })).toBe('value')
  })

  it('ignores a late response and a late rejection', async () => {
    const breaker = createBreaker(never)
    let reject = (_error: Error) => {}
    const late = breaker.run(
      () =>
        new Promise((_resolve, fail) => {
          reject = fail
        }),
    )
    await expectTimeout(late, 800)
    reject(new Error('late'))
    await turn()
  })
})

describe('the log of an outage', () => {
  it('has one line when it starts, one a minute, and one when it is over, with one reference', async () => {
    clock.back()
    clock = takeClock()
    let respond = () => {}
    const breaker = createBreaker(
      () =>
        new Promise<void>((resolve) => {
          respond = resolve
        }),
    )
    for (let second = 0; second < 150; second++) {
      await expect(breaker.run(second === 0 ? refused : works)).rejects.toMatchObject(unavailable)
      clock.pass(1000)
    }
    clock.pass(5000)
    respond()
    await turn()
    const reference = lines[0]!.fields.reference
    expect(lines).toEqual([
      { level: 'error', message: 'Redis is not available', fields: expect.objectContaining({ reference }) },
      {
        level: 'error',
        message: 'Redis is still not available',
        fields: expect.objectContaining({ reference, seconds: 60 }),
      },
      {
        level: 'error',
        message: 'Redis is still not available',
        fields: expect.objectContaining({ reference, seconds: 120 }),
      },
      { level: 'warn', message: 'Redis is available again', fields: { reference, seconds: 155 } },
    ])
    expect(reference).toMatch(/^[2-9A-Z]{8}$/)
  }, 20_000)
})
