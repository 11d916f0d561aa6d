import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { freePort } from '../support/services/server.ts'
import { Visitor } from '../support/visitor.ts'
import { Host } from './host.ts'
import { signIn, signOut } from './sign-in.ts'

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
  const programs: ChildProcess[] = []
  let url: string
  let issuer: string

  beforeAll(async () => {
    await host.install()
    for (const file of ['', '-shm', '-wal']) fs.rmSync(database + file, { force: true })
    url = `http://localhost:${await freePort()}`
    issuer = `http://localhost:${await freePort()}`
    save('portal.mjs', codeBelow('The smallest portal', 'js'))
    save('provider.mjs', fs.readFileSync(path.join(import.meta.dirname, 'readme/provider.mjs'), 'utf8'))
  })
  afterAll(async () => {
    for (const program of programs) {
      const exited = once(program, 'close')
      program.kill()
      await exited
    }
  })

  /** With free ports instead of the printed ones. */
  const adapted = (text: string) =>
    text.replaceAll('3000', new URL(url).port).replaceAll('4000', new URL(issuer).port)
  const save = (file: string, code: string) => fs.writeFileSync(path.join(host.folder, file), adapted(code))
  const env = () => ({
    ...{ PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: process.env.TMPDIR },
    ...{ SSO_SECRET: 'a-secret-for-tests-that-is-longer-than-32-characters', BASE_URL: url },
    ...{ DATABASE_URL: 'sqlite:portal.sqlite3', PORTAL_SSO_CLIENT_SECRET: 'only-for-this-machine' },
  })

  /** Starts a program and waits until it responds at an address. */
  async function start(file: string, at: string): Promise<void> {
    const program = spawn(process.execPath, [file], { cwd: host.folder, env: env() })
    programs.push(program)
    let log = ''
    for (const stream of [program.stdout, program.stderr])
      stream?.on('data', (text) => {
        log += text
      })
    while (!(await isReachable(at))) {
      if (program.exitCode !== null) throw new Error(`it did not start: ${log}`)
      await wait(50)
    }
  }

  /** Runs the printed command that begins with some words, and more flags. */
  async function run(command: string, ...flags: string[]): Promise<void> {
    const [printed] = new RegExp(`^npx ${command}.*$`, 'm').exec(readme) ?? []
    const line = [adapted(printed!).replace('npx', 'npx --no-install'), ...flags].join(' ')
    const shell = spawn('sh', ['-c', line], { cwd: host.folder, env: env(), stdio: 'ignore' })
    expect(await once(shell, 'exit')).toEqual([0, null])
  }

  it('starts as it is printed', async () => {
    await start('portal.mjs', url)
    expect((await fetch(`${url}/portal`, { redirect: 'manual' })).status).toBe(302)
    expect(await (await fetch(`${url}/login`)).text()).toContain('Cannot GET /login')
  })

  it('signs its first user in with the local provider, connected as it is printed', async () => {
    await start('provider.mjs', `${issuer}/.well-known/openid-configuration`)
    await run('portal-sso users add')
    await run('portal-sso providers add generic', '--without-test-sign-in')
    const part = { url, visitor: new Visitor(), provider: 'local', login: 'you@example.com' }
    expect(await signIn(part)).toMatchObject({ url: `${url}/portal`, body: 'Hello, you@example.com' })
    await signOut(part)
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
