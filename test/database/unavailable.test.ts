/** @slow runs processes */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { createPortalSso } from '../../lib/index.ts'
import { bundle } from '../support/bundle.ts'
import { type Cli, startCli } from '../support/cli.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { testSecret } from '../support/portal.ts'

const run = promisify(execFile)
const password = 'geheim'
let cli: Cli
const open = closedAfterEach()

beforeAll(async () => {
  cli = await startCli(password)
  await cli.renew()
})
afterAll(() => cli.close())

/** @returns the sentence with which a host application fails to start */
async function startError(database: string | Knex.Config): Promise<string> {
  const options = { baseUrl: 'https://portal.example.com', secret: testSecret, database }
  const { code, message } = await createPortalSso(options).then(
    () => ({ code: 'started', message: '' }),
    (error: { code: string; message: string }) => error,
  )
  expect([code, message]).toEqual(['invalid_configuration', expect.not.stringMatching(`\n|${password}`)])
  return message
}

const address = (url: string) => new URL(url).host
const postgres = () => address(process.env.TEST_DATABASE_URL!)
const mariadb = () => address(process.env.TEST_MARIADB_URL!)
const unused = '127.0.0.1:1'

describe('a database that cannot be used is explained in one sentence', () => {
  it.each<[title: string, url: () => string, message: RegExp]>([
    [
      'no server of PostgreSQL',
      () => `postgres://ada:${password}@${unused}/portal`,
      /^database postgres:\/\/ada@127.0.0.1:1\/portal: nothing listens at its address/,
    ],
    [
      'no server of MariaDB',
      () => `mysql://ada:${password}@${unused}/portal`,
      /^database portal at 127.0.0.1:1: nothing listens at its address/,
    ],
    [
      'no file of SQLite',
      () => 'sqlite:/nowhere/portal.sqlite',
      /^database \/nowhere\/portal.sqlite: (?:the file does not exist: set DATABASE_URL|its file cannot be opened: check the path)/,
    ],
    [
      'no such database on PostgreSQL',
      () => `postgres://postgres:${password}@${postgres()}/nowhere`,
      /\/nowhere: it does not exist: create it first$/,
    ],
    [
      'no such database on MariaDB',
      () => `mysql://root@${mariadb()}/nowhere`,
      /^database nowhere at .*: it does not exist: create it first$/,
    ],
    [
      'an unknown host name',
      () => `postgres://ada:${password}@nowhere.invalid/portal`,
      /: its host name is unknown: check the address$/,
    ],
    [
      'a wrong password',
      () => `mysql://ada:${password}@${mariadb()}/portal`,
      /^database portal at .*: it rejects the user name or the password$/,
    ],
  ])('by host application and command line: %s', async (_title, url, message) => {
    expect(await startError(url())).toMatch(message)
    const env = { DATABASE_URL: url() }
    expect(await cli.refusal(['providers', 'list'], { env })).toMatch(message)
  })

  it.each(['geheim/2', '4711/geheim', '4711?geheim', '%geheim'])(
    'if the password %s is not percent-encoded in a configuration of Knex',
    async (unencoded) => {
      const url = `postgres://ada:${unencoded}@${unused}/portal`
      for (const config of [
        { client: 'pg', connection: url },
        { client: 'pg', connection: { connectionString: url } },
        { client: 'mysql2', connection: url.replace('postgres', 'mysql') },
      ])
        expect(await startError(config)).toMatch(/^database: percent-encode the special characters/)
    },
  )

  it('if knex has taken its URL for a file, without the password', async () => {
    const knex = knexModule({ client: 'pg', connection: `postgres://ada:${password}/@${unused}/portal` })
    open.push({ close: () => knex.destroy() })
    expect(await startError(knex)).toMatch(/^database: /)
  })

  it('if the file contains something else', async () => {
    const file = path.join(cli.folder, 'notes.txt')
    fs.writeFileSync(file, 'not a database, but a text that is long enough to be read as one'.repeat(20))
    for (const message of [
      await startError(`sqlite:${file}`),
      await cli.refusal(['providers', 'list'], { env: { DATABASE_URL: `sqlite:${file}` } }),
    ])
      expect(message).toBe(`database ${file}: its file contains something else: check the path`)
  })

  it('if the server does not respond', async () => {
    const sockets: Socket[] = []
    const silent = createServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1')
    open.push({ close: () => silent.close() })
    await once(silent, 'listening')
    const { port } = silent.address() as { port: number }
    const connection = { host: '127.0.0.1', port, user: 'ada', password, database: 'portal' }
    const message = `database portal at 127.0.0.1:${port}: it does not respond: check its address, and whether the server is running`
    for (const config of [
      { client: 'pg', connection: { ...connection, connectionTimeoutMillis: 20 } },
      { client: 'mysql2', connection: { ...connection, connectTimeout: 20 } },
      { client: 'pg', connection, acquireConnectionTimeout: 20, pool: { min: 0 } },
    ])
      expect(await startError(config)).toBe(message)
    for (const socket of sockets) socket.destroy()
  })
})

describe('a missing driver is explained in one sentence', () => {
  const drivers = [
    ['pg', `postgres://ada:${password}@${unused}/portal`],
    ['mysql2', `mysql://ada:${password}@${unused}/portal`],
    ['libsql', 'sqlite:portal.sqlite'],
  ] as const
  const advice = (driver: string) =>
    `database: install its driver with \`npm install ${driver}\` (Cannot find module '${driver}')`

  /** Copies a program into a folder whose `node_modules` has no driver. */
  async function withoutDrivers(entry: string): Promise<string> {
    const program = await bundle(entry)
    const home = fs.mkdtempSync(path.join(process.env.TEST_RUN_FOLDER!, 'without-drivers-'))
    const copy = path.join(home, 'lib', 'bundle', 'program.mjs')
    fs.mkdirSync(path.dirname(copy), { recursive: true })
    fs.copyFileSync(program, copy)
    fs.mkdirSync(path.join(home, 'node_modules'))
    for (const name of ['node_modules/redis', 'package.json', 'views'])
      fs.symlinkSync(path.resolve(name), path.join(home, name))
    return copy
  }

  it('by the command line', async () => {
    const program = await withoutDrivers('lib/cli/portal-sso.ts')
    for (const [driver, DATABASE_URL] of drivers) {
      const failed = run(process.execPath, [program, 'migrate'], {
        env: { PATH: process.env.PATH, DATABASE_URL, SSO_SECRET: testSecret },
        cwd: cli.folder,
      })
      await expect(failed).rejects.toMatchObject({ code: 1, stdout: '', stderr: `${advice(driver)}\n` })
    }
  })

  it('by the host application, also for a Knex configuration', async () => {
    const program = await withoutDrivers('lib/index.ts')
    const sources = [
      ...drivers.map(([, url]) => url),
      { client: 'better-sqlite3', connection: { filename: 'portal.sqlite' }, useNullAsDefault: true },
      ...['mysql', 'mssql', 'mongodb'].map((client) => ({ client, connection: {} })),
      { connection: {} },
    ]
    const script = `
      const { createPortalSso } = await import(${JSON.stringify(program)})
      const common = { baseUrl: 'https://portal.example.com', secret: '${testSecret}' }
      for (const database of ${JSON.stringify(sources)})
        await createPortalSso({ ...common, database }).catch(({ code, message }) => console.log(code + ' ' + message))`
    const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: cli.folder,
    })
    const wrongClient = 'database: set `client` to `pg`, `mysql2` or `better-sqlite3`'
    const messages = [
      ...drivers.map(([driver]) => advice(driver)),
      advice('better-sqlite3'),
      ...Array(4).fill(wrongClient),
    ]
    expect(stdout.trim().split('\n')).toEqual(messages.map((message) => `invalid_configuration ${message}`))
    expect(stderr).toBe('')
  })
})
