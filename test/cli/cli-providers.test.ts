/** @slow runs a process for each command */
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { printJson } from '../../lib/cli/output.ts'
import { buildProgram } from '../../lib/cli/program.ts'
import { settingOptions } from '../../lib/cli/providers/update.ts'
import { presets } from '../../lib/providers/presets/presets.ts'
import { settings } from '../../lib/providers/settings.ts'
import { type Cli, cliSecret, startCli } from '../support/cli.ts'
import { type Faults, type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { pngOf } from '../support/images.ts'
import { openProvidersTable } from '../support/providers.ts'
import { freePort } from '../support/services/server.ts'

const clientSecret = 'the client secret+of/the portal%'
const newSecret = 'the other secret of the portal'

let provider: FaultyProvider
let cli: Cli

beforeAll(async () => {
  provider = await startFaultyProvider({ clientSecret })
  cli = await startCli(clientSecret, newSecret)
})
afterAll(async () => {
  cli.close()
  await provider.close()
})
beforeEach(async () => {
  provider.reset()
  await cli.renew()
})

const connect = (
  slug: string,
  more: { displayName?: string; enabled?: boolean; emailDomains?: string[] } = {},
) =>
  cli.fromCode(({ providers }) =>
    providers.connect({
      slug,
      issuer: provider.issuer,
      clientId: provider.clientId,
      clientSecret,
      ...more,
    }),
  )

const listProviders = () => cli.fromCode(({ providers }) => providers.list())

const addArguments = (slug: string, ...more: string[]) => [
  ...['providers', 'add', '--slug', slug, '--issuer', provider.issuer, '--client-id', provider.clientId],
  ...more,
]

/** Creates a file in the test's folder. @returns its path */
function writeFile(name: string, text: string): string {
  const to = path.join(cli.folder, name)
  fs.writeFileSync(to, text)
  return to
}

/** The decrypted client secret of a row. */
const readClientSecret = (slug: string) =>
  cli.withDatabase(async (knex) => {
    const table = openProvidersTable(knex, cliSecret)
    const row = await table.get('default', slug)
    return await table.clientSecret(row)
  })

describe('portal-sso providers add', () => {
  it('reads the client secret from a file or standard input, and never prints it', async () => {
    const more = ['--name', 'Acme AG', '--trusts-email', '--prompt', 'login']
    const secretFile = ['--client-secret-file', writeFile('secret', `${clientSecret}\n`)]
    const [fromFile, fromInput] = await Promise.all([
      cli.run(
        addArguments(
          'acme',
          ...more,
          '--email-domain',
          'acme.example',
          '--without-test-sign-in',
          ...secretFile,
        ),
        {
          env: {
            BASE_URL: 'https://portal.example.com',
            MOUNT_PATH: '/sso',
            ALLOWED_ADDRESSES: '127.0.0.1',
          },
        },
      ),
      cli.run(addArguments('second', '--disabled', '--client-secret-file', '-'), {
        input: `${clientSecret}\n`,
      }),
    ])
    const stderr = 'Testing the provider …\n'
    expect(fromFile).toMatchObject({ code: 0, stderr })
    expect(fromFile.stdout).toContain('https://portal.example.com/sso/login/acme/callback')
    expect(fromFile.stdout).toContain('https://portal.example.com/sso/logout/done')
    expect(fromFile.stdout).toContain('https://portal.example.com/sso/logout/acme/backchannel')
    expect(fromFile.stdout).toContain('✓ the issuer is')
    expect(fromFile.stdout).toContain('acme is connected and on the login page.')
    expect(fromInput).toMatchObject({ code: 0, stderr })
    expect(fromInput.stdout).toContain('second is connected, but not enabled yet.')
    for (const { stdout } of [fromFile, fromInput]) expect(stdout).not.toContain(clientSecret)

    const connected = await listProviders()
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
    for (const { slug } of connected) expect(await readClientSecret(slug)).toBe(clientSecret)
  })

  it('prints the URL for front-channel logout if it is turned on', async () => {
    const env = { PORTAL_SSO_CLIENT_SECRET: clientSecret }
    const [off, on] = await Promise.all([
      cli.run(addArguments('acme', '--disabled'), { env }),
      cli.run(addArguments('second', '--disabled', '--front-channel-logout'), { env }),
    ])
    expect(off.stdout).not.toContain('frontchannel')
    expect(on.stdout).toMatch(/Front-channel logout URI +\S+\/logout\/second\/frontchannel/)
  })

  it('in a script saves a draft without a test sign-in, and prints the next commands', async () => {
    const env = { PORTAL_SSO_CLIENT_SECRET: clientSecret }
    const { code, stdout } = await cli.run(addArguments('acme'), { env })
    expect(code).toBe(0)
    expect(stdout.trimEnd().split('\n').at(-1)).toBe(
      'acme is connected, but not enabled yet. Next, run `portal-sso providers test-sign-in acme`, then `portal-sso providers enable acme`.',
    )
    expect(await listProviders()).toMatchObject([{ slug: 'acme', enabled: false }])
  })

  it('with --json prints only the provider and its URLs, or the error with code and issues', async () => {
    const env = { PORTAL_SSO_CLIENT_SECRET: clientSecret }
    const [first, wrong] = await Promise.all([
      cli.run(addArguments('acme', '--json'), { env }),
      cli.run(addArguments('Not A Slug', '--json'), { env }),
    ])
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(first.stdout)).toMatchObject({
      provider: { slug: 'acme', enabled: false, lastTest: { checks: expect.any(Array) } },
      urls: { redirectUri: 'http://localhost:3000/login/acme/callback' },
      next: ['portal-sso providers test-sign-in acme', 'portal-sso providers enable acme'],
    })
    expect(first.stdout).not.toContain(clientSecret)
    expect(wrong).toMatchObject({ code: 1, stdout: '' })
    expect(JSON.parse(wrong.stderr)).toEqual({
      error: expect.stringMatching(/^--slug: .*lower-case letters/),
      code: 'invalid',
      issues: [{ path: '--slug', message: expect.stringContaining('lower-case letters') }],
    })
  })

  it('logs the system user who connected the provider', async () => {
    await cli.run(addArguments('acme'), { env: { PORTAL_SSO_CLIENT_SECRET: clientSecret } })
    expect(await cli.withDatabase((knex) => knex('sso_events').select('kind', 'actor'))).toEqual([
      { kind: 'provider-connected', actor: expect.stringMatching(/^cli:\S/) },
    ])
  })

  it('accepts no secret as an argument, because every process on the machine can read those', async () => {
    expect(await cli.refusal(addArguments('acme', '--client-secret', 'in-the-arguments'))).toContain(
      '--client-secret',
    )
    expect(await listProviders()).toEqual([])
  })

  it('without a terminal names all missing flags', async () => {
    const given = ['--slug', 'acme', '--issuer', provider.issuer, '--client-id', 'portal']
    const add = (...args: string[]) => cli.refusal(['providers', 'add', ...args])
    expect(await Promise.all([add(), add(...given), add('entra', '--client-id', 'portal')])).toEqual([
      'give --slug, --issuer, --client-id, --client-secret-file (or --public for a client without one)',
      'give --client-secret-file (or --public for a client without one)',
      'give --tenant, --client-secret-file (or --public for a client without one)',
    ])
  })

  it('reads the answers for a preset from flags, and names the flag of an invalid one', async () => {
    const add = (...more: string[]) =>
      cli.refusal(['providers', 'add', ...more, '--client-id', 'portal'], {
        env: { PORTAL_SSO_CLIENT_SECRET: clientSecret },
      })
    expect(
      await Promise.all([
        add('entra', '--tenant', 'contoso.com'),
        add('--slug', 'new', '--issuer', provider.issuer),
        add('--slug', 'acme', '--issuer', provider.issuer, '--email-domain', 'acme.com', 'acme'),
        add('keycloak', '--address', 'https://id.example.com/realms/x'),
        add('google', '--domain', 'example.com'),
      ]),
    ).toEqual([
      expect.stringMatching(/^--tenant: /),
      'slug: this is a reserved word; choose another one',
      expect.stringMatching(/^--email-domain: write a domain/),
      expect.stringContaining('--realm'),
      '--domain: the preset google does not ask for it',
    ])
  })

  it('sets whose addresses are trusted by --trust, and the logo by --logo', async () => {
    const env = { PORTAL_SSO_CLIENT_SECRET: clientSecret }
    const add = (...more: string[]) => addArguments('acme', ...more)
    const svg = writeFile('logo.svg', '<svg/>')
    const refused = [
      ['--trust', 'domains'],
      ['--trust', 'confirmed', '--trusts-email'],
      ['--trust', 'anyone'],
      ['--logo', svg],
    ]
    expect(await Promise.all(refused.map((more) => cli.refusal(add(...more), { env })))).toEqual([
      '--trust domains: give --email-domain',
      '--trust: the other flags already answer this',
      '--trust: the answers for OpenID Connect are confirmed, domains',
      'the logo must be a PNG or WebP image',
    ])
    expect(await listProviders()).toEqual([])
    const logo = path.join(cli.folder, 'logo.png')
    fs.writeFileSync(logo, pngOf(32, 32))
    const given = ['--trust', 'domains', '--email-domain', 'Example.com', '--logo', logo]
    expect(await cli.run(add(...given), { env })).toMatchObject({ code: 0 })
    expect(await listProviders()).toMatchObject([
      { trustsEmail: true, emailDomains: ['example.com'], logoHash: expect.stringMatching(/^[\w-]{22}$/) },
    ])
  })

  it('refuses invalid input in one sentence, and saves nothing', async () => {
    provider.faults.discovery = { id_token_signing_alg_values_supported: ['HS256'] }
    const fromInput = ['--client-secret-file', '-']
    expect(
      await Promise.all([
        cli.refusal(addArguments('acme', ...fromInput), { input: clientSecret }),
        cli.refusal(addArguments('acme', '--client-secret-file', path.join(cli.folder, 'nowhere'))),
        cli.refusal(['providers', 'add', 'nobody-knows-it', '--slug', 'acme']),
        cli.refusal(addArguments('acme', '--authorization-parameter', 'no-value', ...fromInput)),
      ]),
    ).toEqual([
      expect.stringContaining('HS256 and none are refused'),
      expect.stringMatching(/^--client-secret-file: .*nowhere cannot be read$/),
      expect.stringContaining('Allowed choices are entra'),
      '--authorization-parameter: write name=value, not "no-value"',
    ])
    expect(await listProviders()).toEqual([])
  })
})

describe('the flags of portal-sso providers', () => {
  const providersCommands = () =>
    buildProgram().commands.find((command) => command.name() === 'providers')!.commands

  it('cover every setting; secrets are read from files', () => {
    const differentNames: Record<string, string> = {
      labels: 'label',
      notes: 'noteIn',
      displayName: 'name',
      emailDomains: 'emailDomain',
      organizationValues: 'organizationValue',
      tenants: 'allowedTenant',
      authorizationParameters: 'authorizationParameter',
      clientSecret: 'clientSecretFile',
      clientSecretExpiresAt: 'clientSecretExpires',
      certificateAuthority: 'certificateAuthorityFile',
    }
    const names = settingOptions().map((option) => option.attributeName())
    for (const setting of Object.keys(settings)) expect(names).toContain(differentNames[setting] ?? setting)
  })

  it('cover every question of every preset', () => {
    const add = providersCommands().find((command) => command.name() === 'add')!
    for (const { asks } of presets)
      for (const { name } of asks) expect(add.options.map(({ long }) => long)).toContain(`--${name}`)
  })

  it('are explained with an example in the help of each command', () => {
    for (const command of providersCommands()) {
      let help = ''
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp()
      expect(help).toContain(`$ portal-sso providers ${command.name()}`)
    }
  })
})

describe('portal-sso providers at a terminal', () => {
  const clear = '\u0015'
  const down = '\u001b[B'

  it('asks for missing values, repeats the question after an invalid answer, and hides the secret', async () => {
    const { code, screen, answered } = await cli.converse(
      ['providers', 'add'],
      [
        ['Name in URLs', 'Acme AG\r'],
        ['write 1 to 40 lower-case letters', `${clear}acme\r`],
        ['Issuer', 'id.acme.com\r'],
        ['enter a full URL', `${clear}${provider.issuer}\r`],
        ['Client ID', `${provider.clientId}\r`],
        ['Client secret', `${clientSecret}\r`],
        ['Whose addresses do you trust?', `${down}\r`],
        ['E-mail domains', '\r'],
        ['please enter a value', 'Example.com example\r'],
        ['write a domain', `${clear}Example.com, example.org\r`],
        ['Test a sign-in now', 'n'],
      ],
    )
    expect({ code, answered }).toEqual({ code: 0, answered: 11 })
    expect(screen).toContain('Choose this only if your own administrators')
    expect(screen).toContain('write 1 to 40 lower-case letters')
    expect(screen).toContain('for example https://id.acme.com')
    expect(screen).toContain('✓ the issuer is')
    expect(screen).toContain('acme is connected, but not enabled yet.')
    expect(screen).not.toContain(clientSecret)
    expect(await listProviders()).toMatchObject([
      { slug: 'acme', enabled: false, trustsEmail: true, emailDomains: ['example.com', 'example.org'] },
    ])
  })

  /** The answers from the client secret on, for an issuer that does not respond, and the correct one for the second try. */
  const correctIssuer = (): [question: string, answer: string][] => [
    ['Client secret', `${clientSecret}\r`],
    ['Whose addresses do you trust?', '\r'],
    ['E-mail domains', '\r'],
    ['Change your answers and try again?', '\r'],
    ['Issuer', `${provider.issuer}\r`],
    ['Client ID', '\r'],
    ['leave empty to keep it', '\r'],
  ]

  it('asks again if the test fails, and keeps the answers that are left empty', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`
    const { code, screen } = await cli.converse(
      ['providers', 'add', '--slug', 'acme', '--disabled'],
      [['Issuer', `${nobody}\r`], ['Client ID', `${provider.clientId}\r`], ...correctIssuer()],
    )
    expect(code).toBe(0)
    expect(screen).toContain(`no usable discovery document at ${nobody}`)
    expect(screen).not.toContain(clientSecret)
    expect(await listProviders()).toMatchObject([{ issuer: provider.issuer, clientId: provider.clientId }])
    expect(await readClientSecret('acme')).toBe(clientSecret)
  })

  it('asks again for the values of flags, too', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`
    const flags = ['--issuer', nobody, '--client-id', provider.clientId]
    const { code } = await cli.converse(
      ['providers', 'add', '--slug', 'acme', '--disabled', ...flags],
      correctIssuer(),
    )
    expect(code).toBe(0)
    expect(await listProviders()).toMatchObject([{ issuer: provider.issuer, clientId: provider.clientId }])
  })

  it('exits with 1 after Ctrl-C, and changes nothing', async () => {
    const { code, screen } = await cli.converse(
      ['providers', 'add', '--slug', 'acme'],
      [['Issuer', '\u0003']],
    )
    expect(code).toBe(1)
    expect(screen).toContain('stopped; nothing was changed')
    expect(await listProviders()).toEqual([])
  })
})

/** An outage, as an instance has recorded it. @returns when it began */
const recordOutage = (slug: string) =>
  cli.withDatabase(async (knex) => {
    const at = '2026-01-02T03:04:05.000Z'
    const found = { failing_since: at, endpoint: 'token', fault: 'unreachable', checked_at: at }
    const [provider_id] = await knex('sso_providers').where({ slug }).pluck('id')
    await knex('sso_provider_health').insert({ provider_id, ...found, claimed_at: at, due_at: at })
    return at
  })

describe('portal-sso providers list and show', () => {
  it('list shows providers in the order of the login page, as text and JSON, without secrets', async () => {
    await connect('acme', { displayName: 'Acme AG', enabled: false })
    await connect('second', { displayName: 'Second' })
    await cli.fromCode(({ providers }) => providers.recommend('second'))
    const at = await recordOutage('second')
    const [table, json] = await Promise.all([
      cli.run(['providers', 'list']),
      cli.run(['providers', 'list', '--json']),
    ])
    expect(table.stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['SLUG', 'NAME', 'ENABLED', 'RECOMMENDED', 'FAILING SINCE', 'ISSUER'],
      ['second', 'Second', 'yes', 'yes', at, provider.issuer],
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

  it('show prints all settings, the URLs and the last test, without secrets', async () => {
    await connect('acme', { displayName: 'Acme AG', enabled: false })
    const at = await recordOutage('acme')
    const [text, json, none] = await Promise.all([
      cli.run(['providers', 'show', 'acme']),
      cli.run(['providers', 'show', 'acme', '--json']),
      cli.run(['providers', 'show', 'nobody', '--json']),
    ])
    for (const expected of [
      'Acme AG',
      provider.issuer,
      'disabled, sign-in not tested',
      `the token endpoint cannot be reached, since ${at}, last checked ${at}`,
      'Trust every e-mail address from this provider  no',
      '/login/acme/callback',
      '✓ the issuer is',
    ])
      expect(text.stdout).toContain(expected)
    expect(JSON.parse(json.stdout)).toMatchObject({
      slug: 'acme',
      enabled: false,
      urls: { backChannelLogoutUri: 'http://localhost:3000/logout/acme/backchannel' },
    })
    for (const { stdout } of [text, json]) expect(stdout).not.toContain(clientSecret)
    expect(none).toMatchObject({ code: 1, stdout: '' })
    expect(JSON.parse(none.stderr)).toMatchObject({
      error: 'no provider is called "nobody" in the portal "default"',
      code: 'not_found',
    })
  })

  it('add prints the admin-consent redirect URI of a preset before it connects the provider', async () => {
    provider.faults.discovery = { issuer: 'https://nobody.example' }
    const env = { BASE_URL: 'https://portal.example.com', MOUNT_PATH: '/sso', PORTAL_SSO_CLIENT_SECRET: 'x' }
    const addWith = (preset: string) => cli.run([...addArguments('acme'), preset], { env })
    const [entra, generic] = await Promise.all([addWith('entra'), addWith('generic')])
    const address = 'https://portal.example.com/sso/login/acme/admin-consent/callback'
    expect(entra.stdout).toContain(`Second redirect URI  ${address}`)
    expect(generic.stdout).not.toContain(address)
  })

  it('presets lists the questions of each preset', async () => {
    const [text, json] = await Promise.all([
      cli.run(['providers', 'presets']),
      cli.run(['providers', 'presets', '--json']),
    ])
    expect(text.stdout).toContain('--tenant  Directory (tenant) ID')
    expect((JSON.parse(json.stdout) as { name: string }[]).map(({ name }) => name)).toEqual(
      presets.map(({ name }) => name),
    )
  })
})

describe('portal-sso providers test', () => {
  it('prints one line per check, each passed', async () => {
    await connect('acme', { emailDomains: ['example.com'] })
    const { code, stdout } = await cli.run(['providers', 'test', 'acme'])
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.filter((line) => !line.startsWith('  ✓ '))).toEqual([
      '  – the provider does not announce back-channel logout',
    ])
    expect(lines.length).toBeGreaterThanOrEqual(6)
  })

  it.each<[what: string, faults: Faults, message: string, hint: string]>([
    [
      'has another issuer',
      { discovery: { issuer: 'https://other.example' } },
      'the discovery document names another issuer: "https://other.example"',
      'compare its "issuer" with what you entered',
    ],
    [
      'publishes no keys',
      { jwksResponse: { status: 500, body: 'out of order' } },
      'the keys cannot be used: the key set responded with 500',
      '/jwks from this server',
    ],
  ])('reports a provider that %s, with a hint', async (_what, faults, message, hint) => {
    await connect('acme')
    Object.assign(provider.faults, faults)
    const { code, stdout, stderr } = await cli.run(['providers', 'test', 'acme'])
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'Testing acme …\n' })
    const lines = stdout.split('\n')
    const failed = lines.findIndex((line) => line.startsWith('  ✗ '))
    expect(lines[failed]).toContain(message)
    expect(lines[failed + 1]).toMatch(/^ {4}→ /)
    expect(lines[failed + 1]).toContain(hint)
  })

  it('escapes control characters in the metadata of a provider, as text and as JSON', async () => {
    await connect('acme')
    const hostile = '\u001b[2J\u009b31m\n  ✓ forged\u202e'
    provider.faults.discovery = { response_types_supported: [hostile] }
    const [text, json] = await Promise.all([
      cli.run(['providers', 'test', 'acme']),
      cli.run(['providers', 'test', 'acme', '--json']),
    ])
    for (const { code, stdout } of [text, json]) {
      expect(code).toBe(1)
      expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}]/u)
    }
    expect(text.stdout).not.toMatch(/^ {2}✓ forged/m)
    expect(json.stderr).toBe('')
    const { ok, checks } = JSON.parse(json.stdout) as { ok: boolean; checks: { message: string }[] }
    expect(ok).toBe(false)
    expect(checks.some(({ message }) => message.includes('forged'))).toBe(true)
  })

  it('prints JSON that is unchanged after parsing, although control characters are escaped', () => {
    const hostile = '\u001b[2J\u009b31m\n\u202e\u{e0001}\u2028'
    const log = jest.spyOn(console, 'log').mockImplementation(() => {})
    try {
      printJson({ hostile })
      const [[printed]] = log.mock.calls as [[string]]
      expect(printed).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}]/u)
      expect(JSON.parse(printed)).toEqual({ hostile })
    } finally {
      log.mockRestore()
    }
  })
})

describe('portal-sso providers update', () => {
  it('changes the given settings, keeps all others, and resets settings to their defaults', async () => {
    await connect('acme')
    const first = await cli.run([
      ...['providers', 'update', 'acme', '--name', 'Acme AG', '--prompt', 'login', '--trusts-email'],
      ...['--email-domain', 'acme.com', 'acme.de', '--logout', 'portal', '--response-mode', 'form_post'],
      '--front-channel-logout',
      ...['--authorization-parameter', 'hd=acme.com', 'x=a=b', '--client-secret-expires', '2027-01-31'],
    ])
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('acme is changed (') })
    const shown = await cli.run(['providers', 'show', 'acme'])
    expect(shown.stdout).toMatch(/Front-channel logout +yes/)
    expect(shown.stdout).toContain('/logout/acme/frontchannel')
    const changed = {
      displayName: 'Acme AG',
      prompt: 'login',
      trustsEmail: true,
      emailDomains: ['acme.com', 'acme.de'],
      logout: 'portal',
      frontChannelLogout: true,
      responseMode: 'form_post',
      authorizationParameters: { hd: 'acme.com', x: 'a=b' },
      clientSecretExpiresAt: '2027-01-31T00:00:00.000Z',
      issuer: provider.issuer,
    }
    expect(await listProviders()).toMatchObject([changed])
    const second = await cli.run([
      ...['providers', 'update', 'acme', '--no-trusts-email', '--no-front-channel-logout', '--json'],
      ...['--unset', 'prompt,email-domain,authorization-parameter'],
    ])
    expect(second).toMatchObject({ code: 0, stderr: '' })
    const reset = {
      prompt: undefined,
      trustsEmail: false,
      frontChannelLogout: false,
      emailDomains: [],
      authorizationParameters: {},
    }
    expect(await listProviders()).toMatchObject([{ ...changed, ...reset }])
    expect(await readClientSecret('acme')).toBe(clientSecret)
  })

  it('changes names and notes by language, and the logo, for which it contacts no provider', async () => {
    await connect('acme')
    provider.faults.discoveryDrop = true
    const logo = path.join(cli.folder, 'logo.png')
    fs.writeFileSync(logo, pngOf(32, 32))
    const texts = [
      '--label',
      'de=Kundenportal',
      'fr=Portail',
      '--note',
      'New here?',
      '--note-in',
      'de=Neu hier?',
    ]
    const both = await cli.run(['providers', 'update', 'acme', ...texts, '--logo', logo])
    expect(both).toMatchObject({ code: 0, stderr: '' })
    expect(both.stdout).toBe('acme is changed (labels, note, notes, logo).\n')
    const changed = {
      labels: { de: 'Kundenportal', fr: 'Portail' },
      note: 'New here?',
      notes: { de: 'Neu hier?' },
      logoHash: expect.stringMatching(/^[\w-]{22}$/),
    }
    expect(await listProviders()).toMatchObject([changed])
    const [svg, removed] = await Promise.all([
      cli.refusal(['providers', 'update', 'acme', '--logo', writeFile('logo.svg', '<svg/>')]),
      cli.run(['providers', 'update', 'acme', '--no-logo', '--json']),
    ])
    expect(svg).toBe('the logo must be a PNG or WebP image')
    expect(JSON.parse(removed.stdout)).toMatchObject({
      provider: { labels: changed.labels },
      changed: ['logo'],
    })
    expect((await listProviders())[0]).not.toHaveProperty('logoHash', expect.anything())
  })

  it('reads a new client secret from a file, and never prints it', async () => {
    await connect('acme')
    provider.faults.clientSecrets = [newSecret]
    const changes = [
      '--client-secret-file',
      writeFile('new', newSecret),
      '--client-secret-expires',
      '2028-01-31',
    ]
    const result = await cli.run(['providers', 'update', 'acme', ...changes])
    expect(result).toMatchObject({ code: 0 })
    expect(result.stdout + result.stderr).not.toContain(newSecret)
    expect(await readClientSecret('acme')).toBe(newSecret)
    expect(await listProviders()).toMatchObject([{ clientSecretExpiresAt: '2028-01-31T00:00:00.000Z' }])
  })

  it('refuses unknown settings, a missing required setting, and a new issuer with the old client secret', async () => {
    await connect('acme')
    const update = (...more: string[]) => cli.refusal(['providers', 'update', 'acme', ...more])
    expect(
      await Promise.all([
        update(),
        update('--unset', 'colour'),
        update('--unset', 'issuer'),
        update('--issuer', 'https://id.attacker.example'),
        update('--client-secret-expires', 'soon'),
      ]),
    ).toEqual([
      expect.stringContaining('nothing to change'),
      expect.stringMatching(/^--unset: "colour" is not a setting; use name, label, note, note-in, issuer, /),
      '--issuer: is required',
      '--client-secret-file: enter the client secret again, because the issuer changes',
      expect.stringContaining('write a date such as `2027-01-31`'),
    ])
    expect(await listProviders()).toMatchObject([{ version: 1 }])
  })
})

describe('portal-sso providers enable, recommend and reorder', () => {
  it('change the provider and the order of the login page', async () => {
    await connect('acme', { enabled: false })
    await connect('second')
    const runAndList = async (...args: string[]) => {
      expect(await cli.run(['providers', ...args])).toMatchObject({ code: 0, stderr: '' })
      return (await listProviders()).map(({ slug, enabled, recommended }) => [slug, enabled, recommended])
    }
    expect(await runAndList('enable', 'acme', '--without-test-sign-in')).toEqual([
      ['acme', true, false],
      ['second', true, false],
    ])
    const reordered = [
      ['second', true, false],
      ['acme', true, false],
    ]
    expect(await runAndList('reorder', 'second', 'acme')).toEqual(reordered)
    expect(await runAndList('recommend', 'acme')).toEqual([
      ['acme', true, true],
      ['second', true, false],
    ])
    expect(await runAndList('recommend', '--none')).toEqual(reordered)
    expect(await cli.refusal(['providers', 'recommend'])).toContain('or --none')
  })

  it('print their result as JSON', async () => {
    await connect('acme')
    const resultOf = async (...args: string[]) => {
      const { stdout, stderr } = await cli.run(['providers', ...args, '--json'])
      expect(stderr).toBe('')
      return JSON.parse(stdout) as unknown
    }
    expect(await resultOf('enable', 'acme')).toEqual({ slug: 'acme', enabled: true })
    expect(await resultOf('recommend', 'acme')).toEqual({ recommended: 'acme' })
    expect(await resultOf('recommend', '--none')).toEqual({ recommended: null })
    expect(await resultOf('reorder', 'acme')).toEqual({ order: ['acme'] })
  })
})
