import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect } from '@jest/globals'
import { type JscConfig, transformFile } from '@swc/core'
import { configFromUrl, connectDatabase } from '../../lib/database/connect.ts'
import { migrate } from '../../lib/database/migrate.ts'
import { createPortalSso, type PortalSso } from '../../lib/index.ts'

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

export interface Circumstances {
  /** `undefined` takes a variable away */
  env?: Record<string, string | undefined>
  input?: string
}

export interface Conversation {
  code: number | null
  /** all that was on the screen */
  screen: string
  /** how many questions came */
  answered: number
}

/** Spaces would separate several. */
export const cliSecret = 'a-secret-for-tests-that-is-longer-than-32-characters'

type Knex = ReturnType<typeof connectDatabase>['knex']

/** The program `portal-sso`, run as a process of its own over a database in a folder of its own. */
export interface Cli {
  /** anew at every `renew` */
  readonly folder: string
  databaseUrl: string
  /** A new folder with a new database in it, its tables made. */
  renew(): Promise<void>
  /** Runs a command without a terminal, as a script does. */
  run(args: readonly string[], circumstances?: Circumstances): Promise<Ended>
  /** Runs a command that must refuse. @returns what it said: one sentence, never a stack trace, never one of `secrets` */
  refusal(args: readonly string[], circumstances?: Circumstances): Promise<string>
  /** At a terminal: gives an answer as soon as its question is there, or does what is to be done then. */
  converse(
    args: string[],
    answers: [question: string, answer: string | ((screen: string) => Promise<unknown>)][],
    env?: Circumstances['env'],
  ): Promise<Conversation>
  withDatabase<T>(act: (knex: Knex) => Promise<T>): Promise<T>
  /** The same acts from code, to prepare what a command meets and to see what it did. */
  fromCode<T>(act: (sso: PortalSso) => Promise<T>): Promise<T>
  close(): void
}

/** @param secrets what no refusal may say */
export async function startCli(...secrets: string[]): Promise<Cli> {
  const built = await build()
  const program = path.join(built, 'lib', 'cli', 'portal-sso.js')
  let folder = ''

  function environment(more: Circumstances['env'] = {}): NodeJS.ProcessEnv {
    const { PATH, HOME, TMPDIR } = process.env
    return { PATH, HOME, TMPDIR, DATABASE_URL: cli.databaseUrl, SSO_SECRET: cliSecret, ...more }
  }

  const cli: Cli = {
    get folder() {
      return folder
    },
    databaseUrl: '',
    async renew() {
      if (folder) fs.rmSync(folder, { recursive: true, force: true })
      folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-cli-'))
      cli.databaseUrl = `sqlite:${path.join(folder, 'portal.sqlite')}`
      await cli.withDatabase((knex) => migrate(knex))
    },
    async run(args, { env, input = '' } = {}) {
      const child = spawn(process.execPath, [program, ...args], { env: environment(env) })
      child.stdin.on('error', () => {}) // it may have ended without reading
      child.stdin.end(input)
      const said = { stdout: '', stderr: '' }
      for (const stream of ['stdout', 'stderr'] as const)
        child[stream].setEncoding('utf8').on('data', (text: string) => {
          said[stream] += text
        })
      const [code] = (await once(child, 'close')) as [number | null]
      return { code, ...said }
    },
    async refusal(args, circumstances) {
      const { code, stdout, stderr } = await cli.run(args, circumstances)
      // Before it, there may be a line that says what takes a while.
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/^(\w+ing .*…\n)?[^\n]+\n$/),
      })
      expect(stdout + stderr).not.toMatch(/^\s+at |node_modules/m)
      for (const secret of secrets) expect(stdout + stderr).not.toContain(secret)
      return stderr.trim().split('\n').at(-1)!
    },
    async converse(args, answers, env) {
      const quoted = [process.execPath, program, ...args].map((arg) => `'${arg}'`).join(' ')
      const child: ChildProcess = spawn('script', ['-qec', quoted, '/dev/null'], {
        env: environment(env),
      })
      let failure: unknown
      let screen = ''
      let read = 0
      let answered = 0
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        screen += text
        const [question = '', answer] = answers[answered] ?? []
        if (answer === undefined || !screen.includes(question, read)) return
        read = screen.length
        answered++
        if (typeof answer === 'string') child.stdin!.write(answer)
        else
          answer(screen).catch((error: unknown) => {
            failure = error
            child.kill()
          })
      })
      const [code] = (await once(child, 'close')) as [number | null]
      if (failure) throw failure
      return { code, screen, answered }
    },
    async withDatabase(act) {
      const database = connectDatabase(configFromUrl(cli.databaseUrl))
      try {
        return await act(database.knex)
      } finally {
        await database.close()
      }
    },
    fromCode: (act) =>
      cli.withDatabase(async (knex) => {
        const sso = await createPortalSso({
          baseUrl: 'http://localhost:3000',
          secret: cliSecret,
          database: knex,
        })
        try {
          return await act(sso)
        } finally {
          await sso.close()
        }
      }),
    close() {
      for (const each of [built, folder]) if (each) fs.rmSync(each, { recursive: true, force: true })
    },
  }
  return cli
}

// swc knows an option more than its types do.
const jsc: JscConfig & { rewriteRelativeImportExtensions: true } = {
  target: 'es2023',
  parser: { syntax: 'typescript' },
  rewriteRelativeImportExtensions: true,
}

/** The program as JavaScript, once for all commands: it starts in half the time. @returns its folder */
async function build(): Promise<string> {
  const to = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-built-'))
  for (const name of ['node_modules', 'package.json', 'views'])
    fs.symlinkSync(path.resolve(name), path.join(to, name))
  for (const file of fs.readdirSync('lib', { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue
    const { code } = await transformFile(path.join('lib', file), {
      swcrc: false,
      module: { type: 'es6' },
      jsc,
    })
    const target = path.join(to, 'lib', file.replace(/ts$/, 'js'))
    fs.mkdirSync(path.dirname(target), { recursive: true })
    fs.writeFileSync(target, code)
  }
  return to
}
