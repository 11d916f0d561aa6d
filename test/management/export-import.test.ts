import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { CompactEncrypt, decodeProtectedHeader } from 'jose'
import type { Imported } from '../../lib/management/import-providers.ts'
import { digestOf, type ProviderFile, type ProviderInFile } from '../../lib/management/provider-file.ts'
import { createProvidersTable } from '../../lib/providers/providers-table.ts'
import { ConfigurationError } from '../../lib/shared/errors.ts'
import { SecretBox } from '../../lib/shared/seal.ts'
import { type Cli, cliSecret, startCli } from '../support/cli.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal, testSecret } from '../support/portal.ts'

const passphrase = 'correct horse battery staple'

let provider: FaultyProvider
let from: TestPortal
let to: TestPortal

beforeAll(async () => {
  provider = await startFaultyProvider()
  from = await startPortal()
  to = await startPortal()
})
afterAll(async () => {
  await Promise.all([from.close(), to.close(), provider.close()])
})
beforeEach(async () => {
  provider.reset()
  for (const { knex } of [from, to])
    for (const table of ['sso_providers', 'sso_events']) await knex(table).delete()
})

const connect = (portal: TestPortal, slug = 'acme', more = {}) => portal.connect(provider, { slug, ...more })

const all = {
  displayName: 'Acme AG',
  clientSecretExpiresAt: '2027-01-31',
  prompt: 'login',
  responseMode: 'form_post',
  authorizationParameters: { hd: 'acme.com', '1': 'a number' },
  trustsEmail: true,
  emailDomains: ['acme.com'],
  logout: 'portal',
} as const

const exported = (passphrase?: string) => from.sso.providers.export([], { passphrase })

const imported = (file: object, how: object = {}) =>
  to.sso.providers.import(JSON.stringify(file), how) as Promise<Imported[]>

const outcomes = (report: Imported[]) => report.map(({ slug, outcome }) => [slug, outcome])

/** What it is refused with, and that nothing was changed. */
async function refused(file: object | string, how: object = {}): Promise<string> {
  const text = typeof file === 'string' ? file : JSON.stringify(file)
  const before = await to.sso.providers.list()
  const error: unknown = await to.sso.providers.import(text, how).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(ConfigurationError)
  expect(await to.sso.providers.list()).toEqual(before)
  return (error as Error).message
}

async function secretIn({ knex }: TestPortal, slug = 'acme') {
  const table = createProvidersTable(knex, new SecretBox([testSecret]))
  return await table.clientSecret(await table.existing('default', slug))
}

/** A file as an export makes it, of one provider. */
const fileOf = (settings: object = {}, more: Partial<ProviderFile> = {}, slug = 'acme'): ProviderFile => ({
  format: 'express-portal-sso providers',
  version: 1,
  providers: [
    {
      slug,
      preset: 'generic',
      settings: { displayName: 'Acme', issuer: provider.issuer, clientId: provider.clientId, ...settings },
    },
  ],
  ...more,
})

describe('an export', () => {
  it('holds all settings in the order of the login page, and no id, no portal, no state, no secret', async () => {
    await connect(from, 'second')
    await connect(from, 'acme', all)
    await from.sso.providers.recommend('acme')
    const file = await exported()
    expect(file).toMatchObject({ format: 'express-portal-sso providers', version: 1 })
    expect(file.providers.map(({ slug }) => slug)).toEqual(['acme', 'second'])
    const { clientSecretExpiresAt: _, ...settings } = all
    expect(file.providers[0]).toMatchObject({ preset: 'generic', settings })
    const text = JSON.stringify(file)
    for (const { id } of await from.sso.providers.list()) expect(text).not.toContain(id)
    expect(text).not.toContain(provider.clientSecret)
    expect(text).not.toMatch(/enabled|recommended|"portal":|tested|ecretExpires/)
  })

  it('holds just those that are named; a name that nobody has is refused', async () => {
    await connect(from, 'acme')
    await connect(from, 'second')
    const { providers } = await from.sso.providers.export(['second'])
    expect(providers.map(({ slug }) => slug)).toEqual(['second'])
    await expect(from.sso.providers.export(['third'])).rejects.toThrow('no provider is called "third"')
  })

  it('seals secrets under a passphrase that costs 600 000 rounds a guess, and tells in the event log', async () => {
    await connect(from, 'acme', all)
    const file = await exported(passphrase)
    expect(decodeProtectedHeader(file.secrets!)).toMatchObject({
      alg: 'PBES2-HS512+A256KW',
      enc: 'A256GCM',
      p2c: 600_000,
    })
    for (const secret of [provider.clientSecret, passphrase])
      expect(JSON.stringify(file)).not.toContain(secret)
    expect(await from.knex('sso_events').where({ kind: 'provider-exported' })).toMatchObject([
      { provider: 'acme', actor: 'code', detail: '{"secrets":"sealed"}' },
    ])
  })

  it('takes no passphrase that is guessed in an afternoon', async () => {
    await connect(from)
    await expect(exported('short')).rejects.toThrow('12 characters or more')
  })
})

describe('an import', () => {
  it('connects as drafts what is new, with all its settings and secrets, tested', async () => {
    await connect(from, 'acme', all)
    await connect(from, 'second')
    const report = await imported(await exported(passphrase), { passphrase, actor: 'cli:ada' })
    expect(outcomes(report)).toEqual([
      ['acme', 'connected'],
      ['second', 'connected'],
    ])
    const [here, there] = await Promise.all([from.sso.providers.find('acme'), to.sso.providers.find('acme')])
    const { id: _, enabled, lastTest, position, ...same } = there!
    expect(here).toMatchObject(same)
    expect({ enabled, lastTest, position }).toMatchObject({
      enabled: false,
      lastTest: { checks: expect.any(Array) },
    })
    expect(await secretIn(to)).toBe(provider.clientSecret)
    expect(await to.knex('sso_events').where({ kind: 'provider-connected', actor: 'cli:ada' })).toHaveLength(
      2,
    )
  })

  it('brings no default of a preset back that was taken away', async () => {
    const { providers } = fileOf({ clientAuthentication: null })
    const clientSecrets = { acme: provider.clientSecret }
    await imported(fileOf({}, { providers: [{ ...providers[0]!, preset: 'auth0' }] }), { clientSecrets })
    // The preset says `client_secret_post`; null says: whatever the provider offers.
    expect(await to.sso.providers.find('acme')).toMatchObject({
      preset: 'auth0',
      clientAuthentication: 'client_secret_basic',
    })
  })

  it('without secrets takes those that are given, and says where one is missing', async () => {
    await connect(from)
    const file = await exported()
    expect(await imported(file)).toEqual([
      { slug: 'acme', outcome: 'failed', needsSecret: true, reason: 'its client secret is missing' },
    ])
    expect(await to.sso.providers.list()).toEqual([])
    const clientSecrets = { acme: provider.clientSecret }
    expect(outcomes(await imported(file, { clientSecrets }))).toEqual([['acme', 'connected']])
    expect(await secretIn(to)).toBe(provider.clientSecret)
  })

  it('leaves what is connected already; told to update, it makes it so, and keeps its secret', async () => {
    await connect(from, 'acme', { displayName: 'New name' })
    await connect(to, 'acme', { displayName: 'Old name', prompt: 'login' })
    const file = await exported()
    const changes = {
      displayName: { here: 'Old name', file: 'New name' },
      prompt: { here: 'login', file: null },
    }
    expect(await imported(file)).toEqual([{ slug: 'acme', outcome: 'left', changes }])
    expect(await to.sso.providers.find('acme')).toMatchObject({ displayName: 'Old name', prompt: 'login' })
    expect(await imported(file, { update: true })).toEqual([{ slug: 'acme', outcome: 'updated', changes }])
    expect(await to.sso.providers.find('acme')).toMatchObject({ displayName: 'New name', prompt: undefined })
    expect(await secretIn(to)).toBe(provider.clientSecret)
    expect(await imported(file, { update: true })).toEqual([{ slug: 'acme', outcome: 'left', changes: {} }])
  })

  it('as a dry run says the same, changes nothing, and asks no provider', async () => {
    await connect(from)
    const file = await exported(passphrase)
    provider.requests.length = 0
    const report = await imported(file, { passphrase, dryRun: true })
    expect(outcomes(report)).toEqual([['acme', 'connected']])
    expect(provider.requests).toEqual([])
    expect(await to.sso.providers.list()).toEqual([])
  })

  it('that fails at one provider goes on with the others', async () => {
    await connect(from, 'one')
    await connect(from, 'two')
    const { providers, ...file } = await exported()
    const dead = { ...providers[0]!, settings: { ...providers[0]!.settings, issuer: 'http://127.0.0.1:9' } }
    const clientSecrets = { one: provider.clientSecret, two: provider.clientSecret }
    const report = await imported({ ...file, providers: [dead, providers[1]] }, { clientSecrets })
    expect(report).toEqual([
      { slug: 'one', outcome: 'failed', reason: expect.stringContaining('no usable discovery document') },
      { slug: 'two', outcome: 'connected' },
    ])
    expect((await to.sso.providers.list()).map(({ slug }) => slug)).toEqual(['two'])
  })

  it('works in another portal than the one that the providers came from', async () => {
    await connect(from)
    await imported(await exported(passphrase), { passphrase, portal: 'other' })
    expect(await to.sso.providers.list()).toEqual([])
    expect(await to.sso.providers.list({ portal: 'other' })).toMatchObject([
      { slug: 'acme', portal: 'other' },
    ])
  })
})

describe('sealed secrets', () => {
  /** Anything, sealed as an export seals it. */
  async function sealed(value: unknown, rounds = 600_000, alg = 'PBES2-HS512+A256KW', enc = 'A256GCM') {
    return await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(value)))
      .setProtectedHeader({ alg, enc })
      .setKeyManagementParameters({ p2c: rounds })
      .encrypt(new TextEncoder().encode(passphrase))
  }

  it('open under their passphrase only, however it was typed', async () => {
    const [composed, decomposed] = ['Übergangslösung', 'U\u0308bergangslo\u0308sung']
    await connect(from)
    const file = await exported(composed)
    expect(await refused(file, { passphrase })).toBe(
      'the passphrase does not open the secrets of this file, or the file was changed',
    )
    expect(outcomes(await imported(file, { passphrase: decomposed }))).toEqual([['acme', 'connected']])
  })

  it('are asked for: without a passphrase nothing is imported, unless they are left out', async () => {
    await connect(from)
    const file = await exported(passphrase)
    expect(await refused(file)).toContain('give its passphrase, or leave them out')
    expect(await imported(file, { withoutSecrets: true })).toMatchObject([{ needsSecret: true }])
  })

  it('go to no issuer that was written into the file after they were sealed', async () => {
    await connect(from)
    const attacker = await startFaultyProvider()
    try {
      const { providers, ...file } = await exported(passphrase)
      const moved = providers.map((each) => ({
        ...each,
        settings: { ...each.settings, issuer: attacker.issuer },
      }))
      expect(await refused({ ...file, providers: moved }, { passphrase })).toContain(
        'the settings were changed after the secrets were sealed',
      )
      expect(attacker.requests).toEqual([])
    } finally {
      await attacker.close()
    }
  })

  it('of 2^31 rounds, under another algorithm or packed are refused before anything is computed', async () => {
    const { providers } = fileOf()
    const header = (change: object) =>
      Buffer.from(
        JSON.stringify({
          alg: 'PBES2-HS512+A256KW',
          enc: 'A256GCM',
          p2c: 600_000,
          p2s: 'c2FsdHNhbHQ',
          ...change,
        }),
      ).toString('base64url')
    const rest = `${'A'.repeat(54)}.${'A'.repeat(16)}.AAAA.${'A'.repeat(22)}`
    for (const change of [
      { p2c: 2 ** 31 },
      { p2c: 1_000_001 },
      { alg: 'dir' },
      { enc: 'A128CBC-HS256' },
      { zip: 'DEF' },
    ])
      expect(
        await refused(fileOf({}, { providers, secrets: `${header(change)}.${rest}` }), { passphrase }),
      ).toMatch(
        /^the (secrets of this file are not sealed as an export|passphrase does not open the secrets)/,
      )
    expect(await refused(fileOf({}, { secrets: 'no seal' }), { passphrase })).toContain(
      'not sealed as an export',
    )
  })

  it('that hold something else than secrets are refused', async () => {
    const file = fileOf()
    const digest = digestOf(file.providers)
    for (const value of [null, [], 'text', { digest }, { digest, bySlug: { acme: { clientSecret: 1 } } }])
      expect(await refused({ ...file, secrets: await sealed(value, 1000) }, { passphrase })).toMatch(/:/)
  })
})

describe('a file that is none of ours', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
  const two = (change: (provider: ProviderInFile) => ProviderInFile) => {
    const file = fileOf()
    return { ...file, providers: [...file.providers, change(file.providers[0]!)] }
  }

  it.each<[what: string, file: () => object | string, said: string | RegExp]>([
    ['is no JSON', () => 'eyJhbGciOiJub25lIn0.e30.', 'the file is not valid JSON'],
    ['is empty', () => '', 'the file is not valid JSON'],
    ['is nested without end', () => nested(200_000), /^the file is not valid JSON|^this is no file/],
    ['is huge', () => `{"format":"${'x'.repeat(1_048_576)}"}`, 'the file is larger than any export'],
    ['is null', () => 'null', /^this is no file that/],
    ['is something else', () => ({ name: 'package.json', version: '1.0.0' }), /^this is no file that/],
    [
      'is of a later version',
      () => ({ ...fileOf(), version: 2 }),
      'the file is of version 2; this portal reads version 1',
    ],
    ['holds more than an export', () => ({ ...fileOf(), portal: 'other' }), /Unrecognized key: "portal"/],
    [
      'pollutes a prototype',
      () => '{"format":"express-portal-sso providers","version":1,"__proto__":{"providers":[]}}',
      'the file holds the name "__proto__"',
    ],
    [
      'pollutes a prototype among the parameters',
      () => JSON.stringify(fileOf({ authorizationParameters: { x: 'y' } })).replace('"x"', '"__proto__"'),
      'the file holds the name "__proto__"',
    ],
    ['holds wrong types', () => ({ ...fileOf(), providers: { acme: {} } }), /^providers: /],
    [
      'holds 201 providers',
      () => ({ ...fileOf(), providers: Array(201).fill(fileOf().providers[0]) }),
      /^providers: /,
    ],
    ['holds one twice', () => two((each) => each), 'acme: is in the file twice'],
    ['holds a slug that is a path', () => fileOf({}, {}, '../admin'), /slug: /],
    ['holds a reserved slug', () => fileOf({}, {}, 'callback'), /reserved word/],
    [
      'holds a preset that nobody knows',
      () => two((each) => ({ ...each, slug: 'b', preset: 'x' })),
      /^b: preset: /,
    ],
    [
      'holds a secret in the clear',
      () => fileOf({ clientSecret: 'x' }),
      /^acme: clientSecret: a file holds no secrets/,
    ],
    [
      'holds a name that would be a line of its own in a terminal',
      () => fileOf({ 'x\nacme is connected': 1 }),
      'acme: x\\u{a}acme is connected: is no setting',
    ],
    [
      'holds such a name deeper inside',
      () => fileOf({ authorizationParameters: { 'x\nacme is connected': 'x' } }),
      /^acme: authorizationParameters\.x\\u\{a\}acme is connected: /,
    ],
    ['says that it is enabled', () => fileOf({ enabled: true }), 'acme: enabled: is no setting'],
    ['says whose portal it is', () => fileOf({ portal: 'other' }), 'acme: portal: is no setting'],
    ['holds a wrong setting', () => fileOf({ trustsEmail: 'yes' }), /^acme: trustsEmail: /],
    ['lacks an issuer', () => fileOf({ issuer: null }), /^acme: issuer: /],
    [
      'replaces a parameter of ours',
      () => fileOf({ authorizationParameters: { redirect_uri: 'https://attacker.example' } }),
      /^acme: authorizationParameters: must not hold/,
    ],
  ])('%s: it is refused in a sentence, and nothing is changed', async (_what, file, said) => {
    await connect(to, 'bystander')
    const message = await refused(file(), { update: true })
    if (typeof said === 'string') expect(message).toBe(said)
    else expect(message).toMatch(said)
    expect(message).not.toContain('\n')
    expect(({} as Record<string, unknown>).providers).toBeUndefined()
  })

  it('names all that is wrong, and connects not even what is right', async () => {
    const file = two((each) => ({ ...each, slug: 'other', settings: { ...each.settings, prompt: 'dance' } }))
    expect(await refused(file, { clientSecrets: { acme: provider.clientSecret } })).toMatch(
      /^other: prompt: /,
    )
  })

  it('takes no issuer elsewhere with the secret that is here', async () => {
    await connect(to)
    const attacker = await startFaultyProvider()
    try {
      await to.sso.providers.disable('acme')
      const report = await imported(fileOf({ issuer: attacker.issuer }), { update: true })
      expect(report).toMatchObject([
        {
          outcome: 'failed',
          reason: 'clientSecret: give the client secret again when the issuer moves',
        },
      ])
      expect(attacker.requests).toEqual([])
      expect(await to.sso.providers.find('acme')).toMatchObject({ issuer: provider.issuer })
    } finally {
      await attacker.close()
    }
  })

  it.each([
    ['its issuer', () => ({ issuer: 'https://id.attacker.example' })],
    ['the client that its tokens are for', () => ({ clientId: 'attackers-own' })],
    ['whose addresses it vouches for', () => ({ trustsEmail: true, emailDomains: ['example.com'] })],
    ['the claim that holds the address', () => ({ emailClaim: 'preferred_username' })],
  ])('does not change who is believed of a provider that people use: %s', async (_what, settings) => {
    // One without a secret that could stay behind.
    provider.faults.publicClient = true
    await connect(to, 'acme', { clientSecret: undefined, clientAuthentication: 'none' })
    const before = await to.sso.providers.list()
    provider.requests.length = 0
    const report = await imported(fileOf({ ...settings(), prompt: 'login' }), { update: true })
    const names = Object.keys(settings()).join(', ')
    expect(report).toMatchObject([
      {
        outcome: 'failed',
        reason: expect.stringContaining(`who is believed (${names}) while it is enabled`),
      },
    ])
    expect(await to.sso.providers.list()).toEqual(before)
    expect(provider.requests).toEqual([])
  })

  it('makes no provider one of another preset', async () => {
    await connect(to)
    const { providers, ...file } = fileOf({ displayName: 'Other' })
    const other = { ...file, providers: [{ ...providers[0]!, preset: 'auth0' }] }
    expect(await refused(other, { update: true })).toBe(
      'acme: is connected as generic here, and is auth0 in the file: remove it first',
    )
  })
})

describe('portal-sso providers export and import', () => {
  let cli: Cli

  beforeAll(async () => {
    cli = await startCli(provider.clientSecret, passphrase)
  })
  afterAll(() => cli.close())
  beforeEach(() => cli.renew())

  const file = (name: string, text = '') => {
    const at = path.join(cli.folder, name)
    if (text) fs.writeFileSync(at, text)
    return at
  }
  const connected = () => cli.fromCode(({ providers }) => providers.list())
  const prepare = () =>
    cli.fromCode(({ providers }) =>
      providers.connect({
        slug: 'acme',
        issuer: provider.issuer,
        clientId: provider.clientId,
        clientSecret: provider.clientSecret,
      }),
    )

  it('move settings and secrets from one database to another', async () => {
    await prepare()
    const passphraseFile = ['--passphrase-file', file('passphrase', `${passphrase}\n`)]
    const { stdout, stderr, code } = await cli.run(['providers', 'export', ...passphraseFile])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).not.toContain(provider.clientSecret)
    const at = file('providers.json', stdout)
    await cli.withDatabase((knex) => knex('sso_providers').delete())

    const dry = await cli.run(['providers', 'import', at, '--dry-run', ...passphraseFile])
    expect(dry).toMatchObject({ code: 0, stdout: 'acme would be connected, as a draft\n' })
    expect(await connected()).toEqual([])
    const done = await cli.run(['providers', 'import', at, ...passphraseFile, '--json'])
    expect(done).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(done.stdout)).toEqual({
      dryRun: false,
      providers: [{ slug: 'acme', outcome: 'connected' }],
    })
    expect(await connected()).toMatchObject([{ slug: 'acme', enabled: false }])
    const [secret] = await cli.withDatabase(async (knex) => {
      const table = createProvidersTable(knex, new SecretBox([cliSecret]))
      return [await table.clientSecret(await table.existing('default', 'acme'))]
    })
    expect(secret).toBe(provider.clientSecret)
  })

  it('without secrets takes them from a file of their own, and fails where one is missing', async () => {
    await prepare()
    const { stdout } = await cli.run(['providers', 'export', 'acme'])
    const at = file('providers.json', stdout)
    await cli.withDatabase((knex) => knex('sso_providers').delete())
    expect(await cli.run(['providers', 'import', at])).toMatchObject({
      code: 1,
      stdout: 'acme failed: its client secret is missing\n',
    })
    const secrets = file('secrets.json', JSON.stringify({ acme: provider.clientSecret }))
    const done = await cli.run(['providers', 'import', at, '--client-secrets-file', secrets])
    expect(done).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^acme is connected as a draft; next, run/),
    })
    expect(done.stdout + done.stderr).not.toContain(provider.clientSecret)
    const again = await cli.run(['providers', 'import', at])
    expect(again).toMatchObject({ code: 0, stdout: 'acme is already connected with these settings\n' })
  })

  it('say in one sentence what is wrong: passphrase, file, secrets', async () => {
    await prepare()
    const { stdout } = await cli.run(['providers', 'export', '--passphrase-file', '-'], { input: passphrase })
    const at = file('providers.json', stdout)
    const run = (...more: string[]) => cli.refusal(['providers', 'import', ...more])
    const quoted = file('quoted.json', `{"acme": ${provider.clientSecret}}`)
    expect(
      await Promise.all([
        run(at, '--passphrase-file', file('wrong', 'another passphrase')),
        run(at),
        run(file('nowhere')),
        run(file('text', 'no JSON')),
        run(file('huge', ' '.repeat(1_048_577))),
        run(at, '--no-secrets', '--client-secrets-file', quoted),
      ]),
    ).toEqual([
      'the passphrase does not open the secrets of this file, or the file was changed',
      'Passphrase of the file: give --passphrase-file, or --no-secrets to leave the secrets sealed',
      expect.stringMatching(/^the file: .*nowhere cannot be read$/),
      'the file is not valid JSON',
      expect.stringMatching(/^the file: .*huge is larger than 1048576 bytes$/),
      '--client-secrets-file: must be JSON such as {"acme": "its client secret"}',
    ])
  })

  it('ask at a terminal for the passphrase, twice when it seals, and show it never', async () => {
    await prepare()
    const typed = `${passphrase}\r`
    const question = 'Passphrase for the secrets'
    const exporting = await cli.converse(
      ['providers', 'export', '--with-secrets'],
      [
        [`${question} (hidden)`, typed],
        [`${question}, again`, typed],
      ],
    )
    expect(exporting).toMatchObject({ code: 0, answered: 2 })
    const at = file('providers.json', exporting.screen.slice(exporting.screen.indexOf('{')))
    await cli.withDatabase((knex) => knex('sso_providers').delete())
    const importing = await cli.converse(['providers', 'import', at], [['Passphrase of the file', typed]])
    expect(importing).toMatchObject({ code: 0, answered: 1 })
    expect(importing.screen).toContain('acme is connected as a draft')
    for (const { screen } of [exporting, importing]) expect(screen).not.toContain(passphrase)
    const differing = await cli.converse(
      ['providers', 'export', '--with-secrets'],
      [
        [`${question} (hidden)`, typed],
        [`${question}, again`, 'another one, alas\r'],
      ],
    )
    expect(differing.code).toBe(1)
    expect(differing.screen).toContain('the two passphrases differ; nothing is exported')
  })
})
