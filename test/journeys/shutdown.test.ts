/** @slow starts processes */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { startPortal } from '../support/portal.ts'
import { freePort, isFree } from '../support/services/server.ts'

const repository = path.resolve(import.meta.dirname, '../..')
let folder: string
let port: number
let program: ChildProcess | undefined
let output: string

beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-shutdown-'))
  do port = await freePort()
  while (!(await isFree(port + 1)) || !(await isFree(port + 2)))
})
afterEach(async () => {
  if (program && program.exitCode === null) {
    const ended = once(program, 'exit')
    program.kill('SIGKILL')
    await ended
  }
  fs.rmSync(folder, { recursive: true })
})

function start(...script: string[]): void {
  output = ''
  const child = spawn(process.execPath, ['--import', 'tsx', ...script], {
    cwd: repository,
    env: {
      PATH: process.env.PATH,
      TMPDIR: process.env.TMPDIR,
      PORT: String(port),
      REDIS_URL: process.env.TEST_REDIS_URL,
      DATABASE_URL: `sqlite:${path.join(folder, 'portal.sqlite3')}`,
      SSO_SECRET: 'a-secret-for-the-example-longer-than-32-characters',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  program = child
}

/** Resolves when the program has printed a text. Fails with its output if it exits before. */
async function printed(text: string): Promise<void> {
  const { stdout } = program!
  const ended = once(program!, 'exit').then(() => Promise.reject(new Error(`it ended:\n${output}`)))
  // The program also ends after the text was printed.
  ended.catch(() => {})
  while (!output.includes(text)) await Promise.race([once(stdout!, 'data'), ended])
}

const connections = () => new http.Agent({ keepAlive: true })

/** Sends the head of a sign-out, and waits until the portal asks for the form. @returns sends the form */
async function holdSignOut(agent: http.Agent): Promise<() => Promise<string>> {
  const form = 'where=here'
  const request = http.request(`http://127.0.0.1:${port}/logout`, {
    agent,
    method: 'POST',
    headers: {
      expect: '100-continue',
      'sec-fetch-site': 'same-origin',
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': form.length,
    },
  })
  request.flushHeaders()
  await once(request, 'continue')
  return () =>
    new Promise((resolve) => {
      request.once('error', ({ message }) => resolve(message))
      request.once('response', (response) => {
        response.resume().once('close', () => resolve(`${response.statusCode} ${response.complete}`))
      })
      request.end(form)
    })
}

/** Sends SIGTERM while 40 requests wait for their responses. @returns the responses, and how the program ended */
async function stopWithRequestsInFlight(): Promise<{ responses: string[]; code: unknown }> {
  const agent = connections()
  const held = await Promise.all(Array.from({ length: 40 }, () => holdSignOut(agent)))
  const ended = once(program!, 'exit')
  program!.kill('SIGTERM')
  // No connection is accepted any more, although requests are in flight.
  while (!(await isFree(port)));
  const responses = await Promise.all(held.map((finish) => finish()))
  const [code] = (await ended) as [unknown]
  agent.destroy()
  return { responses, code }
}

const all = Array<string>(40).fill('303 true')

describe('SIGTERM, while 40 requests are in flight', () => {
  it('cuts off no response of a host with the documented handler', async () => {
    const page = fs.readFileSync(path.join(repository, 'docs/operations.md'), 'utf8')
    const [, handler = ''] = /```ts\n(const server = [\s\S]*?SIGTERM[\s\S]*?)```/.exec(page) ?? []
    const database = path.join(folder, 'portal.sqlite3')
    start(
      '--input-type=module',
      '--eval',
      `
      import express from 'express'
      import Knex from 'knex'
      import { createClient } from 'redis'
      import { createPortalSso } from './lib/index.ts'
      import { sqliteConfig } from './lib/database/sqlite.ts'

      const redis = await createClient({ url: process.env.REDIS_URL }).connect()
      const knex = Knex(sqliteConfig(${JSON.stringify(database)}))
      const baseUrl = 'http://127.0.0.1:${port}'
      const sso = await createPortalSso({ baseUrl, secret: process.env.SSO_SECRET, database: knex, redis })
      const app = express()
      app.use(sso.session())
      app.use(sso.router())
      ${handler.replace('3000', `${port}, '127.0.0.1'`).replace('10_000', '3_600_000')}
      // The handler waits neither for the deadline nor for this.
      server.keepAliveTimeout = 3_600_000
      server.once('listening', () => console.log('ready'))
      `,
    )
    await printed('ready')
    expect(await stopWithRequestsInFlight()).toEqual({ responses: all, code: 0 })
    expect(output).not.toContain('Error')
  })

  it('cuts off no response of the example, whose first response is the login page with both providers', async () => {
    start('examples/portal.ts')
    let first: string | undefined
    // Asks all the time, so that no response before the printed URL stays unnoticed.
    while (first === undefined)
      first = await fetch(`http://127.0.0.1:${port}/login`).then(
        (response) => response.text(),
        () => undefined,
      )
    expect(first).toContain('href="/login/northwind"')
    expect(first).toContain('href="/login/tailspin"')
    await printed('Press Ctrl-C to stop')
    expect(output.match(/The portal is at/g)).toHaveLength(1)
    expect(await stopWithRequestsInFlight()).toEqual({ responses: all, code: 0 })
    expect(output).not.toContain('Error')
  })
})

describe('sso.close()', () => {
  it('can be called twice', async () => {
    const portal = await startPortal()
    await Promise.all([portal.sso.close(), portal.sso.close()])
    await portal.close()
  })
})
