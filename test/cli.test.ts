import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type JscConfig, transformFile } from '@swc/core'
import { configFromUrl, connectDatabase } from '../lib/database/connect.ts'
import { migrate, pendingMigrations } from '../lib/database/migrate.ts'
import { createPortalSso } from '../lib/index.ts'
import type { Providers } from '../lib/providers/providers.ts'
import { createProvidersTable } from '../lib/providers/providers-table.ts'
import { createSecretBox } from '../lib/providers/secret-box.ts'
import { type Faults, type FaultyProvider, startFaultyProvider } from './support/faulty-provider.ts'
import { freePort } from './support/services/server.ts'

const secret = 'a-secret-for-tests-that-is-longer-than-32-characters'
const clientSecret = 'the client secret+of/the portal%'

let provider: FaultyProvider
let built: string
let folder: string
let databaseUrl: string

beforeAll(async () => {
  provider = await startFaultyProvider({ clientSecret })
  built = await build()
})
afterAll(async () => {
  fs.rmSync(built, { recursive: true, force: true })
  await provider.close()
})
beforeEach(async () => {
  provider.reset()
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-cli-'))
  databaseUrl = `sqlite:${path.join(folder, 'portal.sqlite')}`
  await withDatabase((knex) => migrate(knex))
})
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

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

const program = () => path.join(built, 'lib', 'cli', 'portal-sso.js')

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

interface Circumstances {
  /** `undefined` takes a variable away */
  env?: Record<string, string | undefined>
  input?: string
}

function environment(more: Circumstances['env'] = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env
  return { PATH, HOME, TMPDIR, DATABASE_URL: databaseUrl, SSO_SECRET: secret, ...more }
}

/** Runs a command without a terminal, as a script does. */
async function portalSso(args: readonly string[], { env, input = '' }: Circumstances = {}): Promise<Ended> {
  const child = spawn(process.execPath, [program(), ...args], { env: environment(env) })
  child.stdin.on('error', () => {}) // it may have ended without reading
  child.stdin.end(input)
  const said = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text
    })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, ...said }
}

/** Runs a command that must refuse. @returns what it said: one sentence, never a stack trace, never the secret */
async function refusal(args: readonly string[], circumstances?: Circumstances): Promise<string> {
  const { code, stdout, stderr } = await portalSso(args, circumstances)
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^[^\n]+\n$/) })
  expect(stdout + stderr).not.toMatch(/^\s+at |node_modules/m)
  expect(stdout + stderr).not.toContain(clientSecret)
  return stderr.trim()
}

async function withDatabase<T>(act: (knex: ReturnType<typeof connectDatabase>['knex']) => Promise<T>) {
  const database = connectDatabase(configFromUrl(databaseUrl))
  try {
    return await act(database.knex)
  } finally {
    await database.close()
  }
}

/** The same acts from code, to prepare what a command meets and to see what it did. */
const fromCode = <T>(act: (providers: Providers) => Promise<T>): Promise<T> =>
  withDatabase(async (knex) => {
    const { providers } = await createPortalSso({ baseUrl: 'http://localhost:3000', secret, database: knex })
    return await act(providers)
  })

const connect = (slug: string, displayName = slug) =>
  fromCode((providers) =>
    providers.connect({
      slug,
      displayName,
      issuer: provider.issuer,
      clientId: provider.clientId,
      clientSecret,
    }),
  )

describe('portal-sso migrate', () => {
  it('makes the tables, and says so; run again, it says that they are up to date', async () => {
    const file = path.join(folder, 'new.sqlite')
    databaseUrl = `sqlite:${file}`
    expect(await portalSso(['migrate'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^Ran 001-providers, .*006-proofs.*\.\n$/),
      stderr: '',
    })
    expect(await withDatabase(pendingMigrations)).toEqual([])
    expect(await portalSso(['migrate'])).toEqual({
      code: 0,
      stdout: 'The tables are up to date.\n',
      stderr: '',
    })
  })

  it('run twice at once on one new file: one makes the tables, the other waits', async () => {
    databaseUrl = `sqlite:${path.join(folder, 'new.sqlite')}`
    const ended = await Promise.all([portalSso(['migrate']), portalSso(['migrate'])])
    expect(ended.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      Array(2).fill({ code: 0, stderr: '' }),
    )
    expect(ended.map(({ stdout }) => stdout.split(' ')[0]).sort()).toEqual(['Ran', 'The'])
  })

  it('has not run: the other commands say so', async () => {
    databaseUrl = `sqlite:${path.join(folder, 'new.sqlite')}`
    expect(await refusal(['providers', 'list'])).toMatch(
      /^the tables are not up to date .* `portal-sso migrate`$/,
    )
  })
})

describe('portal-sso providers add', () => {
  const flags = (slug: string, ...more: string[]) => [
    ...['providers', 'add', '--slug', slug, '--issuer', provider.issuer, '--client-id', provider.clientId],
    ...more,
  ]

  it('connects with flags and the secret from a file or from standard input, which it never says again', async () => {
    const file = path.join(folder, 'secret')
    fs.writeFileSync(file, `${clientSecret}\n`)
    const more = [
      '--name',
      'Acme AG',
      '--trusts-email',
      '--prompt',
      'login',
      '--email-domain',
      'acme.example',
    ]
    const [fromFile, fromInput] = await Promise.all([
      portalSso(flags('acme', ...more, '--client-secret-file', file), {
        env: { BASE_URL: 'https://portal.example.com', MOUNT_PATH: '/sso', ALLOWED_ADDRESSES: '127.0.0.1' },
      }),
      portalSso(flags('second', '--disabled', '--client-secret-file', '-'), { input: `${clientSecret}\n` }),
    ])
    expect(fromFile).toMatchObject({ code: 0, stderr: '' })
    expect(fromFile.stdout).toContain('https://portal.example.com/sso/login/acme/callback')
    expect(fromFile.stdout).toContain('https://portal.example.com/sso/logout/done')
    expect(fromFile.stdout).toContain('https://portal.example.com/sso/logout/acme/backchannel')
    expect(fromFile.stdout).toContain('✓ the issuer is')
    expect(fromFile.stdout).toContain('acme is connected and on the login page.')
    expect(fromInput).toMatchObject({ code: 0, stderr: '' })
    expect(fromInput.stdout).toContain('second is connected, not enabled yet.')
    for (const { stdout } of [fromFile, fromInput]) expect(stdout).not.toContain(clientSecret)

    const connected = await fromCode((providers) => providers.list())
    expect(connected.sort((a, b) => (a.slug < b.slug ? -1 : 1))).toMatchObject([
      {
        slug: 'acme',
        displayName: 'Acme AG',
        issuer: provider.issuer,
        clientId: provider.clientId,
        prompt: 'login',
        trustsEmail: true,
        emailDomains: ['acme.example'],
        enabled: true,
      },
      { slug: 'second', displayName: 'second', trustsEmail: false, emailDomains: [], enabled: false },
    ])
    await withDatabase(async (knex) => {
      const table = createProvidersTable(knex, createSecretBox([secret]))
      for (const each of connected) expect(await table.clientSecret(each)).toBe(clientSecret)
    })
  })

  it('takes no secret from the arguments, where every process on the machine could read it', async () => {
    expect(await refusal(flags('acme', '--client-secret', 'in-the-arguments'))).toContain(
      "unknown option '--client-secret'",
    )
  })

  it('without a terminal names the flag that is missing', async () => {
    const given = ['--slug', 'acme', '--issuer', provider.issuer, '--client-id', 'portal']
    const add = (...args: string[]) => refusal(['providers', 'add', ...args])
    expect(await Promise.all([add(), add(...given), add('entra', '--client-id', 'portal')])).toEqual([
      expect.stringContaining('--slug'),
      expect.stringContaining('--client-secret-file (or --public'),
      expect.stringContaining('--tenant'),
    ])
  })

  it('refuses in one sentence what cannot work, and saves nothing', async () => {
    provider.faults.discovery = { id_token_signing_alg_values_supported: ['HS256'] }
    const input = clientSecret
    const fromInput = ['--client-secret-file', '-']
    expect(
      await Promise.all([
        refusal(flags('acme', ...fromInput), { input }),
        refusal(flags('acme', '--client-secret-file', path.join(folder, 'nowhere'))),
        refusal(['providers', 'add', 'nobody-knows-it', '--slug', 'acme']),
      ]),
    ).toEqual([
      expect.stringContaining('HS256 and none are refused'),
      expect.stringMatching(/^--client-secret-file: .*nowhere cannot be read$/),
      expect.stringContaining('Allowed choices are entra'),
    ])
    expect(await fromCode((providers) => providers.list())).toEqual([])
  })
})

describe('portal-sso providers at a terminal', () => {
  /** Types an answer as soon as its question is there. @returns all that was on the screen */
  async function converse(args: string[], answers: [question: string, answer: string][]) {
    const quoted = [process.execPath, program(), ...args].map((arg) => `'${arg}'`).join(' ')
    const child: ChildProcess = spawn('script', ['-qec', quoted, '/dev/null'], { env: environment() })
    let screen = ''
    let answered = 0
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      screen += text
      const [question, answer] = answers[answered] ?? []
      if (question === undefined || !screen.includes(question)) return
      answered++
      child.stdin!.write(answer!)
    })
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, screen, answered }
  }

  it('asks for what is missing, and does not show the secret', async () => {
    const { code, screen, answered } = await converse(
      ['providers', 'add'],
      [
        ['Short name', 'acme\r'],
        ['Issuer:', `${provider.issuer}\r`],
        ['Client id:', `${provider.clientId}\r`],
        ['Client secret (not shown):', `${clientSecret}\r`],
      ],
    )
    expect({ code, answered }).toEqual({ code: 0, answered: 4 })
    expect(screen).toContain('acme is connected and on the login page.')
    expect(screen).not.toContain(clientSecret)
    expect(await fromCode((providers) => providers.list())).toMatchObject([{ slug: 'acme' }])
  })

  it('that is left by Ctrl-C has failed and changed nothing', async () => {
    const { code, screen } = await converse(['providers', 'add', '--slug', 'acme'], [['Issuer:', '\u0003']])
    expect(code).toBe(1)
    expect(screen).toContain('stopped; nothing is changed')
    expect(await fromCode((providers) => providers.list())).toEqual([])
  })
})

describe('portal-sso providers', () => {
  it('list shows them in the order of the login page, also as JSON, and nothing of a secret', async () => {
    await connect('acme', 'Acme AG')
    await connect('second', 'Second')
    await fromCode(async (providers) => {
      await providers.recommend('second')
      await providers.disable('acme')
    })
    const [table, json] = await Promise.all([
      portalSso(['providers', 'list']),
      portalSso(['providers', 'list', '--json']),
    ])
    expect(table.stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['SLUG', 'NAME', 'ENABLED', 'RECOMMENDED', 'ISSUER'],
      ['second', 'Second', 'yes', 'yes', provider.issuer],
      ['acme', 'Acme AG', 'no', provider.issuer],
      [''],
    ])
    const listed = JSON.parse(json.stdout) as object[]
    expect(listed).toMatchObject([{ slug: 'second' }, { slug: 'acme', enabled: false }])
    for (const each of listed) expect(each).not.toHaveProperty('clientSecret')
    for (const { stdout, code, stderr } of [table, json]) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).not.toContain(clientSecret)
    }
  })

  it('test says line by line that all is well', async () => {
    await connect('acme')
    const { code, stdout } = await portalSso(['providers', 'test', 'acme'])
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.filter((line) => !line.startsWith('  ✓ '))).toEqual([])
    expect(lines.length).toBeGreaterThanOrEqual(6)
  })

  it.each<[what: string, faults: Faults, finding: string, remedy: string]>([
    [
      'is another issuer',
      { discovery: { issuer: 'https://other.example' } },
      'the discovery document names another issuer: "https://other.example"',
      'compare its "issuer" with what you entered',
    ],
    [
      'publishes no keys',
      { jwksResponse: { status: 500, body: 'out of order' } },
      'the keys cannot be used: the key set answered with status 500',
      'must answer with a JSON key set',
    ],
  ])('test says what is wrong with one that %s, and what to do', async (_what, faults, finding, remedy) => {
    await connect('acme')
    Object.assign(provider.faults, faults)
    const { code, stdout, stderr } = await portalSso(['providers', 'test', 'acme'])
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    const lines = stdout.split('\n')
    const failed = lines.findIndex((line) => line.startsWith('  ✗ '))
    expect(lines[failed]).toContain(finding)
    expect(lines[failed + 1]).toMatch(/^ {4}→ /)
    expect(lines[failed + 1]).toContain(remedy)
  })

  it('disable, enable, recommend and remove do so', async () => {
    await connect('acme')
    const act = async (name: string) => {
      expect(await portalSso(['providers', name, 'acme'])).toMatchObject({ code: 0, stderr: '' })
      return await fromCode((providers) => providers.list())
    }
    expect(await act('disable')).toMatchObject([{ enabled: false }])
    // Nobody has come in with it yet, and it would be the only way in.
    expect(await refusal(['providers', 'enable', 'acme'])).toContain('has not been rehearsed')
    await fromCode((providers) => providers.enable('acme', { withoutRehearsal: true }))
    expect(await act('enable')).toMatchObject([{ enabled: true, recommended: false }])
    expect(await act('recommend')).toMatchObject([{ recommended: true }])
    expect(await act('remove')).toEqual([])
  })
})

describe('portal-sso users', () => {
  it('add keeps an address in its normal form and once; list shows it', async () => {
    const add = (email: string) => ['users', 'add', '--email', email, '--name', ' Ada Lovelace ']
    expect(await portalSso(add(' Ada@Example.COM '))).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('ada@example.com is added'),
    })
    const [again, noAddress, table] = await Promise.all([
      refusal(add('ADA@example.com')),
      refusal(add('ada')),
      portalSso(['users', 'list']),
    ])
    expect(again).toBe('ada@example.com is there already')
    expect(noAddress).toBe('--email: "ada" is not an e-mail address')
    expect(table.stdout).toMatch(/^ada@example\.com {2}Ada Lovelace {2}yes/m)
  })
})

describe('portal-sso doctor', () => {
  const failures = (stdout: string) =>
    [...stdout.matchAll(/^ {2}✗ (.*)\n {4}→ (.*)$/gm)].map(([, finding, remedy]) => [finding, remedy])

  it('finds that all is well', async () => {
    await connect('acme')
    const { code, stdout, stderr } = await portalSso(['doctor'], {
      env: {
        REDIS_URL: process.env.TEST_REDIS_URL,
        BASE_URL: 'https://portal.example.com',
        ALLOWED_ADDRESSES: '10.0.0.0/8, 127.0.0.1',
      },
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('Redis answers')
    expect(stdout).toContain('Provider acme')
    expect(stdout).toContain('All is well.')
    expect(stdout).not.toMatch(/[✗!→]/)
  })

  it('finds all that is wrong at once, each with what to do', async () => {
    const nobody = `127.0.0.1:${await freePort()}`
    await connect('acme')
    provider.faults.discoveryDrop = true
    const [noSecret, noDatabase, noRedisNorProvider] = await Promise.all([
      portalSso(['doctor'], { env: { SSO_SECRET: undefined } }),
      portalSso(['doctor'], { env: { DATABASE_URL: `postgres://postgres@${nobody}/portal` } }),
      portalSso(['doctor'], { env: { REDIS_URL: `redis://${nobody}` } }),
    ])
    expect(failures(noSecret.stdout)).toEqual([
      ['SSO_SECRET is not set', expect.stringContaining('set SSO_SECRET')],
    ])
    expect(failures(noDatabase.stdout)).toEqual([
      [
        expect.stringMatching(/^the database cannot be used: .*ECONNREFUSED/),
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
    ])
    for (const { code, stdout, stderr } of [noSecret, noDatabase, noRedisNorProvider]) {
      expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
      expect(stdout).toMatch(/\n\d thing\(s\) to mend\.\n$/)
      expect(stdout).not.toMatch(/^\s+at /m)
    }
  })
})

describe('what is wrong with the environment', () => {
  it('is said in one sentence', async () => {
    const withEnv = (env: Record<string, string>) => refusal(['providers', 'test', 'acme'], { env })
    expect(
      await Promise.all([
        withEnv({ DATABASE_URL: 'mongodb://127.0.0.1/portal' }),
        withEnv({ DATABASE_URL: 'sqlite:/nowhere/portal.sqlite' }),
        withEnv({ SSO_SECRET: 'too short' }),
        withEnv({ ALLOWED_ADDRESSES: '10.0.0.0/8 intranet' }),
        withEnv({}),
      ]),
    ).toEqual([
      expect.stringMatching(/^DATABASE_URL: write `postgres:.*` or `sqlite:.*`$/),
      expect.stringMatching(/Unable to open .*\/nowhere\/portal\.sqlite/),
      'SSO_SECRET: it has 32 characters or more',
      'ALLOWED_ADDRESSES: write addresses or ranges such as `10.20.0.0/16`',
      'no provider is called "acme" in the portal "default"',
    ])
  })
})
