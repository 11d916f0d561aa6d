import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import * as z from 'zod'
import { buildProgram } from '../../lib/cli/program.ts'
import { readResets, readSettings } from '../../lib/cli/providers/update.ts'
import { authorizationParameters, reservedParameters } from '../../lib/providers/setting-values.ts'
import { describeSetting, type Setting, settings } from '../../lib/providers/settings.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import type { AdminText } from '../../lib/shared/phrase.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'

/** A setting that no other code mentions. */
const region: Setting = {
  schema: z.enum(['eu', 'us']).optional(),
  affectsSignIn: true,
  flag: '--region <region>',
  label: 'Data region',
  hint: 'Where the provider stores its users.',
  control: 'select',
  choices: ['eu', 'us'],
  emptyChoice: 'Any region',
  section: 'protocol',
}

let provider: FaultyProvider
let portal: TestPortal
const admin = new Visitor()

beforeAll(async () => {
  Object.assign(settings, { region })
  provider = await startFaultyProvider()
})
afterAll(async () => {
  delete (settings as Record<string, unknown>).region
  await provider.close()
})
beforeEach(async () => {
  portal = await startPortal({
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
    },
  })
  await portal.knex.schema.alterTable('sso_providers', (table) => void table.string('region', 2))
})
afterEach(() => portal.close())

const connect = (more: object = {}) => portal.connect(provider, more)
const acme = async () => (await portal.sso.providers.find('acme')) as unknown as Record<string, unknown>
const update = (changes: object) => portal.sso.providers.update('acme', changes)
const page = async (path: string) => (await admin.get(`${portal.url}/admin/sso${path}`)).body
const row = () => portal.knex('sso_providers').first()

it('the message about a reserved parameter names all of them', () => {
  const { error } = authorizationParameters.safeParse({ state: 'x' })
  expect(error?.issues[0]?.message).toContain(`must not contain ${reservedParameters.join(', ')}: `)
})

it('a value is translated where it has words of ours', () => {
  const say = (text: AdminText) => `<${String(text)}>`
  expect(describeSetting('logout', 'portal', say)).toEqual([
    '<Sign-out ends>',
    '<portal: the provider’s session stays>',
  ])
  expect(describeSetting('dpop', false, say)[1]).toBe('<no>')
  expect(describeSetting('displayName', 'no', say)[1]).toBe('no')
})

describe('a setting that is added only to the settings table', () => {
  it('is validated under its own name', async () => {
    const error: unknown = await connect({ region: 'mars' }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ManagementError)
    expect(error).toMatchObject({ code: 'invalid', issues: [{ path: 'region' }] })
    await connect({ region: 'eu' })
    await expect(update({ region: 'mars' })).rejects.toMatchObject({ issues: [{ path: 'region' }] })
  })

  it('is stored in its column, read back, and reset by null', async () => {
    await connect({ region: 'eu' })
    expect(await row()).toMatchObject({ region: 'eu' })
    expect(await acme()).toMatchObject({ region: 'eu' })
    await update({ region: 'us' })
    expect(await acme()).toMatchObject({ region: 'us' })
    await update({ region: null })
    expect(await row()).toMatchObject({ region: null })
    expect(await acme()).toMatchObject({ region: undefined })
  })

  it('is a control in both forms, which save it', async () => {
    for (const path of ['/new/generic', '/new/entra']) {
      const form = await page(path)
      expect(form).toContain('Data region')
      expect(form).toMatch(/<select [^>]*name="region"[\s\S]*?Any region[\s\S]*?<option value="us">us/)
      expect(form).toContain('Where the provider stores its users.')
    }
    const { issuer, clientId, clientSecret } = provider
    const entries = { displayName: 'Acme', issuer, clientId }
    const post = (path: string, form: object) =>
      admin.post(`${portal.url}/admin/sso${path}`, { ...entries, ...form })
    expect(await post('/new/generic', { slug: 'acme', clientSecret, region: 'mars' })).toMatchObject({
      status: 422,
      body: expect.stringContaining('id="field-region-error"'),
    })
    expect(await post('/new/generic', { slug: 'acme', clientSecret, region: 'us' })).toMatchObject({
      status: 303,
    })
    expect(await acme()).toMatchObject({ region: 'us' })
    expect(await page('/acme/edit')).toContain('<option value="us" selected>us</option>')
    expect(await post('/acme/edit', { version: '1', region: 'eu' })).toMatchObject({ status: 303 })
    expect(await acme()).toMatchObject({ region: 'eu' })
    expect(await post('/acme/edit', { version: '2', region: '' })).toMatchObject({ status: 303 })
    expect(await acme()).toMatchObject({ region: undefined })
  })

  it('is shown on the provider page', async () => {
    await connect({ region: 'eu' })
    expect(await page('/acme')).toContain('<dt>Data region</dt><dd><bdi>eu</bdi></dd>')
  })

  it('is an option of `providers add` and `providers update`, in their help, and can be unset', async () => {
    const group = buildProgram().commands.find((each) => each.name() === 'providers')!
    for (const name of ['add', 'update']) {
      const command = group.commands.find((each) => each.name() === name)!
      const option = command.options.find(({ long }) => long === '--region')!
      expect(option).toMatchObject({ argChoices: ['eu', 'us'] })
      expect(command.helpInformation()).toContain('--region <region>')
      expect(command.helpInformation()).toContain('Data region')
    }
    expect(await readSettings({ region: 'eu' })).toEqual({ region: 'eu' })
    expect(readResets('region')).toEqual({ region: null })
  })

  it('is exported and imported, with its differences', async () => {
    await connect({ region: 'eu' })
    const file = await portal.sso.providers.export()
    expect(file.providers[0]!.settings).toMatchObject({ region: 'eu' })
    await update({ region: 'us' })
    const [result] = await portal.sso.providers.import(JSON.stringify(file), { update: true })
    expect(result).toEqual({
      slug: 'acme',
      outcome: 'updated',
      changes: { region: { here: 'us', file: 'eu' } },
    })
    expect(await acme()).toMatchObject({ region: 'eu' })
    const wrong = JSON.stringify(file).replace('"region":"eu"', '"region":"mars"')
    await expect(portal.sso.providers.import(wrong)).rejects.toThrow(/^acme: region: /)
  })

  it('is recorded with both values in the event of its change', async () => {
    await connect({ region: 'eu' })
    await update({ region: 'us', displayName: 'Acme' })
    const [detail] = await portal.knex('sso_events').where({ kind: 'provider-changed' }).pluck('detail')
    expect(JSON.parse(detail)).toEqual({
      change: 'region',
      before: '{"region":"eu"}',
      after: '{"region":"us"}',
    })
  })

  it.each([
    [true, null],
    [false, '2026-01-01T00:00:00.000Z'],
  ])(
    'requires a new test sign-in after a change if it affects sign-ins: %s',
    async (affectsSignIn, testSignInAt) => {
      region.affectsSignIn = affectsSignIn
      await connect({ region: 'eu' })
      await portal.knex('sso_providers').update({ test_sign_in_at: '2026-01-01T00:00:00.000Z' })
      await update({ region: 'eu' })
      expect((await row()).test_sign_in_at).not.toBeNull()
      await update({ region: 'us' })
      expect((await row()).test_sign_in_at).toBe(testSignInAt)
      region.affectsSignIn = true
    },
  )

  it('cannot be changed by a file while the provider is enabled, if it decides trust', async () => {
    await connect({ region: 'eu' })
    const file = JSON.stringify(await portal.sso.providers.export()).replace('"region":"eu"', '"region":"us"')
    region.decidesTrust = true
    const [result] = await portal.sso.providers.import(file, { update: true })
    delete region.decidesTrust
    expect(result).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('(region)') })
    expect(await acme()).toMatchObject({ region: 'eu' })
  })

  it('is missing from the form and cannot be set or changed by a file if only code may set it', async () => {
    await connect({ region: 'eu' })
    const file = JSON.stringify(await portal.sso.providers.export()).replace('"region":"eu"', '"region":"us"')
    region.codeOnly = true
    try {
      expect(await page('/acme/edit')).not.toContain('name="region"')
      const [changed] = await portal.sso.providers.import(file, { update: true })
      expect(changed).toMatchObject({
        outcome: 'failed',
        reason: expect.stringContaining('region: only code'),
      })
      const clientSecrets = { acme: provider.clientSecret }
      await portal.sso.providers.import(file, { clientSecrets, portal: 'other' })
      expect(await portal.sso.providers.get('acme', { portal: 'other' })).toMatchObject({ region: undefined })
    } finally {
      delete region.codeOnly
    }
    expect(await acme()).toMatchObject({ region: 'eu' })
  })
})
