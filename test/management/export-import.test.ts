import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ImportOptions, ImportResult } from '../../lib/management/import-providers.ts'
import type { ProviderFile, ProviderInFile } from '../../lib/management/provider-file.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import { type Cli, startCli } from '../support/cli.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { openProvidersTable } from '../support/providers.ts'

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

const exported = () => from.sso.providers.export()

const imported = (file: object, options: ImportOptions = {}) =>
  to.sso.providers.import(JSON.stringify(file), options)

const outcomes = (report: ImportResult[]) => report.map(({ slug, outcome }) => [slug, outcome])

/** @returns the error message for a refused file, after a check that nothing has changed */
async function refused(file: object | string, options: ImportOptions = {}): Promise<string> {
  const text = typeof file === 'string' ? file : JSON.stringify(file)
  const before = await to.sso.providers.list()
  const error: unknown = await to.sso.providers.import(text, options).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(ManagementError)
  expect(await to.sso.providers.list()).toEqual(before)
  return (error as Error).message
}

async function secretIn({ knex }: TestPortal, slug = 'acme') {
  const table = openProvidersTable(knex)
  return await table.clientSecret(await table.get('default', slug))
}

/** A file with one provider. */
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
  it('contains all settings in the order of the login page, but no id, portal, state or secret', async () => {
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
    const sealed: string[] = await from.knex('sso_providers').pluck('client_secret')
    for (const secret of [provider.clientSecret, ...sealed]) expect(text).not.toContain(secret)
    expect(text).not.toMatch(/"clientSecret"|"secrets"/)
    expect(text).not.toMatch(/enabled|recommended|"portal":|tested|ecretExpires/)
  })

  it('contains only the named providers, and refuses an unknown slug', async () => {
    await connect(from, 'acme')
    await connect(from, 'second')
    const { providers } = await from.sso.providers.export(['second'])
    expect(providers.map(({ slug }) => slug)).toEqual(['second'])
    await expect(from.sso.providers.export(['third'])).rejects.toThrow('no provider is called "third"')
  })

  it('contains the reference to a client secret, but not the secret', async () => {
    process.env.ACME_CLIENT_SECRET = provider.clientSecret
    const portal = await startPortal({ database: from.knex, secretReferences: { env: /\w+_CLIENT_SECRET/ } })
    try {
      await connect(portal, 'acme', {
        clientSecret: undefined,
        clientSecretReference: 'env:ACME_CLIENT_SECRET',
      })
      const file = await exported()
      expect(file.providers[0]!.settings).toMatchObject({ clientSecretReference: 'env:ACME_CLIENT_SECRET' })
      expect(JSON.stringify(file)).not.toContain(provider.clientSecret)
    } finally {
      delete process.env.ACME_CLIENT_SECRET
      await portal.close()
    }
  })
})

describe('an import', () => {
  it('connects new providers as drafts, with all their settings, after a connection test', async () => {
    await connect(from, 'acme', all)
    await connect(from, 'second')
    const { clientSecret } = provider
    const clientSecrets = { acme: clientSecret, second: clientSecret }
    const report = await imported(await exported(), { clientSecrets, actor: 'cli:ada' })
    expect(outcomes(report)).toEqual([
      ['acme', 'connected'],
      ['second', 'connected'],
    ])
    const [here, there] = await Promise.all([from.sso.providers.find('acme'), to.sso.providers.find('acme')])
    const { id: _, enabled, lastTest, position, ...same } = there!
    expect({ ...here, clientSecretExpiresAt: undefined }).toMatchObject(same)
    expect({ enabled, lastTest, position }).toMatchObject({
      enabled: false,
      lastTest: { checks: expect.any(Array) },
    })
    expect(await secretIn(to)).toBe(provider.clientSecret)
    expect(await to.knex('sso_events').where({ kind: 'provider-connected', actor: 'cli:ada' })).toHaveLength(
      2,
    )
  })

  it('does not apply a default of the preset that the file overrides with null', async () => {
    const { providers } = fileOf({ clientAuthentication: null })
    const clientSecrets = { acme: provider.clientSecret }
    await imported(fileOf({}, { providers: [{ ...providers[0]!, preset: 'auth0' }] }), { clientSecrets })
    // The preset's default is `client_secret_post`; null means: as the provider announces.
    expect(await to.sso.providers.find('acme')).toMatchObject({
      preset: 'auth0',
      clientAuthentication: 'client_secret_basic',
    })
  })

  it('uses the given client secrets, and reports a missing one', async () => {
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

  it('changes a connected provider only with `update`, and keeps its client secret', async () => {
    await connect(from, 'acme', { displayName: 'New name' })
    await connect(to, 'acme', { displayName: 'Old name', prompt: 'login' })
    const file = await exported()
    const changes = {
      displayName: { here: 'Old name', file: 'New name' },
      prompt: { here: 'login', file: null },
    }
    expect(await imported(file)).toEqual([{ slug: 'acme', outcome: 'unchanged', changes }])
    expect(await to.sso.providers.find('acme')).toMatchObject({ displayName: 'Old name', prompt: 'login' })
    expect(await imported(file, { update: true })).toEqual([{ slug: 'acme', outcome: 'updated', changes }])
    expect(await to.sso.providers.find('acme')).toMatchObject({ displayName: 'New name', prompt: undefined })
    expect(await secretIn(to)).toBe(provider.clientSecret)
    expect(await imported(file, { update: true })).toEqual([
      { slug: 'acme', outcome: 'unchanged', changes: {} },
    ])
  })

  it('reports the same in a dry run, changes nothing, and sends no request', async () => {
    await connect(from)
    const file = await exported()
    provider.requests.length = 0
    const clientSecrets = { acme: provider.clientSecret }
    const report = await imported(file, { clientSecrets, dryRun: true })
    expect(outcomes(report)).toEqual([['acme', 'connected']])
    expect(provider.requests).toEqual([])
    expect(await to.sso.providers.list()).toEqual([])
  })

  it('imports the other providers if one fails', async () => {
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

  it('works in a portal other than the exporting one', async () => {
    await connect(from)
    const clientSecrets = { acme: provider.clientSecret }
    await imported(await exported(), { clientSecrets, portal: 'other' })
    expect(await to.sso.providers.list()).toEqual([])
    expect(await to.sso.providers.list({ portal: 'other' })).toMatchObject([
      { slug: 'acme', portal: 'other' },
    ])
  })
})

describe('a malformed or hostile file', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
  const two = (change: (provider: ProviderInFile) => ProviderInFile) => {
    const file = fileOf()
    return { ...file, providers: [...file.providers, change(file.providers[0]!)] }
  }

  it.each<[what: string, file: () => object | string, message: string | RegExp]>([
    ['is not JSON', () => 'eyJhbGciOiJub25lIn0.e30.', 'the file is not valid JSON'],
    ['is empty', () => '', 'the file is not valid JSON'],
    ['is nested too deeply', () => nested(200_000), /^the file is not valid JSON|^this is not a file/],
    ['is huge', () => `{"format":"${'x'.repeat(8_388_608)}"}`, 'the file is larger than any export'],
    ['is null', () => 'null', /^this is not a file that/],
    ['is something else', () => ({ name: 'package.json', version: '1.0.0' }), /^this is not a file that/],
    [
      'is of a later version',
      () => ({ ...fileOf(), version: 2 }),
      'the file has version 2; this portal reads version 1',
    ],
    ['has an unknown property', () => ({ ...fileOf(), portal: 'other' }), /Unrecognized key: "portal"/],
    [
      'pollutes a prototype',
      () => '{"format":"express-portal-sso providers","version":1,"__proto__":{"providers":[]}}',
      'the file contains the name "__proto__"',
    ],
    [
      'pollutes a prototype among the parameters',
      () => JSON.stringify(fileOf({ authorizationParameters: { x: 'y' } })).replace('"x"', '"__proto__"'),
      'the file contains the name "__proto__"',
    ],
    ['has wrong types', () => ({ ...fileOf(), providers: { acme: {} } }), /^providers: /],
    [
      'has 201 providers',
      () => ({ ...fileOf(), providers: Array(201).fill(fileOf().providers[0]) }),
      /^providers: /,
    ],
    ['contains a provider twice', () => two((each) => each), 'acme: is in the file twice'],
    ['contains a slug that is a path', () => fileOf({}, {}, '../admin'), /slug: /],
    ['contains a reserved slug', () => fileOf({}, {}, 'callback'), /reserved word/],
    ['names an unknown preset', () => two((each) => ({ ...each, slug: 'b', preset: 'x' })), /^b: preset: /],
    [
      'contains a client secret',
      () => fileOf({ clientSecret: 'x' }),
      /^acme: clientSecret: a file must not contain secrets/,
    ],
    [
      'contains a name with a line break, which could forge a line in a terminal',
      () => fileOf({ 'x\nacme is connected': 1 }),
      'acme: x\\u{a}acme is connected: is not a setting',
    ],
    [
      'contains such a name in a nested object',
      () => fileOf({ authorizationParameters: { 'x\nacme is connected': 'x' } }),
      /^acme: authorizationParameters\.x\\u\{a\}acme is connected: /,
    ],
    ['enables a provider', () => fileOf({ enabled: true }), 'acme: enabled: is not a setting'],
    ['chooses the portal', () => fileOf({ portal: 'other' }), 'acme: portal: is not a setting'],
    ['contains an invalid setting', () => fileOf({ trustsEmail: 'yes' }), /^acme: trustsEmail: /],
    ['lacks an issuer', () => fileOf({ issuer: null }), /^acme: issuer: /],
    [
      'replaces a parameter that the plugin sets',
      () => fileOf({ authorizationParameters: { redirect_uri: 'https://attacker.example' } }),
      /^acme: authorizationParameters: must not contain/,
    ],
  ])('which %s is refused with one sentence, and nothing is changed', async (_what, file, expected) => {
    await connect(to, 'bystander')
    const message = await refused(file(), { update: true })
    if (typeof expected === 'string') expect(message).toBe(expected)
    else expect(message).toMatch(expected)
    expect(message).not.toContain('\n')
    expect(({} as Record<string, unknown>).providers).toBeUndefined()
  })

  it('is refused as a whole, so not even its valid providers are connected', async () => {
    const file = two((each) => ({ ...each, slug: 'other', settings: { ...each.settings, prompt: 'dance' } }))
    expect(await refused(file, { clientSecrets: { acme: provider.clientSecret } })).toMatch(
      /^other: prompt: /,
    )
  })

  it('cannot move the stored client secret to another issuer', async () => {
    await connect(to)
    const attacker = await startFaultyProvider()
    try {
      await to.sso.providers.disable('acme')
      const report = await imported(fileOf({ issuer: attacker.issuer }), { update: true })
      expect(report).toMatchObject([
        {
          outcome: 'failed',
          reason: 'clientSecret: enter the client secret again, because the issuer changes',
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
    ['its client ID', () => ({ clientId: 'attackers-own' })],
    ['its trusted e-mail domains', () => ({ trustsEmail: true, emailDomains: ['example.com'] })],
    ['its claim for the e-mail address', () => ({ emailClaim: 'preferred_username' })],
  ])('cannot change the trusted identities of an enabled provider: %s', async (_what, settings) => {
    // Without a client secret, nothing else protects the provider.
    provider.faults.publicClient = true
    await connect(to, 'acme', { clientSecret: undefined, clientAuthentication: 'none' })
    const before = await to.sso.providers.list()
    provider.requests.length = 0
    const report = await imported(fileOf({ ...settings(), prompt: 'login' }), { update: true })
    const names = Object.keys(settings()).sort().join(', ')
    expect(report).toMatchObject([
      {
        outcome: 'failed',
        reason: expect.stringContaining(
          `whose identities are trusted (${names}) while the provider is enabled`,
        ),
      },
    ])
    expect(await to.sso.providers.list()).toEqual(before)
    expect(provider.requests).toEqual([])
  })

  it('cannot change the preset of a provider', async () => {
    await connect(to)
    const { providers, ...file } = fileOf({ displayName: 'Other' })
    const other = { ...file, providers: [{ ...providers[0]!, preset: 'auth0' }] }
    expect(await refused(other, { update: true })).toBe(
      'acme: is connected with the preset generic here, and has auth0 in the file: remove it first',
    )
  })
})

describe('portal-sso providers export and import', () => {
  let cli: Cli

  beforeAll(async () => {
    cli = await startCli(provider.clientSecret)
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

  it('move settings from one database to another, with a client secret by reference', async () => {
    const env = { ACME_CLIENT_SECRET: provider.clientSecret, SECRET_REFERENCES_ENV: '\\w+_CLIENT_SECRET' }
    await prepare()
    const { stdout, stderr, code } = await cli.run(['providers', 'export'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).not.toContain(provider.clientSecret)
    const at = file('providers.json', stdout)
    const secrets = ['--client-secrets-file', file('secrets.json', '{"acme":"env:ACME_CLIENT_SECRET"}')]
    await cli.withDatabase((knex) => knex('sso_providers').delete())

    const dry = await cli.run(['providers', 'import', at, '--dry-run', ...secrets], { env })
    expect(dry).toMatchObject({ code: 0, stdout: 'acme would be connected, as a draft\n' })
    expect(await connected()).toEqual([])
    const done = await cli.run(['providers', 'import', at, ...secrets, '--json'], { env })
    expect(done).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(done.stdout)).toEqual({
      dryRun: false,
      providers: [{ slug: 'acme', outcome: 'connected' }],
    })
    expect(await connected()).toMatchObject([
      { slug: 'acme', enabled: false, clientSecretReference: 'env:ACME_CLIENT_SECRET' },
    ])
    const again = await cli.run(['providers', 'export'])
    expect(JSON.parse(again.stdout)).toMatchObject({
      providers: [{ settings: { clientSecretReference: 'env:ACME_CLIENT_SECRET' } }],
    })
  })

  it('read client secrets from a separate file, and fail if one is missing', async () => {
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

  it('refuse with one sentence an unreadable file, an invalid file and invalid client secrets', async () => {
    await prepare()
    const { stdout } = await cli.run(['providers', 'export'])
    const at = file('providers.json', stdout)
    const run = (...more: string[]) => cli.refusal(['providers', 'import', ...more])
    const quoted = file('quoted.json', `{"acme": ${provider.clientSecret}}`)
    expect(
      await Promise.all([
        run(file('nowhere')),
        run(file('text', 'no JSON')),
        run(file('huge', ' '.repeat(8_388_609))),
        run(at, '--client-secrets-file', quoted),
      ]),
    ).toEqual([
      expect.stringMatching(/^the file: .*nowhere cannot be read$/),
      'the file is not valid JSON',
      expect.stringMatching(/^the file: .*huge is larger than 8388608 bytes$/),
      '--client-secrets-file: must be JSON such as {"acme": "its client secret"}',
    ])
  })

  it('ask at a terminal for missing client secrets, without echoing them', async () => {
    await prepare()
    const { stdout } = await cli.run(['providers', 'export'])
    const at = file('providers.json', stdout)
    await cli.withDatabase((knex) => knex('sso_providers').delete())
    const { code, answered, screen } = await cli.converse(
      ['providers', 'import', at],
      [['Client secret of acme', `${provider.clientSecret}\r`]],
    )
    expect({ code, answered }).toEqual({ code: 0, answered: 1 })
    expect(screen).toContain('acme is connected as a draft')
    expect(screen).not.toContain(provider.clientSecret)
  })
})
