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
  /** `undefined` removes a variable */
  env?: Record<string, string | undefined>
  input?: string
}

export interface Conversation {
  code: number | null
  /** the whole output on the terminal */
  screen: string
  /** number of questions that were answered */
  answered: number
}

/** Without spaces, which would separate several secrets. */
export const cliSecret = 'a-secret-for-tests-that-is-longer-than-32-characters'

type Knex = ReturnType<typeof connectDatabase>['knex']

/** Runs the program `portal-sso` as a process, with a temporary folder and database. */
export interface Cli {
  /** changes with every `renew` */
  readonly folder: string
  databaseUrl: string
  /** Creates a new folder with a migrated database. */
  renew(): Promise<void>
  /** Runs a command without a terminal, like a script. */
  run(args: readonly string[], circumstances?: Circumstances): Promise<Ended>
  /** Runs a command that must fail. @returns its error: one sentence, without a stack trace and without `secrets` */
  refusal(args: readonly string[], circumstances?: Circumstances): Promise<string>
  /** Runs a command at a terminal, and answers each question (or calls a function) as soon as it appears. */
  converse(
    args: string[],
    answers: [question: string, answer: string | ((screen: string) => Promise<unknown>)][],
    env?: Circumstances['env'],
  ): Promise<Conversation>
  withDatabase<T>(act: (knex: Knex) => Promise<T>): Promise<T>
  /** Uses the code API, to prepare a command and to check its effect. */
  fromCode<T>(act: (sso: PortalSso) => Promise<T>): Promise<T>
  close(): void
}

/** @param secrets values that no error may contain */
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
      child.stdin.on('error', () => {}) // the command may exit without reading
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
      // A progress line may precede the error.
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

// This option is missing in swc's types.
const jsc: JscConfig & { rewriteRelativeImportExtensions: true } = {
  target: 'es2023',
  parser: { syntax: 'typescript' },
  rewriteRelativeImportExtensions: true,
}

/** Compiles the program once for all commands, which then start in half the time. @returns the folder */
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
