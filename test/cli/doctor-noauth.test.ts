import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { playNoauth } from '../../lib/cli/doctor-noauth.ts'
import { configFromUrl, connectDatabase } from '../../lib/database/connect.ts'
import { migrate } from '../../lib/database/migrate.ts'
import { createPortalSso } from '../../lib/index.ts'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import type { Provider } from '../../lib/providers/provider.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'

const acme = {
  portal: 'default',
  slug: 'acme',
  preset: 'generic',
  issuer: 'https://id.acme.example',
  clientId: 'portal',
  emailClaim: 'email',
  trustsEmail: false,
  emailDomains: [],
  tenants: [],
} as unknown as Provider

const microsoft = (tenant: string) => ({
  preset: 'entra',
  issuer: `https://login.microsoftonline.com/${tenant}/v2.0`,
})
const ours = '4c1b2a3d-0000-4000-8000-00000000abcd'
const google = { preset: 'google', issuer: 'https://accounts.google.com' }
const trusting = { trustsEmail: true }
const bounded = { emailDomains: ['acme.example'] }

const play = (row: Partial<Provider>) => playNoauth({ ...acme, ...row })
const letThrough = (row: Partial<Provider>) =>
  play(row)
    .filter(({ result }) => result === 'failed')
    .map(({ name }) => name)

const unverified = ['unverified', 'unsaid', 'text', 'borrowed']

describe('a row', () => {
  it.each<[string, Partial<Provider>]>([
    ['as it is connected by default', {}],
    ['with domains', bounded],
    ['that trusts the addresses of its domains', { ...trusting, ...bounded }],
    ['that matches by a user name', { emailClaim: 'preferred_username' }],
    ['of Google with a Workspace domain', { ...google, ...bounded }],
    ['of a GitLab of your own', { preset: 'gitlab', issuer: 'https://gitlab.acme.example' }],
    ['of gitlab.com with domains', { preset: 'gitlab', issuer: 'https://gitlab.com', ...bounded }],
    ['of Entra for one tenant', microsoft(ours)],
    ['of Entra for one tenant, trusted for its domains', { ...microsoft(ours), ...trusting, ...bounded }],
    ['of Entra for named tenants', { ...microsoft('organizations'), tenants: [ours] }],
    ['of Entra for every organisation', microsoft('organizations')],
    ['of Entra for every organisation, with domains', { ...microsoft('organizations'), ...bounded }],
  ])('%s lets nothing through', (_row, row) => {
    expect(letThrough(row)).toEqual([])
  })

  it.each<[string, Partial<Provider>, string[], RegExp]>([
    ['that trusts every address', trusting, unverified, /emailDomains/],
    [
      'that trusts every user name',
      { ...trusting, emailClaim: 'preferred_username' },
      [...unverified, 'username'],
      /emailDomains/,
    ],
    ['of Google without a Workspace domain', google, ['anybody'], /emailDomains/],
    ['connected as generic, of Google all the same', { issuer: google.issuer }, ['anybody'], /emailDomains/],
    ['of gitlab.com without domains', { issuer: 'https://gitlab.com' }, ['anybody'], /emailDomains/],
    [
      'of Google that trusts what Google does not verify',
      { ...google, ...trusting, ...bounded },
      unverified,
      /turn off trustsEmail/,
    ],
    [
      'of Entra for one tenant, trusted with every address',
      { ...microsoft(ours), ...trusting },
      [...unverified, 'tenant', 'edov-false', 'edov-text'],
      /emailDomains/,
    ],
    [
      'of Microsoft without the preset that knows it',
      { ...microsoft(ours), preset: 'generic' },
      ['tenant', 'edov-false', 'edov-text'],
      /preset entra/,
    ],
    ...[
      `https://login.microsoftonline.us/${ours}/v2.0`,
      `https://login.partner.microsoftonline.cn/${ours}/v2.0`,
      `https://sts.windows.net/${ours}/`,
    ].map((issuer): [string, Partial<Provider>, string[], RegExp] => [
      `of Microsoft at ${new URL(issuer).hostname}, without that preset`,
      { issuer },
      ['tenant', 'edov-false', 'edov-text'],
      /preset entra/,
    ]),
  ])('%s lets through what it is told to, with what to change', (_row, row, names, hint) => {
    expect(letThrough(row)).toEqual(names)
    for (const check of play(row).filter(({ result }) => result === 'failed')) {
      expect(check.message).toContain('signed in as the owner of the address')
      expect(check.hint).toMatch(hint)
    }
  })

  it('that trusts every address is warned of, with the reason', () => {
    expect(play(trusting)).toContainEqual({
      name: 'trust',
      result: 'warning',
      message: expect.stringMatching(
        /without emailDomains\): anyone who can set addresses there can sign in as anyone/,
      ),
      hint: expect.stringContaining('list the domains'),
    })
    expect(play({ ...trusting, ...bounded })).toContainEqual({
      name: 'trust',
      result: 'ok',
      message: expect.stringMatching(/for acme\.example only$/),
    })
    expect(play({}).map(({ name }) => name)).not.toContain('trust')
  })

  it('is attacked with an address of its own domains where that has to be verified, and of another where it has not', () => {
    const names = play(bounded).map(({ name, message }) => [name, message.split(': ').at(-1)])
    expect(names).toContainEqual(['unverified', 'stopped, a code goes to the owner of the address'])
    expect(names).toContainEqual(['other-domain', 'stopped, a code goes to the owner of the address'])
    // With the domain that the attack takes for another one, it takes yet another.
    expect(letThrough({ ...trusting, emailDomains: ['elsewhere.example'] })).toEqual([])
  })

  it('whose attacker only gets what is his own says so', () => {
    const { message } = play({}).find(({ name }) => name === 'username')!
    expect(message).toMatch(/stopped, the attacker only gets an account of their own$/)
  })
})

describe('portal-sso doctor noauth', () => {
  const secret = 'a-secret-for-tests-that-is-longer-than-32-characters'
  let provider: FaultyProvider
  let folder: string
  let databaseUrl: string

  beforeAll(async () => {
    provider = await startFaultyProvider()
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-noauth-'))
  })
  afterAll(async () => {
    fs.rmSync(folder, { recursive: true })
    await provider.close()
  })
  beforeEach(() => {
    databaseUrl = `sqlite:${path.join(fs.mkdtempSync(path.join(folder, 'portal-')), 'sqlite')}`
  })

  async function connect(...rows: (Partial<ProviderInput> & { portal?: string })[]): Promise<void> {
    const { knex, close } = connectDatabase(configFromUrl(databaseUrl))
    try {
      await migrate(knex)
      const { providers } = await createPortalSso({
        baseUrl: 'http://localhost:3000',
        secret,
        database: knex,
      })
      const { issuer, clientId, clientSecret } = provider
      for (const { portal, ...row } of rows)
        await providers.connect({ slug: 'acme', issuer, clientId, clientSecret, ...row }, { portal })
    } finally {
      await close()
    }
  }

  const run = (...flags: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const { PATH, HOME, TMPDIR } = process.env
      const env = { PATH, HOME, TMPDIR, DATABASE_URL: databaseUrl, SSO_SECRET: secret }
      const args = ['--import', 'tsx', 'lib/cli/portal-sso.ts', 'doctor', 'noauth', ...flags]
      execFile(process.execPath, args, { env }, (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
      )
    })

  it('says row by row what stops each attack, and ends with 0 when all are stopped', async () => {
    await connect(
      { displayName: 'Acme AG' },
      { slug: 'second', enabled: false, emailDomains: ['acme.example'] },
    )
    const { code, stdout, stderr } = await run()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('Provider acme (Acme AG)\n  ✓ an unverified address')
    expect(stdout).toContain('Provider second (second, disabled)\n')
    expect(stdout).toContain('a verified address of a domain that the settings do not list: stopped')
    expect(stdout).toMatch(/\nNo provider lets an attack through\.\n$/)
    expect(stdout).not.toMatch(/[✗!→]/)
  })

  it('names the row that lets one through, says once what to change, and ends with 1', async () => {
    await connect({}, { slug: 'loose', portal: 'shop', trustsEmail: true })
    const { code, stdout } = await run()
    expect(code).toBe(1)
    expect(stdout).toContain('Provider loose of portal shop (loose)\n  ✗ an unverified address')
    expect(stdout.match(/→ list the domains that you trust it for/g)).toHaveLength(1)
    expect(stdout).toContain('! every address is trusted')
    expect(stdout).toMatch(/\nThese providers let an attack through: loose\.\n$/)
    // Of the other portal alone, there is nothing to say.
    expect((await run('--portal', 'default')).code).toBe(0)
  })

  it('tells the same to scripts', async () => {
    await connect({ trustsEmail: true })
    const { code, stdout } = await run('--json')
    expect(code).toBe(1)
    const [row, ...others] = JSON.parse(stdout) as object[]
    expect(others).toEqual([])
    expect(row).toMatchObject({ portal: 'default', slug: 'acme', displayName: 'acme', enabled: true })
    expect(row).toHaveProperty('checks.0', {
      name: 'unverified',
      result: 'failed',
      message: expect.stringMatching(/signed in as the owner of the address$/),
      hint: expect.any(String),
    })
  })

  it('has nothing to attack where nothing is connected', async () => {
    await connect()
    expect(await run()).toEqual({
      code: 0,
      stdout: 'No provider is connected, so there is nothing to check.\n',
      stderr: '',
    })
  })
})
