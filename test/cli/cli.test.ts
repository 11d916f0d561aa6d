/** @slow runs a process for each command */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Command } from 'commander'
import type { Knex } from 'knex'
import { buildProgram } from '../../lib/cli/program.ts'
import { pendingMigrations } from '../../lib/database/migrate.ts'
import { type Cli, startCli } from '../support/cli.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { connectRedis, startOwnRedis } from '../support/redis.ts'
import { freePort } from '../support/services/server.ts'

let provider: FaultyProvider
let cli: Cli

beforeAll(async () => {
  provider = await startFaultyProvider()
  cli = await startCli(provider.clientSecret)
})
afterAll(async () => {
  cli.close()
  await provider.close()
})
beforeEach(async () => {
  provider.reset()
  await cli.renew()
})

/** @returns the commands that do something themselves */
function runnableIn(command: Command, path = ''): string[] {
  const nested = command.commands.flatMap((each) => runnableIn(each, `${path} ${each.name()}`.trim()))
  return nested.length > 0 && path !== 'doctor' ? nested : [path, ...nested]
}

/** @returns the rows of all tables */
async function readTables(knex: Knex): Promise<Record<string, unknown[]>> {
  const names: string[] = await knex('sqlite_master').where({ type: 'table' }).orderBy('name').pluck('name')
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await knex(name)])))
}

const connect = (slug: string) =>
  cli.fromCode(({ providers }) =>
    providers.connect({
      slug,
      issuer: provider.issuer,
      clientId: provider.clientId,
      clientSecret: provider.clientSecret,
      emailDomains: ['example.com'],
    }),
  )

describe('portal-sso migrate', () => {
  it('creates the tables; a second run reports that they are up to date', async () => {
    const file = path.join(cli.folder, 'new.sqlite')
    cli.databaseUrl = `sqlite:${file}`
    expect(await cli.run(['migrate'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^Ran 001-initial, \d{3}-.* in database .*new\.sqlite\.\n$/),
      stderr: '',
    })
    expect(await cli.withDatabase(pendingMigrations)).toEqual([])
    expect(await cli.run(['migrate'])).toEqual({
      code: 0,
      stdout: `The tables are up to date in database ${file}.\n`,
      stderr: '',
    })
  })

  it('waits if another process is migrating the same database', async () => {
    cli.databaseUrl = `sqlite:${path.join(cli.folder, 'new.sqlite')}`
    const results = await Promise.all([cli.run(['migrate']), cli.run(['migrate'])])
    expect(results.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      Array(2).fill({ code: 0, stderr: '' }),
    )
    expect(results.map(({ stdout }) => stdout.split(' ')[0]).sort()).toEqual(['Ran', 'The'])
  })

  it('is named by other commands if it has not run', async () => {
    cli.databaseUrl = `sqlite:${path.join(cli.folder, 'new.sqlite')}`
    await cli.withDatabase(async (knex) => await knex.raw('select 1'))
    expect(await cli.refusal(['providers', 'list'])).toMatch(
      /^the tables are not up to date .* `portal-sso migrate`$/,
    )
  })
})

describe('portal-sso', () => {
  it('prints the version of the package', async () => {
    const { version } = JSON.parse(fs.readFileSync('package.json', 'utf8')) as { version: string }
    expect(await cli.run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it('completes commands and flags in bash', async () => {
    const { stdout: script } = await cli.run(['completion'])
    const complete = (...words: string[]) =>
      execFileSync('bash', [
        '-c',
        `${script}\nCOMP_WORDS=(portal-sso "$@"); COMP_CWORD=$#; _portal_sso; echo "\${COMPREPLY[@]}"`,
        'bash',
        ...words,
      ])
        .toString()
        .trim()
    expect(complete('sess')).toBe('sessions')
    expect(complete('providers', 'ca')).toBe('cancel-retirement')
    expect(complete('providers', 'update', 'acme', '--client-secret-')).toBe(
      '--client-secret-file --client-secret-reference --client-secret-expires',
    )
    expect(complete('doctor', '')).toBe('noauth --json --help')
  })

  it('writes nothing with a command that reads', async () => {
    const file = path.join(cli.folder, 'providers.json')
    const reading: Record<string, string[]> = {
      completion: [],
      doctor: [],
      'doctor noauth': [],
      events: [],
      'providers export': [],
      'providers import': [file, '--dry-run'],
      'providers keys': ['acme'],
      'providers list': [],
      'providers presets': [],
      'providers show': ['acme'],
      'sessions list': [],
      'users list': [],
    }
    const writing = ['break-glass', 'migrate', 'secrets rotate', 'sessions end', 'sessions end-all']
    writing.push(...['users activate', 'users add', 'users deactivate'])
    for (const change of [
      'add',
      'update',
      'test',
      'test-sign-in',
      'enable',
      'disable',
      'recommend',
      'reorder',
    ])
      writing.push(`providers ${change}`)
    for (const change of ['retire', 'cancel-retirement', 'remove', 'restore'])
      writing.push(`providers ${change}`)
    expect(runnableIn(buildProgram()).sort()).toEqual([...Object.keys(reading), ...writing].sort())

    await connect('acme')
    await cli.run(['users', 'add', '--email', 'ada@example.com', '--name', 'Ada'])
    fs.writeFileSync(file, (await cli.run(['providers', 'export'])).stdout)
    const before = await cli.withDatabase(readTables)
    expect(Object.keys(before).length).toBeGreaterThan(15)
    const results = await Promise.all(
      Object.entries(reading).map(([name, more]) => cli.run([...name.split(' '), ...more])),
    )
    expect(results.map(({ stderr }) => stderr).join('')).toBe('')
    expect(await cli.withDatabase(readTables)).toEqual(before)
  })

  it('lists more than a thousand rows page by page, and stops quietly if the reader stops', async () => {
    // More than a page of each list.
    const count = 1100
    const portal = 'default'
    const at = (index: number) => new Date(Date.now() - index * 1000).toISOString()
    const later = '2999-01-01T00:00:00.000Z'
    await connect('acme')
    await cli.withDatabase(async (knex) => {
      const provider = await knex('sso_providers').first()
      const numbers = Array.from({ length: count }, (_, index) => index)
      const insert = (table: string, row: (index: number) => object) =>
        knex.batchInsert(table, numbers.map(row), 100)
      await insert('sso_providers', (index) => ({
        ...provider,
        id: crypto.randomUUID(),
        slug: `p${index}`,
        position: index + 2,
      }))
      await insert('sso_events', (index) => ({
        ...{ id: crypto.randomUUID(), portal, at: at(index), kind: 'signed-in', user_id: `u${index}` },
        detail: '{}',
      }))
      await insert('sso_sessions', (index) => ({
        ...{ id: String(index).padStart(43, '0'), session: '', portal, user_id: `u${index}` },
        ...{ created_at: at(index), last_seen_at: at(0), expires_at: later },
      }))
    })
    const lists = ['providers list', `events --limit ${count}`, 'sessions list'].map((list) =>
      list.split(' '),
    )
    for (const list of lists) {
      const { stdout } = await cli.run([...list, '--json'])
      expect((JSON.parse(stdout) as unknown[]).length).toBeGreaterThanOrEqual(count)
      const closed = await cli.run(list, { pipe: 'head -n 1' })
      expect(closed).toEqual({ code: 0, stdout: expect.stringMatching(/^[A-Z -]+\n$/), stderr: '' })
    }
    const { stdout } = await cli.run(['sessions', 'list'])
    const users = stdout.split('\n').map((line) => /u\d+/.exec(line)?.[0])
    expect(users).toEqual([undefined, ...Array.from({ length: count }, (_, index) => `u${index}`), undefined])
  })

  it('names all missing flags at once', async () => {
    expect(await cli.refusal(['users', 'add'])).toBe('give --email <address> and --name <text>')
  })
})

describe('portal-sso users', () => {
  it('list aligns wide characters', async () => {
    for (const name of ['山田 太郎', 'Ada'])
      await cli.run(['users', 'add', '--email', `${name.length}@example.com`, '--name', name])
    const { stdout } = await cli.run(['users', 'list'])
    expect(stdout).toContain('山田 太郎  yes ')
    expect(stdout).toContain('Ada        yes ')
  })

  it('add normalises the e-mail address and refuses one that exists; list shows it', async () => {
    const add = (email: string) => ['users', 'add', '--email', email, '--name', ' Ada Lovelace ']
    expect(await cli.run(add(' Ada@Example.COM '))).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('ada@example.com is added'),
    })
    const [again, noAddress, table] = await Promise.all([
      cli.refusal(add('ADA@example.com')),
      cli.refusal(add('ada')),
      cli.run(['users', 'list']),
    ])
    expect(again).toBe('ada@example.com already exists')
    expect(noAddress).toBe('--email: "ada" is not an e-mail address')
    expect(table.stdout).toMatch(/^ada@example\.com {2}Ada Lovelace {2}yes/m)
  })

  it('list reads and prints 150,000 users page by page, as text and as JSON; `--email` finds one', async () => {
    const count = 150_000
    await cli.withDatabase(async (knex) => {
      await knex.raw(
        `with recursive people(n) as (select 1 union all select n + 1 from people where n < ${count})
         insert into sso_users (id, portal, email, name, active, fields, created_at)
         select 'u' || n, 'default', 'u' || n || '@example.com', 'User ' || n, true, '{}', '' from people`,
      )
    })
    const [text, json, one, none] = await Promise.all([
      cli.run(['users', 'list']),
      cli.run(['users', 'list', '--json']),
      cli.run(['users', 'list', '--email', ' U7@Example.com', '--json']),
      cli.run(['users', 'list', '--email', 'nobody@example.com']),
    ])
    expect([text.code, text.stderr, json.stderr]).toEqual([0, '', ''])
    const lines = text.stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(count + 1)
    expect(lines.filter((line) => line.startsWith('E-MAIL'))).toEqual([lines[0]])
    const ids = (JSON.parse(json.stdout) as { id: string }[]).map(({ id }) => id)
    expect(new Set(ids).size).toBe(count)
    expect(JSON.parse(one.stdout)).toEqual([
      { id: 'u7', email: 'u7@example.com', name: 'User 7', active: true },
    ])
    expect(none.stdout).toBe('No user has the address nobody@example.com.\n')
  })
})

describe('portal-sso doctor', () => {
  const failures = (stdout: string) =>
    [...stdout.matchAll(/^ {2}✗ (.*)\n {4}→ (.*)$/gm)].map(([, message, hint]) => [message, hint])

  it('finds no problems, as text and as JSON', async () => {
    await connect('acme')
    const { code, stdout, stderr } = await cli.run(['doctor'], {
      env: {
        REDIS_URL: process.env.TEST_REDIS_URL,
        BASE_URL: 'https://portal.example.com',
        ALLOWED_ADDRESSES: '10.0.0.0/8, 127.0.0.1',
      },
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('✓ Redis responds\n  ✓ Redis evicts no sessions\n')
    expect(stdout).toContain('Provider acme')
    expect(stdout).toContain('No problems found.')
    expect(stdout).not.toMatch(/[✗!→]/)
    const json = await cli.run(['doctor', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({
      ok: true,
      sections: expect.arrayContaining([{ heading: 'Provider acme (acme)', checks: expect.any(Array) }]),
    })
  })

  it('reports every problem in one run, each with its fix', async () => {
    const unusedAddress = `127.0.0.1:${await freePort()}`
    await connect('acme')
    provider.faults.discoveryDrop = true
    const [noSecret, noDatabase, noRedisNorProvider, noOrigin] = await Promise.all([
      cli.run(['doctor'], { env: { SSO_SECRET: undefined } }),
      cli.run(['doctor'], { env: { DATABASE_URL: `postgres://postgres@${unusedAddress}/portal` } }),
      cli.run(['doctor'], { env: { REDIS_URL: `redis://${unusedAddress}` } }),
      cli.run(['doctor'], { env: { BASE_URL: 'portal.example.com' } }),
    ])
    expect(failures(noSecret.stdout)).toEqual([
      ['SSO_SECRET is not set', expect.stringContaining('set SSO_SECRET')],
    ])
    expect(failures(noDatabase.stdout)).toEqual([
      [
        expect.stringMatching(/^database postgres:\/\/.*: nothing listens at its address/),
        expect.stringContaining('check DATABASE_URL'),
      ],
    ])
    expect(failures(noRedisNorProvider.stdout)).toEqual([
      [
        expect.stringMatching(/^Redis cannot be used: .*ECONNREFUSED/),
        expect.stringContaining('check REDIS_URL'),
      ],
      [
        expect.stringContaining(`no usable discovery document at ${provider.issuer}`),
        expect.stringContaining('/.well-known/openid-configuration'),
      ],
      [
        'no enabled provider passes its test, so people may be unable to sign in',
        expect.stringContaining('`portal-sso break-glass` opens the classic login'),
      ],
    ])
    expect(failures(noOrigin.stdout)[0]).toEqual([
      'BASE_URL is portal.example.com, which is not an origin',
      expect.stringContaining('https://portal.example.com'),
    ])
    for (const { code, stdout, stderr } of [noSecret, noDatabase, noRedisNorProvider]) {
      expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
      expect(stdout).toMatch(/\n\d problems? found\.\n$/)
      expect(stdout).not.toMatch(/^\s+at /m)
    }
  })
})

describe('portal-sso doctor, about a Redis that evicts keys', () => {
  it('reports the policy, or that a managed Redis does not reveal it', async () => {
    const own = await startOwnRedis()
    const redis = await connectRedis(own.url)
    await redis.configSet('maxmemory-policy', 'allkeys-lru')
    await redis.sendCommand('ACL SETUSER limited on >secret ~* +@all -@dangerous'.split(' '))
    const limited = Object.assign(new URL(own.url), { username: 'limited', password: 'secret' })
    const [evicting, unknown] = await Promise.all(
      [own.url, limited.href].map((REDIS_URL) => cli.run(['doctor'], { env: { REDIS_URL } })),
    )
    redis.destroy()
    await own.stop()
    expect(evicting).toMatchObject({ code: 1 })
    expect(evicting!.stdout).toContain(
      '  ✗ Redis evicts sessions when its memory is full (`maxmemory-policy allkeys-lru`)\n' +
        '    → set `maxmemory-policy noeviction`: an evicted session signs its user out\n',
    )
    expect(unknown).toMatchObject({ code: 0 })
    expect(unknown!.stdout).toContain('  ! `maxmemory-policy` of Redis could not be read\n')
  })
})

describe('without DATABASE_URL', () => {
  it.each(['providers list', 'doctor', 'sessions list --user 1', 'secrets rotate'])(
    'portal-sso %s creates no file, and says which one is missing',
    async (command) => {
      const options = { env: { DATABASE_URL: undefined }, cwd: cli.folder }
      const { code, stdout, stderr } = await cli.run(command.split(' '), options)
      expect(code).toBe(1)
      expect(stdout + stderr).toContain('database portal-sso.sqlite3: the file does not exist')
      expect(fs.existsSync(path.join(cli.folder, 'portal-sso.sqlite3'))).toBe(false)
    },
  )
})

describe('a wrong environment variable', () => {
  it('is reported in one sentence', async () => {
    const withEnv = (env: Record<string, string>) => cli.refusal(['providers', 'test', 'acme'], { env })
    expect(
      await Promise.all([
        withEnv({ DATABASE_URL: 'mongodb://127.0.0.1/portal' }),
        withEnv({ DATABASE_URL: 'sqlite:/nowhere/portal.sqlite' }),
        withEnv({ SSO_SECRET: 'too short' }),
        withEnv({ ALLOWED_ADDRESSES: '10.0.0.0/8 intranet' }),
        withEnv({}),
      ]),
    ).toEqual([
      expect.stringMatching(/^database \(DATABASE_URL\): write `postgres:.*` or `sqlite:.*`$/),
      expect.stringMatching(/^database \/nowhere\/portal\.sqlite: the file does not exist: set DATABASE_URL/),
      'SSO_SECRET: each secret needs at least 32 characters; separate several with spaces',
      'ALLOWED_ADDRESSES: set it to IP addresses or ranges, such as `10.20.0.0/16`',
      'no provider is called "acme" in the portal "default"',
    ])
  })
})

describe('an error with --json', () => {
  it('is one line with message, code and issues', async () => {
    const failWith = async (args: string[], env: Record<string, string | undefined> = {}) =>
      JSON.parse(await cli.refusal([...args, '--json'], { env })) as unknown
    const [argument, environment, notFound] = await Promise.all([
      failWith(['providers', 'list', '--unknown']),
      failWith(['providers', 'list'], { SSO_SECRET: undefined }),
      failWith(['providers', 'show', 'nobody']),
    ])
    await cli.withDatabase(async (knex) => await knex.schema.dropTable('sso_providers'))
    const unexpected = await failWith(['providers', 'list'])
    const withCode = (code: string, error: string | RegExp) => {
      const message = expect.stringMatching(error)
      return { error: message, code, issues: [{ message }] }
    }
    expect(argument).toEqual(withCode('invalid_configuration', /^unknown option '--unknown'$/))
    expect(environment).toEqual(withCode('invalid_configuration', /^SSO_SECRET: /))
    expect(notFound).toEqual(withCode('not_found', /^no provider is called "nobody"/))
    expect(unexpected).toEqual(withCode('internal', /^Failed: .*Run `portal-sso doctor`/))
  })
})
