import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { freePort } from '../support/services/server.ts'
import { Host, registerClient } from './host.ts'
import { signInAndOut } from './sign-in.ts'

const readme = fs.readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8')

/** The code below a heading. */
function codeBelow(heading: string, language: string): string {
  const section = readme.split(`## ${heading}\n`)[1]
  const [, code] = new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(section ?? '') ?? []
  if (code === undefined) throw new Error(`README has no ${language} below “${heading}”`)
  return code
}

describe('the smallest portal of README, with SQLite and without Redis', () => {
  const host = new Host('readme')
  const database = path.join(host.folder, 'portal.sqlite3')
  let program: ChildProcess
  let url: string

  beforeAll(async () => {
    await host.install()
    for (const file of ['', '-shm', '-wal']) fs.rmSync(database + file, { force: true })
    const port = await freePort()
    url = `http://localhost:${port}`
    const code = codeBelow('The smallest portal', 'js')
    fs.writeFileSync(path.join(host.folder, 'portal.mjs'), code.replaceAll('3000', String(port)))
  })
  afterAll(async () => {
    const exited = once(program, 'close')
    program.kill()
    await exited
  })

  const environment = () => ({
    ...{ PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: process.env.TMPDIR },
    ...{ SSO_SECRET: 'a-secret-for-tests-that-is-longer-than-32-characters', BASE_URL: url },
    DATABASE_URL: 'sqlite:portal.sqlite3',
  })

  it('starts as it is printed', async () => {
    program = spawn(process.execPath, ['portal.mjs'], { cwd: host.folder, env: environment() })
    let log = ''
    program.stderr?.on('data', (text) => {
      log += text
    })
    while (!(await isReachable(url))) {
      if (program.exitCode !== null) throw new Error(`it did not start: ${log}`)
      await wait(50)
    }
    expect((await fetch(`${url}/portal`, { redirect: 'manual' })).status).toBe(302)
  })

  it('signs users in with a provider that the command line connected', async () => {
    const { clientId, clientSecret } = await registerClient([url])
    const flags = ['--slug', 'acme', '--name', 'Acme', '--issuer', process.env.TEST_ISSUER!]
    const env = { ...environment(), PORTAL_SSO_CLIENT_SECRET: clientSecret }
    const add = spawn(
      path.join(host.folder, 'node_modules/.bin/portal-sso'),
      ['providers', 'add', 'generic', ...flags, '--client-id', clientId, '--without-test-sign-in'],
      { cwd: host.folder, env, stdio: 'ignore' },
    )
    expect(await once(add, 'exit')).toEqual([0, null])
    await signInAndOut({ url })
  })
})

async function isReachable(url: string): Promise<boolean> {
  try {
    await fetch(url)
    return true
  } catch {
    return false
  }
}
