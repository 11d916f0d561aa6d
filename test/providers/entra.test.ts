import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type ProviderInput, readInput } from '../../lib/management/provider-input.ts'
import type { ProviderChanges } from '../../lib/providers/settings.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import {
  contoso,
  type EntraClaims,
  type EntraLookAlike,
  entraError,
  fabrikam,
  startEntraLookAlike,
} from '../support/entra-look-alike.ts'
import type { Faults } from '../support/faulty-provider.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

const stranger = '33333333-aaaa-4bbb-8ccc-000000000003'
const personalAccounts = '9188040d-6c67-4c5b-b112-36a304b66dad'

let entra: EntraLookAlike
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  entra = await startEntraLookAlike()
})
afterAll(() => entra.close())
beforeEach(() => {
  entra.reset()
  visitor = new Visitor()
})
afterEach(() => portal.close())

/** With Ada, whom the portal knows, and a row for the tenants given. */
async function open(
  tenant: string,
  settings: Partial<ProviderInput> = {},
  options: TestPortalOptions = {},
): Promise<void> {
  portal = await startPortal(options)
  await portal.connect(entra, { slug: 'entra', displayName: 'Contoso', ...entra.row(tenant), ...settings })
  await portal.sso.users.create({ email: 'ada@contoso.example', name: 'Ada', fields: {} })
}

const click = () => visitor.open(`${portal.url}/login/entra?returnTo=/portal`)
const isSignedIn = async () => (await visitor.get(`${portal.url}/portal`)).status === 200
const row = async () => (await portal.sso.providers.find('entra'))!
const causeOf = ({ body }: Seen) =>
  String(portal.logs.find(({ fields }) => body.includes(String(fields.reference)))?.fields.cause)

/** Each says for which issuer it signs, as Microsoft's do. */
const keysOf = (issuer: string) => (keys: object[]) => keys.map((key) => ({ ...key, issuer }))

type FaultsAt = (origin: string) => Faults

const vouched = { email: 'ada@contoso.example', xms_edov: true }

describe('people of Microsoft Entra ID sign in', () => {
  it.each<[rows: string, tenant: string, of: string]>([
    ['one tenant', contoso, contoso],
    ['several tenants', `${contoso} ${fabrikam}`, contoso],
    ['several tenants, from another of them', `${contoso},${fabrikam}`, fabrikam],
    ['every organisation', 'organizations', stranger],
  ])('where the row is for %s', async (_rows, tenant, tid) => {
    await open(tenant)
    entra.signsIn({ tid, ...vouched })
    entra.requests.length = 0
    await click()
    expect(await isSignedIn()).toBe(true)
    // The code is redeemed once, and the keys are asked for once, whoever has to be told apart.
    const asked = entra.requests.map(({ method, path }) => `${method} ${path}`)
    expect(asked.filter((each) => each === 'POST /token')).toHaveLength(1)
    expect(asked.filter((each) => each === 'GET /jwks')).toHaveLength(1)
    const linked = await portal.knex('sso_identities').select('issuer', 'tenant_id', 'object_id')
    expect(linked).toEqual([{ issuer: entra.issuerOf(tid), tenant_id: tid, object_id: entra.person.oid }])
  })

  it('where the answer itself names the tenant’s issuer (RFC 9207)', async () => {
    await open('organizations')
    entra.signsIn(vouched)
    entra.faults.callbackParams = { iss: entra.issuerOf(contoso) }
    await click()
    expect(await isSignedIn()).toBe(true)
  })

  it.each([
    ['{tenantid}', 'organizations'],
    [contoso, 'organizations'],
    ['{tenantid}', contoso],
    [contoso, contoso],
  ])('with a key that may sign for the issuer of %s, where the row is for %s', async (tenant, ofRow) => {
    await open(ofRow)
    entra.signsIn(vouched)
    entra.faults.jwks = keysOf(entra.issuerOf(tenant))
    await click()
    expect(await isSignedIn()).toBe(true)
  })

  it('in two tenants as two identities, though all but the tenant is the same', async () => {
    await open('organizations')
    entra.signsIn(vouched)
    await click()
    visitor = new Visitor()
    entra.signsIn({ tid: fabrikam, ...vouched })
    await click()
    expect(await portal.knex('sso_identities').pluck('issuer')).toEqual([
      entra.issuerOf(contoso),
      entra.issuerOf(fabrikam),
    ])
  })

  it('with nothing but their directory noted later, where it was not known when they were linked', async () => {
    await open(contoso)
    entra.signsIn(vouched)
    await click()
    await portal.knex('sso_identities').update({ tenant_id: null, object_id: null })
    await click()
    const noted = () => portal.knex('sso_identities').select('tenant_id', 'object_id')
    const here = { tenant_id: contoso, object_id: entra.person.oid }
    expect(await noted()).toEqual([here])
    // What is there stays: whoever comes with another object id is nobody's successor by that.
    await portal.knex('sso_identities').update({ object_id: stranger })
    await click()
    expect(await noted()).toEqual([{ ...here, object_id: stranger }])
  })
})

describe('refused: a token of Entra', () => {
  const tid = /of a tenant( [0-9a-f-]{36})? that this provider does not accept \(tid\)/
  const iss = /unexpected JWT "iss" \(issuer\) claim value/
  const template = (origin: string) => `${origin}/{tenantid}/v2.0`
  const ownIssuer = (origin: string) => `${origin}/organizations/v2.0`
  const [one, several, any] = [contoso, `${contoso} ${fabrikam}`, 'organizations']

  it.each<[what: string, row: string, cause: RegExp, claims: EntraClaims, faults?: FaultsAt]>([
    ['of another tenant', one, iss, { tid: fabrikam }],
    ['of a tenant that is not on the list', several, tid, { tid: stranger }],
    ['of a personal account', any, tid, { tid: personalAccounts }],
    ['without a tenant', any, iss, {}, () => ({ claims: { tid: undefined } })],
    ['whose tenant is no GUID', any, tid, { tid: 'contoso.example' }],
    ['whose tenant is in capitals', any, tid, { tid: contoso.toUpperCase() }],
    ['whose tenant is the word for all', any, tid, { tid: 'organizations' }],
    ['whose tenant leads elsewhere', any, tid, { tid: `${contoso}/v2.0/../../evil` }],
    ['whose tenant is a list', any, tid, {}, () => ({ claims: { tid: [contoso] } })],
    [
      'whose tenant is not that of its issuer',
      any,
      iss,
      { tid: contoso },
      (origin) => ({ claims: { iss: `${origin}/${fabrikam}/v2.0` } }),
    ],
    [
      'whose issuer is that of the one tenant, and its `tid` another',
      one,
      tid,
      {},
      () => ({ claims: { tid: fabrikam } }),
    ],
    ['that names the template', any, iss, {}, (origin) => ({ claims: { iss: template(origin) } })],
    ['that names the row’s own issuer', any, iss, {}, (origin) => ({ claims: { iss: ownIssuer(origin) } })],
    [
      'that names the row’s own issuer, and no tenant',
      any,
      /does not name the issuer of a tenant/,
      {},
      (origin) => ({ claims: { iss: ownIssuer(origin), tid: undefined } }),
    ],
    [
      'of the tenant at another origin',
      any,
      iss,
      {},
      () => ({ claims: { iss: `https://evil.example/${contoso}/v2.0` } }),
    ],
    [
      'that somebody else signed',
      any,
      /signature verification failed/,
      {},
      () => ({ signature: 'foreign-key' }),
    ],
    [
      'signed by a key of personal accounts',
      any,
      /no applicable keys/,
      {},
      (origin) => ({ jwks: keysOf(`${origin}/${personalAccounts}/v2.0`) }),
    ],
    [
      'signed by a key of personal accounts, where the row is for one tenant',
      one,
      /no applicable keys/,
      {},
      (origin) => ({ jwks: keysOf(`${origin}/${personalAccounts}/v2.0`) }),
    ],
    [
      'signed by a key of another tenant',
      any,
      /no applicable keys/,
      {},
      (origin) => ({
        jwks: keysOf(`${origin}/${fabrikam}/v2.0`),
        callbackParams: { iss: `${origin}/${contoso}/v2.0` },
      }),
    ],
    ['without a signature', any, /"alg" header/, {}, () => ({ alg: 'none' })],
    ['for another audience', any, /"aud"/, {}, () => ({ claims: { aud: 'somebody-else' } })],
    ['with another nonce', any, /"nonce"/, {}, () => ({ claims: { nonce: 'another' } })],
    ['that has expired', any, /"exp"/, {}, () => ({ claims: { exp: 1 } })],
    ['that cannot be read', any, /failed to parse JWT/, {}, () => ({ tokenAnswer: { id_token: 'e.e.e' } })],
    ['that is not there', any, /"id_token"/, {}, () => ({ tokenAnswer: { id_token: undefined } })],
    [
      'in an answer of another issuer (RFC 9207)',
      any,
      /another issuer \(iss\)/,
      {},
      () => ({ callbackParams: { iss: `https://evil.example/${contoso}/v2.0` } }),
    ],
    [
      'in an answer of another tenant (RFC 9207)',
      any,
      iss,
      {},
      (origin) => ({ callbackParams: { iss: `${origin}/${fabrikam}/v2.0` } }),
    ],
    [
      'in an answer without the issuer that is promised (RFC 9207)',
      any,
      /"iss" \(issuer\) missing/,
      {},
      () => ({ announceIss: true }),
    ],
  ])('%s', async (_what, tenant, cause, claims, faults = () => ({})) => {
    const { announceIss = false } = faults(entra.origin)
    entra.faults.announceIss = announceIss
    await open(tenant)
    entra.signsIn({ ...vouched, ...claims })
    Object.assign(entra.faults, faults(entra.origin))
    entra.requests.length = 0
    const seen = await click()
    expect([seen.status, causeOf(seen)]).toEqual([400, expect.stringMatching(cause)])
    expect(await isSignedIn()).toBe(false)
    expect(await portal.knex('sso_identities')).toEqual([])
    expect(entra.requests.filter(({ path }) => path === '/token').length).toBeLessThan(2)
  })

  it('of a provider that is not Entra, and names a template all the same', async () => {
    portal = await startPortal()
    await expect(
      portal.connect(entra, { ...entra.row('organizations'), preset: 'generic', tenant: undefined }),
    ).rejects.toThrow('issuer')
  })
})

describe('a row for Entra', () => {
  it.each<[answer: string, path: string, tenants: string[]]>([
    [contoso, contoso, []],
    [` ${contoso.toUpperCase()} `, contoso, []],
    [`${contoso}, ${fabrikam};${contoso}`, 'organizations', [contoso, fabrikam]],
    ['Organizations', 'organizations', []],
  ])('is made of the answer %j', async (tenant, path, tenants) => {
    const { settings } = readInput({ slug: 'entra', preset: 'entra', clientId: 'portal', tenant })
    expect(settings).toMatchObject({ issuer: `https://login.microsoftonline.com/${path}/v2.0`, tenants })
  })

  it.each<[what: string, tenant: string, settings: Partial<ProviderInput>, sentence: RegExp]>([
    ['every tenant and all personal accounts', 'common', {}, /^tenant: enter the Directory \(tenant\) ID/],
    ['personal accounts', 'consumers', {}, /^tenant: enter the Directory/],
    ['a domain name', 'contoso.onmicrosoft.com', {}, /^tenant: enter the Directory/],
    ['a GUID and a word', `${contoso} organizations`, {}, /^tenant: enter the Directory/],
    ['the tenant of all personal accounts', personalAccounts, {}, /^tenant: personal Microsoft accounts/],
    ['it among others', `${contoso} ${personalAccounts}`, {}, /^tenant: personal Microsoft accounts/],
    [
      'it in the list itself',
      'organizations',
      { tenants: [personalAccounts] },
      /^tenants: personal Microsoft accounts/,
    ],
    ['another issuer', contoso, { issuer: 'https://id.acme.example' }, /^issuer: for Microsoft Entra ID/],
    ['the issuer of all', contoso, { issuer: 'https://login.microsoftonline.com/common/v2.0' }, /^issuer: /],
    [
      'a list beside one tenant',
      contoso,
      { tenants: [fabrikam] },
      /^tenants: the issuer belongs to one tenant/,
    ],
    ['trust in everybody', 'organizations', { trustsEmail: true }, /^trustsEmail: anyone can have a tenant/],
  ])('is refused with %s, asking nobody', async (_what, tenant, settings, sentence) => {
    portal = await startPortal()
    const input = { preset: 'entra', tenant, issuer: undefined, ...settings }
    const error: unknown = await portal.connect(entra, input).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ManagementError)
    expect((error as Error).message).toMatch(sentence)
    expect(await portal.sso.providers.list()).toEqual([])
    expect(entra.requests).toEqual([])
  })

  it.each<[what: string, changes: ProviderChanges, sentence: RegExp]>([
    ['to trust everybody', { tenants: null }, /^trustsEmail: /],
    ['to an empty list', { tenants: [] }, /^trustsEmail: /],
    ['to another kind of issuer', { issuer: 'http://127.0.0.1/common/v2.0', clientSecret: 'x' }, /^issuer: /],
  ])('cannot be changed %s', async (_what, changes, sentence) => {
    await open(`${contoso} ${fabrikam}`, { trustsEmail: true })
    const error: unknown = await portal.sso.providers
      .update('entra', changes)
      .catch((thrown: unknown) => thrown)
    expect((error as Error).message).toMatch(sentence)
    expect(await row()).toMatchObject({ tenants: [contoso, fabrikam], trustsEmail: true, version: 1 })
  })

  it.each<[what: string, document: object]>([
    ['names itself', {}],
    ['names a template at another origin', { issuer: 'https://evil.example/{tenantid}/v2.0' }],
    ['names a template of another shape', { issuer: 'https://evil.example/{tenantid}' }],
  ])('for many is refused where the discovery document %s', async (_what, document) => {
    portal = await startPortal()
    const itself = { issuer: entra.issuerOf('organizations') }
    entra.faults.discovery = { ...itself, ...document }
    await expect(portal.connect(entra, entra.row('organizations'))).rejects.toThrow(/names another issuer/)
  })

  it('passes its test again, and keeps the issuer that it was connected with', async () => {
    await open('organizations')
    const { ok, issuer } = await portal.sso.providers.test('entra')
    expect({ ok, issuer }).toEqual({ ok: true, issuer: entra.issuerOf('organizations') })
    await portal.sso.providers.update('entra', { displayName: 'Work account' })
    expect(await row()).toMatchObject({ issuer, version: 2 })
  })
})

describe('an e-mail address from Entra (nOAuth)', () => {
  const isLinked = async () => (await portal.knex('sso_identities')).length > 0

  const claimed = { email: 'ada@contoso.example' }
  const byTrust = { trustsEmail: true }
  const byUserName = { emailClaim: 'preferred_username' }
  const elsewhere = { emailDomains: ['fabrikam.example'] }

  type Row = [what: string, tenant: string, settings: Partial<ProviderInput>, claims: EntraClaims, boolean]
  const withEdov = (counts: boolean, values: unknown[]) =>
    values.map((xms_edov): Row => {
      const what = `${counts ? 'counts' : 'does not count'} with xms_edov ${JSON.stringify(xms_edov)}`
      return [what, 'organizations', {}, { ...claimed, xms_edov }, counts]
    })

  it.each<Row>([
    ['is nobody’s word', 'organizations', {}, claimed, false],
    ['is nobody’s word from one tenant either', contoso, {}, claimed, false],
    ['is not made better by `email_verified`', contoso, {}, { ...claimed, email_verified: true }, false],
    ['counts where the one tenant is trusted', contoso, byTrust, claimed, true],
    ['counts where the tenants are trusted', `${contoso} ${fabrikam}`, byTrust, claimed, true],
    ['does not count of another domain', contoso, { ...byTrust, ...elsewhere }, claimed, false],
    ...withEdov(true, [true, 1, '1', 'true']),
    ...withEdov(false, [false, 0, '0', 'false', 'TRUE', null, [true], {}]),
    [
      'does not count of another domain with xms_edov',
      contoso,
      elsewhere,
      { ...claimed, xms_edov: true },
      false,
    ],
    ['counts as user name where the tenant is trusted', contoso, { ...byTrust, ...byUserName }, {}, true],
    ['is no user name where it is not', contoso, byUserName, {}, false],
    [
      'is no user name by xms_edov, which speaks of `email`',
      'organizations',
      byUserName,
      { ...claimed, xms_edov: true },
      false,
    ],
  ])('%s', async (_what, tenant, settings, claims, counts) => {
    await open(tenant, settings)
    entra.signsIn(claims)
    await click()
    expect([await isLinked(), await isSignedIn()]).toEqual([counts, counts])
  })

  it('is not trusted either where somebody wrote it into the table', async () => {
    await open('organizations')
    await portal.knex('sso_providers').update({ trusts_email: true, version: 2 })
    entra.signsIn(claimed)
    expect(await click()).toMatchObject({ status: 403 })
    expect(await isLinked()).toBe(false)
  })
})

describe('who came in by a row for many tenants', () => {
  it('is signed out at Microsoft, too, with the hint of their own tenant', async () => {
    await open('organizations')
    entra.signsIn(vouched)
    await click()
    const leadsTo = new URL(next(await visitor.post(`${portal.url}/logout`))!)
    expect(leadsTo.pathname).toBe('/logout')
    expect(leadsTo.searchParams.get('id_token_hint')).toBeTruthy()
  })

  it('is signed out by a logout token of their tenant, signed by a key for it, and of no other', async () => {
    await open('organizations')
    entra.signsIn({ ...vouched, sid: 'a session' })
    await click()
    const logsOut = async (issuer: string) => {
      const logout_token = await signLogoutToken(entra, { iss: issuer, sid: 'a session' })
      return (await new Visitor().post(`${portal.url}/logout/entra/backchannel`, { logout_token })).status
    }
    expect(await logsOut('https://evil.example/v2.0')).toBe(400)
    expect(await logsOut(entra.issuerOf('organizations'))).toBe(400)
    for (const foreign of [personalAccounts, fabrikam]) {
      entra.faults.jwks = keysOf(entra.issuerOf(foreign))
      expect([foreign, await logsOut(entra.issuerOf(contoso))]).toEqual([foreign, 400])
    }
    entra.faults.jwks = keysOf(entra.issuerOf(contoso))
    expect(await logsOut(entra.issuerOf(fabrikam))).toBe(400)
    entra.faults.jwks = keysOf(`${entra.origin}/{tenantid}/v2.0`)
    expect(await logsOut(entra.issuerOf(fabrikam))).toBe(200)
    expect(await isSignedIn()).toBe(true)
    expect(await logsOut(entra.issuerOf(contoso))).toBe(200)
    expect(await isSignedIn()).toBe(false)
  })
})

describe('somebody new from Entra', () => {
  it('registers, and is linked with who they are in their directory', async () => {
    await open(contoso)
    entra.signsIn({ oid: stranger, email: 'grace@contoso.example', xms_edov: true, name: 'Grace Hopper' })
    await click()
    await visitor.post(`${portal.url}/register`, { name: 'Grace Hopper' })
    expect(await isSignedIn()).toBe(true)
    expect(await portal.knex('sso_identities').select('tenant_id', 'object_id', 'email')).toEqual([
      { tenant_id: contoso, object_id: stranger, email: 'grace@contoso.example' },
    ])
  })
})

describe('a provider that wants consent first', () => {
  it.each<[where: string, faults: Faults]>([
    ['65001 at the token endpoint', { tokenError: entraError('invalid_grant', 65001).tokenError }],
    ['65001 with another name', { tokenError: entraError('interaction_required', 65001).tokenError }],
    ['65001 as a fault of ours', { tokenError: entraError('unauthorized_client', 65001).tokenError }],
    ['90094 on the way back', { authorizeError: entraError('access_denied', 90094).authorizeError }],
    ['900941 on the way back', { authorizeError: entraError('access_denied', 900941).authorizeError }],
    ['90095 on the way back', { authorizeError: entraError('access_denied', 90095).authorizeError }],
    ['65004 on the way back', { authorizeError: entraError('access_denied', 65004).authorizeError }],
    ['90008 on the way back', { authorizeError: entraError('invalid_request', 90008).authorizeError }],
    ['consent_required by that name', { authorizeError: { error: 'consent_required' } }],
    ['consent_required whatever its number', entraError('consent_required', 50076)],
    ['interaction_required without a number', { authorizeError: { error: 'interaction_required' } }],
  ])('says so, and to whom to go: %s', async (_where, faults) => {
    await open(contoso)
    Object.assign(entra.faults, faults)
    const seen = await click()
    expect(seen.status).toBe(403)
    expect(seen.body).toContain('You can sign in with Contoso only after an administrator')
    expect(seen.body).toContain('I’m an administrator')
    expect(seen.body).not.toMatch(/AADSTS|Something is not|Trace/)
    const [event] = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
    expect(JSON.parse(event.detail)).toMatchObject({ code: 'consent_missing' })
    const [, way = ''] = /href="([^"]*admin-consent)"/.exec(seen.body) ?? []
    expect((await visitor.get(portal.url + way)).location).toMatch(/\/v2\.0\/adminconsent\?/)
  })

  it.each<[what: string, faults: Faults, code: string]>([
    [
      'a second factor',
      { tokenError: entraError('interaction_required', 50076).tokenError },
      'response_invalid',
    ],
    ['nobody', { authorizeError: { error: 'access_denied' } }, 'provider_denied'],
    [
      'an assignment',
      { authorizeError: entraError('access_denied', 50105).authorizeError },
      'provider_denied',
    ],
    ['a secret', { tokenError: entraError('invalid_client', 7000222).tokenError }, 'provider_error'],
    [
      'a longer number',
      { authorizeError: entraError('access_denied', 650011).authorizeError },
      'provider_denied',
    ],
  ])('is told from one that wants %s', async (_what, faults, code) => {
    await open(contoso)
    Object.assign(entra.faults, faults)
    await click()
    const [event] = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
    expect(JSON.parse(event.detail)).toMatchObject({ code })
  })

  it('has its number in the log, and nothing else of what it described', async () => {
    await open(contoso)
    entra.faults.authorizeError = entraError('access_denied', 90094, 'A secret sentence.').authorizeError
    const cause = causeOf(await click())
    expect(cause).toContain('"access_denied" (AADSTS90094)')
    expect(cause).not.toContain('secret')
  })

  it('and has no page for administrators gets no link to one', async () => {
    portal = await startPortal()
    await portal.connect(entra, {
      slug: 'entra',
      ...entra.row(contoso),
      preset: 'generic',
      tenant: undefined,
    })
    entra.faults.authorizeError = { error: 'consent_required' }
    const seen = await click()
    expect([seen.status, seen.body.includes('administrator')]).toEqual([403, true])
    expect(seen.body).not.toContain('admin-consent')
  })
})

describe('an administrator consents for everybody', () => {
  const ask = () => visitor.get(`${portal.url}/login/entra/admin-consent`)
  const consents = async () => await visitor.follow(await ask())
  const events = async () => {
    const rows = await portal.knex('sso_events').where({ kind: 'admin-consent' })
    return rows.map(({ provider, detail }) => ({ provider, ...(JSON.parse(detail) as object) }))
  }
  /** Up to the answer, which is not delivered yet. */
  const answer = async () => new URL((await visitor.get((await ask()).location!)).location!)

  it.each([
    [contoso, contoso],
    [`${contoso} ${fabrikam}`, 'organizations'],
    ['organizations', 'organizations'],
  ])('at Microsoft’s page, made of the row’s issuer: %s', async (tenant, path) => {
    await open(tenant)
    const { status, location } = await ask()
    const url = new URL(location!)
    expect([status, url.origin + url.pathname]).toEqual([302, `${entra.origin}/${path}/v2.0/adminconsent`])
    expect(Object.fromEntries(url.searchParams)).toEqual({
      client_id: entra.clientId,
      scope: 'openid email profile',
      redirect_uri: await portal.sso.providers.adminConsentUri('entra'),
      state: expect.stringMatching(/^[\w-]{32}$/),
    })
    expect(url.searchParams.get('redirect_uri')).toBe(`${portal.url}/login/entra/admin-consent/callback`)
  })

  it('and then reads that it is done, tests the sign-in, and stands in the events', async () => {
    await open(contoso)
    const seen = await consents()
    expect(seen.status).toBe(200)
    expect(seen.body).toContain('Your organisation has approved this')
    expect(seen.body).toMatch(/href="\/login\/entra"[^>]*>Test the sign-in/)
    expect(await events()).toEqual([{ provider: 'entra', outcome: 'granted', tenant: contoso }])
  })

  it('before the provider is switched on, and is told so', async () => {
    await open(contoso, { enabled: false })
    const seen = await consents()
    expect(seen.status).toBe(200)
    expect(seen.body).toContain('not enabled here yet')
    expect(seen.body).not.toContain('href="/login/entra"')
  })

  it('or does not, and reads why in general', async () => {
    await open(contoso)
    entra.consent = entraError('access_denied', 65004, 'A sentence of somebody’s.').authorizeError
    const seen = await consents()
    expect(seen.status).toBe(403)
    expect(seen.body).toContain('The approval was not recorded')
    expect(seen.body).toContain('href="/login/entra/admin-consent"')
    expect(seen.body).not.toMatch(/AADSTS|somebody/)
    expect(causeOf(seen)).toContain('the provider answered with the error "access_denied" (AADSTS65004)')
    expect(await events()).toEqual([{ provider: 'entra', outcome: 'refused' }])
  })

  it.each<[what: string, row: string, change: (answer: URL) => void]>([
    ['of another tenant', contoso, ({ searchParams }) => searchParams.set('tenant', fabrikam)],
    [
      'of a tenant that is not on the list',
      `${contoso} ${fabrikam}`,
      ({ searchParams }) => searchParams.set('tenant', stranger),
    ],
    [
      'of personal accounts',
      'organizations',
      ({ searchParams }) => searchParams.set('tenant', personalAccounts),
    ],
    [
      'of a tenant by its name',
      'organizations',
      ({ searchParams }) => searchParams.set('tenant', 'contoso.example'),
    ],
    ['of no tenant', 'organizations', ({ searchParams }) => searchParams.delete('tenant')],
    ['of two tenants', 'organizations', ({ searchParams }) => searchParams.append('tenant', fabrikam)],
    ['that says no', contoso, ({ searchParams }) => searchParams.set('admin_consent', 'False')],
    ['that says nothing', contoso, ({ searchParams }) => searchParams.delete('admin_consent')],
    [
      'that says yes, and an error',
      contoso,
      ({ searchParams }) => searchParams.set('error', 'access_denied'),
    ],
    ['with another state', contoso, ({ searchParams }) => searchParams.set('state', 'x'.repeat(32))],
    ['with no state', contoso, ({ searchParams }) => searchParams.delete('state')],
    ['with two states', contoso, ({ searchParams }) => searchParams.append('state', 'x')],
    [
      'with a token for an error',
      contoso,
      ({ searchParams }) => searchParams.set('error', `eyJ${'x'.repeat(80)}`),
    ],
  ])('but not by an answer %s', async (what, tenant, change) => {
    await open(tenant)
    const url = await answer()
    change(url)
    const seen = await visitor.get(url.href)
    expect(seen.status).toBe(403)
    expect(await portal.knex('sso_events').where({ kind: 'sign-in-failed' })).toHaveLength(1)
    // Who was not sent there says nothing of any administrator.
    const solicited = !what.endsWith('state') && !what.endsWith('states')
    expect(await events()).toEqual(solicited ? [{ provider: 'entra', outcome: 'refused' }] : [])
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toMatch(/eyJx/)
  })

  it('in the browser that was sent there, once', async () => {
    await open(contoso)
    const url = await answer()
    expect((await new Visitor().get(url.href)).status).toBe(403)
    expect((await visitor.get(url.href)).status).toBe(200)
    expect((await visitor.get(url.href)).status).toBe(403)
  })

  it('for the provider that they were sent to, and no other', async () => {
    await open(contoso)
    await portal.connect(entra, { slug: 'second', ...entra.row(contoso) })
    const url = await answer()
    const seen = await visitor.get(url.href.replace('/entra/', '/second/'))
    expect(seen.status).toBe(403)
  })

  it.each(['/login/nobody/admin-consent', '/login/acme/admin-consent', '/login/acme/admin-consent/callback'])(
    'and not at %s',
    async (path) => {
      portal = await startPortal()
      const settings = { ...entra.row(contoso), preset: 'generic', tenant: undefined }
      await portal.connect(entra, { slug: 'acme', ...settings })
      expect((await visitor.get(portal.url + path)).status).toBe(404)
      expect(await portal.sso.providers.adminConsentUri('acme')).toBeUndefined()
    },
  )
})
