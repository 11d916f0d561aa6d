import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { startCli } from '../support/cli.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { selfSigned } from '../support/self-signed.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let attacker: FaultyProvider
let portal: TestPortal
let folder: string
const admin = new Visitor()
const certificate = selfSigned('id.attacker.example').cert

beforeAll(async () => {
  provider = await startFaultyProvider()
  attacker = await startFaultyProvider()
})
afterAll(() => Promise.all([provider.close(), attacker.close()]))
beforeEach(async () => {
  provider.reset()
  attacker.reset()
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-secrets-'))
  fs.writeFileSync(path.join(folder, 'acme'), `${provider.clientSecret}\n`)
  fs.writeFileSync(path.join(folder, 'db'), 'password-of-the-database')
  process.env.ACME_CLIENT_SECRET = provider.clientSecret
  portal = await open()
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterEach(async () => {
  delete process.env.ACME_CLIENT_SECRET
  fs.rmSync(folder, { recursive: true })
  await portal.close()
})

const byVariable = 'env:ACME_CLIENT_SECRET'
const allowsAll = () => ({ env: /\w+_CLIENT_SECRET/, directories: [folder] })

/** @param more a database that is already in use, or a narrower allow-list */
const open = (more: object = {}) =>
  startPortal({
    secretReferences: allowsAll(),
    ...more,
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
    },
  })

const acme = async () => (await portal.sso.providers.find('acme'))!
const connect = (more: object = {}) =>
  portal.connect(provider, { clientSecret: undefined, clientSecretReference: byVariable, ...more })

async function signsIn(at = portal): Promise<boolean> {
  const visitor = new Visitor()
  await visitor.open(`${at.url}/login/acme`)
  return (await visitor.get(`${at.url}/portal`)).status === 200
}

const post = (page: string, form: Record<string, string>): Promise<Seen> =>
  admin.post(`${portal.url}/admin/sso${page}`, form)

/** Posts the edit form as it was shown, with some entries changed. */
async function edit(changes: Record<string, string>): Promise<string> {
  const { displayName, issuer, clientId, version } = await acme()
  const entries = { displayName, issuer, clientId, version: String(version), trustsEmail: 'on', ...changes }
  const { status, body } = await post('/acme/edit', entries)
  return `${status} ${body}`
}

/** @param changes settings of the file; the others are as in an export */
async function importFile(changes: object): Promise<string> {
  const file = await portal.sso.providers.export()
  const [exported] = file.providers
  const settings = { ...exported!.settings, ...changes }
  const text = JSON.stringify({ ...file, providers: [{ ...exported, settings }] })
  const [result] = await portal.sso.providers.import(text, { update: true })
  return `${result!.outcome} ${result!.reason ?? ''}`
}

const onlyCode = /only code and the command line can change it/i
const onlyCodeSets = /only code and the command line can set it/i
const messageOf = (action: Promise<unknown>) =>
  action.then(String, (error: Error) => `${(error as { code?: string }).code} ${error.message}`)

describe('a provider with a secret reference cannot be changed except by code and the command line:', () => {
  beforeEach(async () => {
    await connect({ enabled: false })
    attacker.faults.clientSecrets = [provider.clientSecret]
  })

  type Attempt = [what: string, attempt: () => Promise<string>]
  it.each<Attempt>([
    ['the issuer, by the form', () => edit({ issuer: attacker.issuer })],
    ['the certificate authority, by the form', () => edit({ certificateAuthority: certificate })],
    [
      'the metadata URL, by the form',
      () => edit({ metadataUrl: `${attacker.issuer}/.well-known/openid-configuration?p=a` }),
    ],
    ['the reference to a secret, by the form', () => edit({ clientSecret: 'known to the attacker' })],
    ['the issuer, by a file', () => importFile({ issuer: attacker.issuer })],
    ['the certificate authority, by a file', () => importFile({ certificateAuthority: certificate })],
    [
      'the metadata URL, by a file',
      () => importFile({ metadataUrl: `${attacker.issuer}/.well-known/openid-configuration?p=a` }),
    ],
    ['the reference, by a file', () => importFile({ clientSecretReference: `file:${folder}/db` })],
    ['the absence of the reference, by a file', () => importFile({ clientSecretReference: null })],
    ...(['form', 'file'] as const).flatMap((source): Attempt[] => {
      const update = (changes: object) => messageOf(portal.sso.providers.update('acme', changes, { source }))
      return [
        [`the issuer, by update from a ${source}`, () => update({ issuer: attacker.issuer })],
        [
          `the certificate authority, by update from a ${source}`,
          () => update({ certificateAuthority: certificate }),
        ],
        [
          `the reference, by update from a ${source}`,
          () => update({ clientSecretReference: `file:${folder}/db` }),
        ],
        [
          `the absence of the reference, by update from a ${source}`,
          () => update({ clientSecretReference: null }),
        ],
        [`the reference to a secret, by update from a ${source}`, () => update({ clientSecret: 'known' })],
      ]
    }),
  ])('%s', async (_what, attempt) => {
    const before = await portal.knex('sso_providers')
    provider.requests.length = 0
    expect(await attempt()).toMatch(onlyCode)
    expect(await portal.knex('sso_providers')).toEqual(before)
    expect([...attacker.requests, ...provider.requests]).toEqual([])
  })

  it('the reference, by a field that the form does not have', async () => {
    expect(await edit({ clientSecretReference: `file:${folder}/db`, displayName: 'Renamed' })).toMatch(/^303/)
    expect(await acme()).toMatchObject({ clientSecretReference: byVariable, displayName: 'Renamed' })
    expect(await edit({ 'remove.clientSecret': 'on', displayName: 'Again' })).toMatch(/^303/)
    expect(await acme()).toMatchObject({ clientSecretReference: byVariable, displayName: 'Again' })
  })
})

describe('a secret reference cannot be set', () => {
  beforeEach(() => {
    process.env.ACME_CLIENT_SECRET = 'password-of-the-database'
  })

  const input = (reference: string) => ({
    slug: 'evil',
    issuer: attacker.issuer,
    clientId: attacker.clientId,
    clientSecretReference: reference,
  })

  it.each<[what: string, attempt: () => Promise<string>, refusal: RegExp]>([
    ...(['form', 'file'] as const).flatMap((source): [string, () => Promise<string>, RegExp][] => [
      [
        `by connect from a ${source}`,
        () => messageOf(portal.sso.providers.connect(input(byVariable), { source })),
        onlyCodeSets,
      ],
      [
        `by testUnsaved from a ${source}`,
        () => messageOf(portal.sso.providers.testUnsaved(input(`file:${folder}/db`), { source })),
        onlyCodeSets,
      ],
      [
        `by import with \`clientSecrets\` from a ${source}`,
        async () => {
          const { slug, clientSecretReference, ...settings } = input(byVariable)
          const providers = [{ slug, preset: 'generic', settings: { ...settings, displayName: 'Evil' } }]
          const text = JSON.stringify({ format: 'express-portal-sso providers', version: 1, providers })
          const options = { clientSecrets: { evil: clientSecretReference }, source }
          return String((await portal.sso.providers.import(text, options))[0]!.reason)
        },
        onlyCodeSets,
      ],
    ]),
    ...['test', 'save'].map((act): [string, () => Promise<string>, RegExp] => [
      `by the form of a new provider (${act})`,
      async () => {
        const entries = { ...input(`file:${folder}/db`), displayName: 'Evil', act }
        return (await post('/new/generic', entries)).body
      },
      /enter the client secret/i,
    ]),
    [
      'by a file with a new provider',
      async () => {
        const { slug, ...settings } = input(byVariable)
        const providers = [{ slug, preset: 'generic', settings: { ...settings, displayName: 'Evil' } }]
        const text = JSON.stringify({ format: 'express-portal-sso providers', version: 1, providers })
        const [result] = await portal.sso.providers.import(text)
        expect(result).toMatchObject({ outcome: 'failed', needsSecret: true })
        return String(result!.reason)
      },
      /its client secret is missing; to read it from env:ACME_CLIENT_SECRET, as in the file, give/,
    ],
  ])('%s', async (_what, attempt, refusal) => {
    expect(await attempt()).toMatch(refusal)
    expect(await portal.sso.providers.list()).toEqual([])
    expect(attacker.requests.filter(({ path }) => path === '/token')).toEqual([])
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toContain('password-of-the')
  })

  it.each(['form', 'file'] as const)('on a provider with a stored secret, from a %s', async (source) => {
    await portal.connect(provider)
    const update = portal.sso.providers.update('acme', { clientSecretReference: byVariable }, { source })
    expect(await messageOf(update)).toMatch(onlyCodeSets)
    expect(await importFile({ clientSecretReference: byVariable })).toMatch(onlyCodeSets)
    expect(await acme()).toMatchObject({ clientSecretReference: undefined, version: 1 })
  })

  it.each(['env:PATH', 'file:/etc/passwd', 'file:relative', 'vault:acme'])(
    'by code, if it is %s, which the option does not allow',
    async (reference) => {
      expect(await messageOf(portal.sso.providers.connect(input(reference)))).toMatch(
        /^(not_allowed|invalid) clientSecretReference: /,
      )
      expect(attacker.requests).toEqual([])
    },
  )

  it('beside a client secret', async () => {
    const both = { ...input(byVariable), clientSecret: 'secret' }
    expect(await messageOf(portal.sso.providers.connect(both))).toContain(
      'either the client secret or a reference',
    )
  })
})

describe('a secret reference', () => {
  it('can be set by code and used to sign in, without a secret in the database or the log', async () => {
    await connect()
    expect(await signsIn()).toBe(true)
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(await portal.knex('sso_providers')).toMatchObject([
      { client_secret: null, client_secret_reference: byVariable },
    ])
    const stored = await Promise.all(
      ['sso_providers', 'sso_events', 'sso_sessions'].map((name) => portal.knex(name)),
    )
    expect(JSON.stringify([stored, portal.logs])).not.toContain(provider.clientSecret)
  })

  it('replaces a stored secret, and a new secret replaces it', async () => {
    await portal.connect(provider)
    const { providers } = portal.sso
    const { issuer } = provider
    await providers.update('acme', { issuer, clientSecretReference: `file:${folder}/acme` })
    expect(await portal.knex('sso_providers').pluck('client_secret')).toEqual([null])
    expect(await signsIn()).toBe(true)
    await providers.update('acme', { clientSecret: provider.clientSecret })
    expect(await acme()).toMatchObject({ clientSecretReference: undefined })
    expect(await signsIn()).toBe(true)
  })

  it('is set only together with the issuer and certificates that decide who receives the secret', async () => {
    await portal.connect(attacker, { certificateAuthority: certificate })
    const set = (more: object = {}) =>
      portal.sso.providers.update('acme', { clientSecretReference: byVariable, ...more })
    await expect(set()).rejects.toThrow('issuer: give it together with the secret reference')
    await expect(set({ issuer: provider.issuer })).rejects.toThrow('certificateAuthority: give it together')
    await set({ issuer: provider.issuer, certificateAuthority: null })
    expect(JSON.stringify(attacker.requests)).not.toContain(provider.clientSecret)
  })

  it('is not used in the test of a change that removes it', async () => {
    await connect()
    await expect(portal.sso.providers.update('acme', { clientSecretReference: null })).rejects.toThrow(
      'enter the client secret',
    )
    expect(await acme()).toMatchObject({ clientSecretReference: byVariable })
  })

  it('allows code to move the provider to another issuer, which then receives the secret', async () => {
    await connect()
    attacker.faults.clientSecrets = [provider.clientSecret]
    await portal.sso.providers.update('acme', { issuer: attacker.issuer })
    expect(await acme()).toMatchObject({ issuer: attacker.issuer, clientSecretReference: byVariable })
  })

  it('is kept by forms and files that change other settings, without a new test sign-in', async () => {
    await connect()
    await portal.knex('sso_providers').update({ test_sign_in_at: '2026-01-01T00:00:00.000Z' })
    expect(await edit({ displayName: 'By form', trustsEmail: '' })).toMatch(/^303/)
    expect(await importFile({ displayName: 'By file' })).toBe('updated ')
    expect(await acme()).toMatchObject({
      displayName: 'By file',
      clientSecretReference: byVariable,
      testSignInAt: '2026-01-01T00:00:00.000Z',
    })
    expect(await signsIn()).toBe(true)
    const changes = await portal.knex('sso_events').where({ kind: 'provider-changed' }).pluck('detail')
    for (const detail of changes) expect(JSON.parse(detail).change).toBe('displayName')
  })

  it('is named on the pages of the provider', async () => {
    await connect()
    for (const page of ['/acme', '/acme/edit']) {
      const { body } = await admin.get(`${portal.url}/admin/sso${page}`)
      expect(body).toContain(`ead from ${byVariable}. Only code and the command line can change`)
      expect(body).not.toContain(provider.clientSecret)
    }
  })

  it('is read at each sign-in, so a rotated secret applies immediately', async () => {
    await connect({ clientSecretReference: `file:${folder}/acme` })
    expect(await signsIn()).toBe(true)
    provider.faults.clientSecrets = ['rotated']
    expect(await signsIn()).toBe(false)
    fs.writeFileSync(path.join(folder, 'acme'), 'rotated')
    expect(await signsIn()).toBe(true)
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toContain('"rotated"')
  })

  it('can name a file in a Kubernetes volume, where each name is a link that an update replaces', async () => {
    const link = (target: string, name: string) => fs.symlinkSync(target, path.join(folder, name))
    const publish = (name: string, secret: string) => {
      fs.mkdirSync(path.join(folder, name))
      fs.writeFileSync(path.join(folder, name, 'portal'), secret)
    }
    publish('..2026_11_28', provider.clientSecret)
    link('..2026_11_28', '..data')
    link('..data/portal', 'portal')
    await connect({ clientSecretReference: `file:${folder}/portal` })
    expect(await signsIn()).toBe(true)
    provider.faults.clientSecrets = ['rotated']
    publish('..2026_11_29', 'rotated')
    link('..2026_11_29', '..data_tmp')
    fs.renameSync(path.join(folder, '..data_tmp'), path.join(folder, '..data'))
    expect(await signsIn()).toBe(true)
  })

  it('that the option no longer allows stops sign-ins with a page, and the log gives the reason', async () => {
    await connect()
    const narrower = await open({ database: portal.knex, secretReferences: { env: /OTHER/ } })
    try {
      const { status, body } = await new Visitor().open(`${narrower.url}/login/acme`)
      expect([status, body]).toEqual([502, expect.stringContaining('An administrator must correct it')])
      expect(body).not.toContain('ACME_CLIENT_SECRET')
      const { fields } = narrower.logs.find(({ fields: { code } }) => code === 'provider_error')!
      expect(fields.cause).toContain('secretReferences.env does not allow env:ACME_CLIENT_SECRET')
      expect(JSON.stringify(narrower.logs)).not.toContain(provider.clientSecret)
      await expect(narrower.sso.providers.test('acme')).rejects.toThrow(
        'does not allow env:ACME_CLIENT_SECRET',
      )
      const page = await admin.post(`${narrower.url}/admin/sso/acme/test`)
      expect([page.status, page.body]).toEqual([
        422,
        expect.stringContaining('does not allow env:ACME_CLIENT_SECRET'),
      ])
    } finally {
      await narrower.close()
    }
  })

  it('that cannot be read does not keep the provider from ending sessions', async () => {
    await connect()
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
    const narrower = await open({ database: portal.knex, secretReferences: { env: /OTHER/ } })
    try {
      const token = await signLogoutToken(provider, { sub: 'ada' })
      const body = new URLSearchParams({ logout_token: token })
      const response = await fetch(`${narrower.url}/logout/acme/backchannel`, { method: 'POST', body })
      expect(response.status).toBe(200)
    } finally {
      await narrower.close()
    }
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
  })

  it('whose secret a provider quotes is not repeated in logs, events and pages', async () => {
    await connect()
    provider.faults.tokenError = {
      body: { error: 'invalid_grant', error_description: `wrong secret ${provider.clientSecret}` },
    }
    const seen = await new Visitor().open(`${portal.url}/login/acme`)
    expect(seen.status).toBeGreaterThanOrEqual(400)
    const output = JSON.stringify([seen.body, portal.logs, await portal.knex('sso_events')])
    expect(output).not.toContain(provider.clientSecret)
  })

  it('can be set on the command line if its environment allows it', async () => {
    const cli = await startCli(provider.clientSecret)
    try {
      await cli.renew()
      const { issuer, clientId } = provider
      const flags = ['--slug', 'acme', '--issuer', issuer, '--client-id', clientId, '--disabled']
      const add = ['providers', 'add', ...flags, '--client-secret-reference', `file:${folder}/acme`]
      expect(await cli.refusal(add)).toMatch(
        /^--client-secret-reference: the option secretReferences\.directories/,
      )
      const env = { SECRET_REFERENCES_DIRECTORIES: `/nowhere ${folder}` }
      expect(await cli.run(add, { env })).toMatchObject({ code: 0 })
      const reset = [
        'providers',
        'update',
        'acme',
        '--issuer',
        issuer,
        '--client-secret-reference',
        byVariable,
      ]
      const variable = { ACME_CLIENT_SECRET: provider.clientSecret, SECRET_REFERENCES_ENV: 'ACME_\\w+' }
      expect(await cli.run(reset, { env: { ...env, ...variable } })).toMatchObject({ code: 0 })
      const shown = await cli.run(['providers', 'show', 'acme', '--json'])
      expect(JSON.parse(shown.stdout)).toMatchObject({ clientSecretReference: byVariable })
      expect(await cli.refusal(reset, { env: { SECRET_REFERENCES_ENV: '(' } })).toMatch(
        /^SECRET_REFERENCES_ENV: /,
      )
    } finally {
      cli.close()
    }
  })
})
