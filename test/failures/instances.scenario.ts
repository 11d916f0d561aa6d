import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import pg from 'pg'
import { startCli } from '../support/cli.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { acmeInput } from '../support/portal.ts'
import type { Instance } from '../support/start-instance.ts'
import { Visitor } from '../support/visitor.ts'
import { slackMs, useParts } from './support/scene.ts'

const parts = useParts()

/** Creates an empty database on the server of this file. */
async function createDatabase(name: string): Promise<string> {
  await query(parts.postgres.url, `create database ${name}`)
  return parts.postgres.url.replace(/[^/]*$/, name)
}

async function query(connectionString: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return (await client.query(sql)).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}

const person = (n: number) => ({ sub: `user-${n}`, email: `user-${n}@example.com`, email_verified: true })

/** Creates the users that the provider then signs in, one after the other. */
async function createUsers(instance: Instance, count: number): Promise<void> {
  const users = Array.from({ length: count }, (_, n) => ({ ...person(n), name: `User ${n}`, fields: {} }))
  await instance.post('users', ...users.map(({ email, name, fields }) => ({ email, name, fields })))
  let next = 0
  parts.provider.nextPerson = () => person(next++ % count)
}

const shifted = (seconds: number) => ({
  nodeArgs: ['--import', path.join(import.meta.dirname, 'support/shifted-clock.mjs')],
  env: { CLOCK_SHIFT_MS: String(seconds * 1000) },
})

describe('two instances', () => {
  it('and the command line migrate an empty database at once: each of them works then', async () => {
    const databaseUrl = await createDatabase('migrated')
    const cli = await startCli()
    try {
      const [north, south, result] = await Promise.all([
        parts.startInstance({}, { databaseUrl }),
        parts.startInstance({}, { databaseUrl }),
        cli.run(['migrate'], { env: { DATABASE_URL: databaseUrl } }),
      ])
      expect([result.code, result.stderr]).toEqual([0, ''])
      await north.act('connect', acmeInput(parts.provider))
      expect(await south.act('list')).toMatchObject([{ slug: 'acme' }])
      const names = await query(databaseUrl, 'select name from sso_migrations')
      expect(new Set(names.map(({ name }) => name)).size).toBe(names.length)
    } finally {
      cli.close()
    }
  })
})

describe('an instance whose clock is', () => {
  it('60 s behind: its log and /readyz say so, and sign-ins fail on it only', async () => {
    const databaseUrl = await createDatabase('behind')
    const right = await parts.startInstance({}, { databaseUrl })
    await right.act('connect', acmeInput(parts.provider))
    await createUsers(right, 1)
    const wrong = await parts.startInstance(shifted(-60), { databaseUrl })
    const signInOn = async ({ port }: Instance) =>
      (await new Visitor().open(`http://127.0.0.1:${port}/login/acme?returnTo=/portal`)).status
    expect(await signInOn(right)).toBe(200)
    expect(await signInOn(wrong)).not.toBe(200)
    expect(wrong.logs).toContainEqual(
      expect.objectContaining({
        level: 'error',
        message: expect.stringMatching(/clock .* (?:59|60|61) s behind/),
      }),
    )
    const ready = async ({ port }: Instance) => await (await fetch(`http://127.0.0.1:${port}/readyz`)).json()
    expect(await ready(right)).toMatchObject({ status: 'ok', clock: 'ok' })
    const { clockOffsetMs, ...rest } = (await ready(wrong)) as { clockOffsetMs: number }
    expect(rest).toMatchObject({ status: 'degraded', clock: 'failed' })
    expect(Math.abs(clockOffsetMs - 60_000)).toBeLessThan(slackMs)
  })

  it('an hour ahead: it deletes no row, and signs out nobody on the other instance', async () => {
    const databaseUrl = await createDatabase('ahead')
    const right = await parts.startInstance({}, { databaseUrl })
    await right.act('connect', acmeInput(parts.provider))
    await createUsers(right, 10)
    const visitors = Array.from({ length: 10 }, () => new Visitor())
    const url = (instance: Instance) => `http://127.0.0.1:${instance.port}`
    for (const visitor of visitors)
      expect((await visitor.open(`${url(right)}/login/acme?returnTo=/portal`)).status).toBe(200)
    const before = await query(databaseUrl, 'select id from sso_sessions order by id')
    expect(before).toHaveLength(10)

    const wrong = await parts.startInstance(shifted(3600), { databaseUrl })
    for (const visitor of visitors) {
      visitor.cookies.set(url(wrong), visitor.cookies.get(url(right))!)
      // By its clock, the sessions expired half an hour ago.
      await visitor.clone().get(`${url(wrong)}/portal`)
      await visitor.clone().get(`${url(wrong)}/account/security`)
    }
    await wrong.call('portal', 'runMaintenance')
    expect(await query(databaseUrl, 'select id from sso_sessions order by id')).toEqual(before)
    for (const visitor of visitors) expect((await visitor.get(`${url(right)}/portal`)).status).toBe(200)
    expect(wrong.logs).toContainEqual(
      expect.objectContaining({
        level: 'error',
        message: expect.stringMatching(/clock .* (?:3599|3600|3601) s ahead/),
      }),
    )
  })
})

describe('a provider that is down although its metadata is cached', () => {
  it('is noticed: our page comes before the redirect, and offers to continue, until the provider is back', async () => {
    const { instance, url } = await parts.startUnderLoad()
    const first = await startFaultyProvider()
    const port = Number(new URL(first.issuer).port)
    await instance.act('connect', { ...acmeInput(first), slug: 'other' })
    const click = () => new Visitor().get(`${url}/login/other`)
    expect((await click()).status).toBe(302)
    await first.close()
    const seen = await until(20_000, click, ({ status }) => status !== 302)
    expect(seen.status).toBe(502)
    const [, onward = ''] = /href="([^"]*anyway=1[^"]*)"/.exec(seen.body) ?? []
    expect((await new Visitor().get(new URL(onward.replaceAll('&amp;', '&'), url).href)).status).toBe(302)
    const second = await startFaultyProvider({ port })
    try {
      await until(30_000, click, ({ status }) => status === 302)
    } finally {
      await second.close()
    }
  })
})

/** Repeats a request each second. */
async function until<T>(timeoutMs: number, send: () => Promise<T>, isDone: (seen: T) => boolean): Promise<T> {
  const late = performance.now() + timeoutMs + slackMs
  for (;;) {
    const seen = await send()
    if (isDone(seen)) return seen
    if (performance.now() > late) throw new Error(`not within ${timeoutMs} ms`)
    await delay(1000)
  }
}
