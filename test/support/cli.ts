import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect } from '@jest/globals'
import { configFromUrl, connectDatabase } from '../../lib/database/connect.ts'
import { migrate } from '../../lib/database/migrate.ts'
import { createPortalSso, type PortalSso } from '../../lib/index.ts'
import { consoleLogger } from '../../lib/shared/logger.ts'
import { bundleCommand } from './bundle.ts'

export interface CliResult {
  code: number | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  /** `undefined` removes a variable */
  env?: Record<string, string | undefined>
  input?: string
  cwd?: string
  /** reads the output, as in `portal-sso … | head -n 1`; its output is returned */
  pipe?: string
}

export interface Conversation {
  code: number | null
  /** everything that the terminal displayed */
  screen: string
  /** number of questions that were answered */
  answered: number
}

/** Contains no spaces, because they separate several secrets. */
export const cliSecret = 'a-secret-for-tests-that-is-longer-than-32-characters'

type Knex = ReturnType<typeof connectDatabase>['knex']

/** Runs `portal-sso` in child processes, with a database in a temporary folder. */
export interface Cli {
  /** replaced by every `renew` */
  readonly folder: string
  databaseUrl: string
  /** Creates a new folder with a migrated database. */
  renew(): Promise<void>
  /** Runs a command without a terminal, as a script does. */
  run(args: readonly string[], options?: RunOptions): Promise<CliResult>
  /** Runs a command that must fail. @returns its error: one sentence, without a stack trace and without `secrets` */
  refusal(args: readonly string[], options?: RunOptions): Promise<string>
  /** Runs a command at a terminal. Each answer is typed, or called, as soon as its question is displayed. */
  converse(
    args: string[],
    answers: [question: string, answer: string | ((screen: string) => Promise<unknown>)][],
    env?: RunOptions['env'],
  ): Promise<Conversation>
  withDatabase<T>(action: (knex: Knex) => Promise<T>): Promise<T>
  /** Calls the API directly, to prepare a test and to check its result. */
  fromCode<T>(action: (sso: PortalSso) => Promise<T>): Promise<T>
  close(): void
}

/** @param secrets that no error may contain */
export async function startCli(...secrets: string[]): Promise<Cli> {
  const program = await bundleCommand('lib/cli/portal-sso.ts')
  let folder = ''

  function environment(more: RunOptions['env'] = {}): NodeJS.ProcessEnv {
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
    async run(args, { env, input = '', cwd = process.cwd(), pipe } = {}) {
      const piped = ['-c', `set -o pipefail; "$@" | ${pipe}`, 'bash']
      const command = pipe ? ['bash', ...piped, process.execPath] : [process.execPath]
      const [file = '', ...before] = command
      const child = spawn(file, [...before, program, ...args], { env: environment(env), cwd })
      child.stdin.on('error', () => {}) // The process may exit without reading.
      child.stdin.end(input)
      const output = { stdout: '', stderr: '' }
      for (const stream of ['stdout', 'stderr'] as const)
        child[stream].setEncoding('utf8').on('data', (text: string) => {
          output[stream] += text
        })
      const [code] = (await once(child, 'close')) as [number | null]
      return { code, ...output }
    },
    async refusal(args, options) {
      const { code, stdout, stderr } = await cli.run(args, options)
      // A line about progress may precede the error.
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
    async withDatabase(action) {
      const database = connectDatabase(configFromUrl(cli.databaseUrl))
      try {
        return await action(database.knex)
      } finally {
        await database.close()
      }
    },
    fromCode: (action) =>
      cli.withDatabase(async (knex) => {
        const sso = await createPortalSso({
          baseUrl: 'http://localhost:3000',
          secret: cliSecret,
          database: knex,
          logger: { ...consoleLogger, info() {}, warn() {} },
        })
        try {
          return await action(sso)
        } finally {
          await sso.close()
        }
      }),
    close() {
      if (folder) fs.rmSync(folder, { recursive: true, force: true })
    },
  }
  return cli
}
