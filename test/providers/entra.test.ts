import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { type ProviderInput, readInput } from '../../lib/management/provider-input.ts'
import type { ProviderChanges } from '../../lib/providers/settings.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import {
  contoso,
  contosoDomain,
  type EntraClaims,
  type EntraLookAlike,
  entraError,
  fabrikam,
  startEntraLookAlike,
} from '../support/entra-look-alike.ts'
import type { Faults } from '../support/faulty-provider.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
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

/** Starts a portal with the user Ada and an Entra provider for the given tenants. */
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

/** Restricts each key to an issuer, as Microsoft does. */
const keysOf = (issuer: string) => (keys: object[]) => keys.map((key) => ({ ...key, issuer }))

type FaultsAt = (origin: string) => Faults

const verifiedEmail = { email: 'ada@contoso.example', xms_edov: true }

describe('a Microsoft Entra ID user signs in', () => {
  it.each<[tenants: string, tenant: string, tid: string]>([
    ['one tenant', contoso, contoso],
    ['several tenants', `${contoso} ${fabrikam}`, contoso],
    ['several tenants, as a user of the second one', `${contoso},${fabrikam}`, fabrikam],
    ['every organization', 'organizations', stranger],
  ])('if the provider is for %s', async (_tenants, tenant, tid) => {
    await open(tenant)
    entra.signsIn({ tid, ...verifiedEmail })
    entra.requests.length = 0
    await click()
    expect(await isSignedIn()).toBe(true)
    // Checking the tenant costs no additional requests.
    const sent = entra.requests.map(({ method, path }) => `${method} ${path}`)
    expect(sent.filter((each) => each === 'POST /token')).toHaveLength(1)
    expect(sent.filter((each) => each === 'GET /jwks')).toHaveLength(1)
    const linked = await portal.knex('sso_identities').select('issuer', 'tenant_id', 'object_id')
    expect(linked).toEqual([{ issuer: entra.issuerOf(tid), tenant_id: tid, object_id: entra.person.oid }])
  })

  it.each([contoso, 'organizations'])(
    'if claims mapping gives their application keys of its own, at %s (?appid=)',
    async (tenant) => {
      entra.faults.metadataQuery = `appid=${entra.clientId}`
      await open(tenant)
      entra.signsIn(verifiedEmail)
      await click()
      expect(await isSignedIn()).toBe(true)
    },
  )

  it('if the authorization response names the tenant’s issuer (RFC 9207)', async () => {
    await open('organizations')
    entra.signsIn(verifiedEmail)
    entra.faults.callbackParams = { iss: entra.issuerOf(contoso) }
    await click()
    expect(await isSignedIn()).toBe(true)
  })

  it.each([
    ['{tenantid}', 'organizations'],
    [contoso, 'organizations'],
    ['{tenantid}', contoso],
    [contoso, contoso],
  ])('if the signing key is for the issuer of %s and the provider is for %s', async (tenant, configured) => {
    await open(configured)
    entra.signsIn(verifiedEmail)
    entra.faults.jwks = keysOf(entra.issuerOf(tenant))
    await click()
    expect(await isSignedIn()).toBe(true)
  })

  it('with two identities in two tenants, even if all other claims are equal', async () => {
    await open('organizations')
    entra.signsIn(verifiedEmail)
    await click()
    visitor = new Visitor()
    entra.signsIn({ tid: fabrikam, ...verifiedEmail })
    await click()
    expect(await portal.knex('sso_identities').pluck('issuer')).toEqual([
      entra.issuerOf(contoso),
      entra.issuerOf(fabrikam),
    ])
  })

  it('and a missing tenant and object id are added to the link, but never replaced', async () => {
    await open(contoso)
    entra.signsIn(verifiedEmail)
    await click()
    await portal.knex('sso_identities').update({ tenant_id: null, object_id: null })
    await click()
    const stored = () => portal.knex('sso_identities').select('tenant_id', 'object_id')
    const here = { tenant_id: contoso, object_id: entra.person.oid }
    expect(await stored()).toEqual([here])
    // A different object id under the same subject must not replace the stored one.
    await portal.knex('sso_identities').update({ object_id: stranger })
    await click()
    expect(await stored()).toEqual([{ ...here, object_id: stranger }])
  })
})

describe('the portal refuses an Entra ID token', () => {
  const tid = /of a tenant( [0-9a-f-]{36})? that this provider does not accept \(tid\)/
  const iss = /unexpected JWT "iss" \(issuer\) claim value/
  const template = (origin: string) => `${origin}/{tenantid}/v2.0`
  const ownIssuer = (origin: string) => `${origin}/organizations/v2.0`
  const [one, any] = [contoso, 'organizations']

  it.each<[what: string, tenant: string, cause: RegExp, claims: EntraClaims, faults?: FaultsAt]>([
    ['of another tenant', one, iss, { tid: fabrikam }],
    ['without a tenant', any, iss, {}, () => ({ claims: { tid: undefined } })],
    ['whose tenant is not a GUID', any, tid, { tid: 'contoso.example' }],
    ['whose tenant is in capitals', any, tid, { tid: contoso.toUpperCase() }],
    ['whose tenant is the keyword for all organizations', any, tid, { tid: 'organizations' }],
    ['whose tenant contains a path', any, tid, { tid: `${contoso}/v2.0/../../evil` }],
    ['whose tenant is a list', any, tid, {}, () => ({ claims: { tid: [contoso] } })],
    [
      'whose tenant is not that of its issuer',
      any,
      iss,
      { tid: contoso },
      (origin) => ({ claims: { iss: `${origin}/${fabrikam}/v2.0` } }),
    ],
    [
      'with the issuer of the configured tenant, but another `tid`',
      one,
      tid,
      {},
      () => ({ claims: { tid: fabrikam } }),
    ],
    ['whose issuer is the template', any, iss, {}, (origin) => ({ claims: { iss: template(origin) } })],
    [
      'whose issuer is the configured issuer',
      any,
      iss,
      {},
      (origin) => ({ claims: { iss: ownIssuer(origin) } }),
    ],
    [
      'with the configured issuer and without a tenant',
      any,
      /does not name the issuer of a tenant/,
      {},
      (origin) => ({ claims: { iss: ownIssuer(origin), tid: undefined } }),
    ],
    [
      'with an issuer for the tenant at another origin',
      any,
      iss,
      {},
      () => ({ claims: { iss: `https://evil.example/${contoso}/v2.0` } }),
    ],
    [
      'signed with a foreign key',
      any,
      /signature verification failed/,
      {},
      () => ({ signature: 'foreign-key' }),
    ],
    [
      'signed by a key of personal accounts',
      any,
      /no applicable key found/,
      {},
      (origin) => ({ jwks: keysOf(`${origin}/${personalAccounts}/v2.0`) }),
    ],
    [
      'signed by a key of personal accounts, if the provider is for one tenant',
      one,
      /no applicable key found/,
      {},
      (origin) => ({ jwks: keysOf(`${origin}/${personalAccounts}/v2.0`) }),
    ],
    [
      'signed by a key of another tenant',
      any,
      /no applicable key found/,
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
    ['that cannot be parsed', any, /failed to parse JWT/, {}, () => ({ tokenAnswer: { id_token: 'e.e.e' } })],
    [
      'that is missing from the token response',
      any,
      /"id_token"/,
      {},
      () => ({ tokenAnswer: { id_token: undefined } }),
    ],
    [
      'in an authorization response from another issuer (RFC 9207)',
      any,
      /another issuer \(iss\)/,
      {},
      () => ({ callbackParams: { iss: `https://evil.example/${contoso}/v2.0` } }),
    ],
    [
      'in an authorization response from another tenant (RFC 9207)',
      any,
      iss,
      {},
      (origin) => ({ callbackParams: { iss: `${origin}/${fabrikam}/v2.0` } }),
    ],
    [
      'in an authorization response without the announced issuer (RFC 9207)',
      any,
      /"iss" \(issuer\) missing/,
      {},
      () => ({ announceIss: true }),
    ],
  ])('%s', async (_what, tenant, cause, claims, faults = () => ({})) => {
    const { announceIss = false } = faults(entra.origin)
    entra.faults.announceIss = announceIss
    await open(tenant)
    entra.signsIn({ ...verifiedEmail, ...claims })
    Object.assign(entra.faults, faults(entra.origin))
    entra.requests.length = 0
    const seen = await click()
    expect([seen.status, causeOf(seen)]).toEqual([400, expect.stringMatching(cause)])
    expect(await isSignedIn()).toBe(false)
    expect(await portal.knex('sso_identities')).toEqual([])
    expect(entra.requests.filter(({ path }) => path === '/token').length).toBeLessThan(2)
  })

  it('from another preset: a provider whose issuer is a template cannot be connected', async () => {
    portal = await startPortal()
    await expect(
      portal.connect(entra, { ...entra.row('organizations'), preset: 'generic', tenant: undefined }),
    ).rejects.toThrow('issuer')
  })
})

describe('an Entra provider', () => {
  it.each<[input: string, path: string, tenants: string[]]>([
    [contoso, contoso, []],
    [` ${contoso.toUpperCase()} `, contoso, []],
    [`${contoso}, ${fabrikam};${contoso}`, 'organizations', [contoso, fabrikam]],
    ['Organizations', 'organizations', []],
  ])('gets its issuer and its tenants from the input %j', async (tenant, path, tenants) => {
    const { settings } = readInput({ slug: 'entra', preset: 'entra', clientId: 'portal', tenant })
    expect(settings).toMatchObject({ issuer: `https://login.microsoftonline.com/${path}/v2.0`, tenants })
  })

  it('is found by one of its domains, or by several', async () => {
    portal = await startPortal()
    await portal.connect(entra, {
      preset: 'entra',
      tenant: contosoDomain,
      issuer: entra.issuerOf(contosoDomain),
    })
    const { issuer, lastTest } = (await portal.sso.providers.find('acme'))!
    expect(issuer).toBe(entra.issuerOf(contoso))
    expect(lastTest?.checks[0]).toMatchObject({
      name: 'tenant',
      result: 'ok',
      message: `${contosoDomain} belongs to the tenant ${contoso}`,
    })
    const several = { tenant: `${contosoDomain}, ${fabrikam}`, issuer: entra.issuerOf('organizations') }
    await portal.connect(entra, { slug: 'several', preset: 'entra', ...several })
    expect((await portal.sso.providers.find('several'))?.tenants).toEqual([contoso, fabrikam])
  })

  it('is not looked up for a list of many domains, each of which would be a request', async () => {
    portal = await startPortal()
    const tenant = Array.from({ length: 11 }, (_, at) => `d${at}.example`).join(' ')
    const connecting = portal.connect(entra, {
      preset: 'entra',
      tenant,
      issuer: entra.issuerOf('organizations'),
    })
    await expect(connecting).rejects.toThrow(/^tenant: enter at most 10 domains, or enter the Directory/)
    expect(entra.requests).toEqual([])
  })

  it.each<[what: string, domain: string, issuer: () => string | undefined]>([
    ['nothing', 'unknown.example', () => undefined],
    ['another server', contosoDomain, () => `https://evil.example/${contoso}/v2.0`],
    ['all tenants', contosoDomain, () => entra.issuerOf('organizations')],
    ['another path', contosoDomain, () => `${entra.origin}/evil/${contoso}/v2.0`],
  ])('is refused with a domain whose document names %s', async (_what, domain, issuer) => {
    portal = await startPortal()
    const named = issuer()
    if (named !== undefined) entra.faults.discovery = { issuer: named }
    const input = { preset: 'entra', tenant: domain, issuer: entra.issuerOf(domain) }
    await expect(portal.connect(entra, input)).rejects.toThrow(
      /^tenant: Microsoft knows no organisation with this domain: check its spelling, or enter/,
    )
    expect(entra.requests.filter(({ path }) => path === '/token')).toEqual([])
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it.each<[what: string, tenant: string, settings: Partial<ProviderInput>, sentence: RegExp]>([
    ['the tenant `common`', 'common', {}, /^tenant: enter the Directory \(tenant\) ID/],
    ['the tenant `consumers`', 'consumers', {}, /^tenant: enter the Directory/],
    ['a GUID and a word', `${contoso} organizations`, {}, /^tenant: enter the Directory/],
    ['the tenant id of personal accounts', personalAccounts, {}, /^tenant: personal Microsoft accounts/],
    [
      'the tenant id of personal accounts among others',
      `${contoso} ${personalAccounts}`,
      {},
      /^tenant: personal Microsoft accounts/,
    ],
    [
      'the tenant id of personal accounts in `tenants`',
      'organizations',
      { tenants: [personalAccounts] },
      /^tenants: personal Microsoft accounts/,
    ],
    [
      'an issuer outside Microsoft',
      contoso,
      { issuer: 'https://id.acme.example' },
      /^issuer: for Microsoft Entra ID/,
    ],
    [
      'the `common` issuer',
      contoso,
      { issuer: 'https://login.microsoftonline.com/common/v2.0' },
      /^issuer: /,
    ],
    [
      '`tenants` and the issuer of a single tenant',
      contoso,
      { tenants: [fabrikam] },
      /^tenants: the issuer belongs to one tenant/,
    ],
    [
      'trust in addresses from all tenants',
      'organizations',
      { trustsEmail: true },
      /^trustsEmail: anyone can have a tenant/,
    ],
  ])('is refused with %s, without a request to Microsoft', async (_what, tenant, settings, sentence) => {
    portal = await startPortal()
    const input = { preset: 'entra', tenant, issuer: undefined, ...settings }
    const error: unknown = await portal.connect(entra, input).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ManagementError)
    expect((error as Error).message).toMatch(sentence)
    expect(await portal.sso.providers.list()).toEqual([])
    expect(entra.requests).toEqual([])
  })

  it.each<[what: string, changes: ProviderChanges, sentence: RegExp]>([
    ['to trust addresses from all tenants', { tenants: null }, /^trustsEmail: /],
    ['to an empty list of tenants', { tenants: [] }, /^trustsEmail: /],
    [
      'to a domain of a tenant that is not admitted',
      { emailDomains: [`contoso.example@${stranger}`] },
      /^emailDomains: contoso\.example is bound to a tenant whose users are not admitted$/,
    ],
    ['to another kind of issuer', { issuer: 'http://127.0.0.1/common/v2.0', clientSecret: 'x' }, /^issuer: /],
  ])('cannot be changed %s', async (_what, changes, sentence) => {
    await open(`${contoso} ${fabrikam}`, {
      trustsEmail: true,
      emailDomains: [`contoso.example@${fabrikam}`],
    })
    const error: unknown = await portal.sso.providers
      .update('entra', changes)
      .catch((thrown: unknown) => thrown)
    expect((error as Error).message).toMatch(sentence)
    expect(await row()).toMatchObject({ tenants: [contoso, fabrikam], trustsEmail: true, version: 1 })
  })

  it.each<[what: string, document: object]>([
    ['names the configured issuer', {}],
    ['names a template at another origin', { issuer: 'https://evil.example/{tenantid}/v2.0' }],
    ['names a template with another path', { issuer: 'https://evil.example/{tenantid}' }],
  ])('for many tenants is refused if its discovery document %s', async (_what, document) => {
    portal = await startPortal()
    const configured = { issuer: entra.issuerOf('organizations') }
    entra.faults.discovery = { ...configured, ...document }
    await expect(portal.connect(entra, entra.row('organizations'))).rejects.toThrow(/names another issuer/)
  })

  it.each<[what: string, emailDomains: string[], result: string, message: RegExp]>([
    [
      'its domains are not bound to tenants',
      ['contoso.example'],
      'warning',
      /^it vouches for nobody without xms_edov; trustsEmail has no effect/,
    ],
    [
      'its domains are bound to tenants',
      [`contoso.example@${contoso}`],
      'ok',
      /^it vouches for addresses .* of @contoso\.example from tenant 11111111-/,
    ],
  ])('for several tenants says for whom it vouches if %s', async (_what, emailDomains, result, message) => {
    await open(`${contoso} ${fabrikam}`, { trustsEmail: true, emailDomains })
    const { checks } = await portal.sso.providers.test('entra')
    expect(checks.find(({ name }) => name === 'vouching')).toMatchObject({
      result,
      message: expect.stringMatching(message),
    })
  })

  it('of another preset cannot bind domains to tenants', async () => {
    portal = await startPortal()
    const settings = { preset: 'generic', tenant: undefined, emailDomains: [`contoso.example@${contoso}`] }
    await expect(portal.connect(entra, { ...entra.row(contoso), ...settings })).rejects.toThrow(
      'emailDomains: only the preset entra has tenants',
    )
  })

  it('passes a later test and keeps its issuer after an update', async () => {
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
  const both = `${contoso} ${fabrikam}`
  const bound = { emailDomains: [`contoso.example@${contoso}`, `fabrikam.example@${fabrikam}`] }
  const byBoth = { ...byTrust, emailDomains: ['contoso.example', 'fabrikam.example'] }

  type Row = [what: string, tenant: string, settings: Partial<ProviderInput>, claims: EntraClaims, boolean]
  const withEdov = (trusted: boolean, values: unknown[]) =>
    values.map((xms_edov): Row => {
      const what = `${trusted ? 'is trusted' : 'is not trusted'} with xms_edov ${JSON.stringify(xms_edov)}`
      return [what, 'organizations', {}, { ...claimed, xms_edov }, trusted]
    })

  it.each<Row>([
    ['is not trusted from arbitrary tenants', 'organizations', {}, claimed, false],
    ['is not trusted from one tenant by default', contoso, {}, claimed, false],
    ['is not trusted because of `email_verified`', contoso, {}, { ...claimed, email_verified: true }, false],
    ['is trusted if the one tenant is trusted', contoso, byTrust, claimed, true],
    [
      'is trusted from the tenant to which its domain is bound',
      both,
      { ...byTrust, ...bound },
      claimed,
      true,
    ],
    [
      'is not trusted from another listed tenant',
      both,
      { ...byTrust, ...bound },
      { ...claimed, tid: fabrikam },
      false,
    ],
    [
      'is not trusted from another listed tenant, even with xms_edov',
      both,
      { ...byTrust, ...bound },
      { ...claimed, tid: fabrikam, xms_edov: true },
      false,
    ],
    ['is not trusted from listed tenants whose domains are not bound', both, byBoth, claimed, false],
    [
      'is not trusted from another listed tenant if the domains are not bound',
      both,
      byBoth,
      { ...claimed, tid: fabrikam },
      false,
    ],
    ['is not trusted from listed tenants without domains', both, byTrust, claimed, false],
    ...[false, 0, '0', 'false'].map((xms_edov): Row => {
      const what = `is not trusted with xms_edov ${JSON.stringify(xms_edov)}, even if the tenant is trusted`
      return [what, contoso, byTrust, { ...claimed, xms_edov }, false]
    }),
    ['is not trusted outside the listed domains', contoso, { ...byTrust, ...elsewhere }, claimed, false],
    ...withEdov(true, [true, 1, '1', 'true']),
    ...withEdov(false, [false, 0, '0', 'false', 'TRUE', null, [true], {}]),
    [
      'is not trusted outside the listed domains with xms_edov',
      contoso,
      elsewhere,
      { ...claimed, xms_edov: true },
      false,
    ],
    [
      'is trusted in the user name if the tenant is trusted',
      contoso,
      { ...byTrust, ...byUserName },
      {},
      true,
    ],
    ['is not trusted in the user name if the tenant is not trusted', contoso, byUserName, {}, false],
    [
      'is not trusted in the user name with xms_edov, which refers to `email`',
      'organizations',
      byUserName,
      { ...claimed, xms_edov: true },
      false,
    ],
  ])('%s', async (_what, tenant, settings, claims, trusted) => {
    await open(tenant, settings)
    entra.signsIn(claims)
    await click()
    expect([await isLinked(), await isSignedIn()]).toEqual([trusted, trusted])
  })

  it('is not the user name of a guest (#EXT#)', async () => {
    await open(contoso, { ...byTrust, ...byUserName, emailDomains: ['contoso.example'] })
    const guest = 'grace_fabrikam.example#EXT#@contoso.example'
    await portal.sso.users.create({ email: guest, name: 'Mallory', fields: {} })
    entra.signsIn({ preferred_username: guest })
    expect(await click()).toMatchObject({ status: 403 })
    expect(await isLinked()).toBe(false)
  })

  it('is not trusted if trust was written directly into the database', async () => {
    await open('organizations')
    await portal.knex('sso_providers').update({ trusts_email: true, version: 2 })
    entra.signsIn(claimed)
    expect(await click()).toMatchObject({ status: 403 })
    expect(await isLinked()).toBe(false)
  })
})

describe('a user of an Entra provider for many tenants', () => {
  it('is also signed out at Microsoft, with an ID token hint', async () => {
    await open('organizations')
    entra.signsIn(verifiedEmail)
    await click()
    const target = new URL(next(await visitor.post(`${portal.url}/logout`))!)
    expect(target.pathname).toBe('/logout')
    expect(target.searchParams.get('id_token_hint')).toBeTruthy()
  })

  it('costs no reading of all keys for each forged logout token', async () => {
    await open('organizations')
    const issuers = [entra.issuerOf(contoso), entra.issuerOf(fabrikam), undefined]
    // A hostile key set may contain entries that are not keys.
    entra.faults.jwks = (keys) => [
      null,
      2,
      ...issuers.flatMap((issuer) => keys.map((key) => ({ ...key, issuer }))),
    ]
    const logsOut = async (iss: string, end?: RegExp) => {
      const token = await signLogoutToken(entra, { iss, sid: 'a session' })
      const logout_token = end ? token.replace(end, 'forged') : token
      return (await new Visitor().post(`${portal.url}/logout/entra/backchannel`, { logout_token })).status
    }
    const forge = async () => {
      for (const tenant of [contoso, fabrikam, stranger])
        expect(await logsOut(entra.issuerOf(tenant), /.{6}$/)).toBe(400)
    }
    await forge()
    const read = jest.spyOn(globalThis, 'structuredClone')
    await forge()
    expect(read).not.toHaveBeenCalled()
    read.mockRestore()
    expect(await logsOut(entra.issuerOf(contoso))).toBe(200)
  })

  it('is signed out only by a logout token of their tenant, signed by a key for that tenant', async () => {
    await open('organizations')
    entra.signsIn({ ...verifiedEmail, sid: 'a session' })
    await click()
    const logsOut = async (issuer: string) => {
      // Drops the cached keys.
      await portal.sso.providers.enable('entra')
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

describe('a new user from Entra', () => {
  it('registers, and is linked with their tenant and object id', async () => {
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

describe('a provider that requires admin consent', () => {
  it.each<[error: string, faults: Faults]>([
    ['65001 at the token endpoint', { tokenError: entraError('invalid_grant', 65001).tokenError }],
    ['65001 as interaction_required', { tokenError: entraError('interaction_required', 65001).tokenError }],
    ['65001 as unauthorized_client', { tokenError: entraError('unauthorized_client', 65001).tokenError }],
    [
      '90094 in the authorization response',
      { authorizeError: entraError('access_denied', 90094).authorizeError },
    ],
    [
      '900941 in the authorization response',
      { authorizeError: entraError('access_denied', 900941).authorizeError },
    ],
    [
      '90095 in the authorization response',
      { authorizeError: entraError('access_denied', 90095).authorizeError },
    ],
    [
      '650052 in the authorization response',
      { authorizeError: entraError('access_denied', 650052).authorizeError },
    ],
    [
      '90008 in the authorization response',
      { authorizeError: entraError('invalid_request', 90008).authorizeError },
    ],
    ['consent_required without a number', { authorizeError: { error: 'consent_required' } }],
    ['consent_required with another number', entraError('consent_required', 50076)],
    ['interaction_required without a number', { authorizeError: { error: 'interaction_required' } }],
  ])('leads to a page that refers the user to an administrator: %s', async (_error, faults) => {
    await open(contoso)
    Object.assign(entra.faults, faults)
    const seen = await click()
    expect(seen.status).toBe(403)
    expect(seen.body).toContain('You can sign in with Contoso only after an administrator')
    expect(seen.body).toContain('I’m an administrator')
    expect(seen.body).not.toMatch(/AADSTS|Something is not|Trace/)
    const [, request = ''] = /<textarea[^>]*>([^<]*)<\/textarea>/.exec(seen.body) ?? []
    expect(request).toContain(`I would like to use Portal (${portal.url}) and sign in there with Contoso.`)
    expect(request).toContain(`\n${portal.url}/login/entra/admin-consent\n`)
    expect(request).toContain(`Application (client) ID: ${entra.clientId}`)
    const [event] = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
    expect(JSON.parse(event.detail)).toMatchObject({ code: 'consent_missing' })
    const [, way = ''] = /href="([^"]*admin-consent)"/.exec(seen.body) ?? []
    expect((await visitor.get(portal.url + way)).location).toMatch(/\/v2\.0\/adminconsent\?/)
  })

  it.each<[what: string, faults: Faults, code: string]>([
    [
      'a required second factor',
      { tokenError: entraError('interaction_required', 50076).tokenError },
      'authentication_too_weak',
    ],
    ['a cancelled sign-in', { authorizeError: { error: 'access_denied' } }, 'provider_denied'],
    [
      'a missing assignment',
      { authorizeError: entraError('access_denied', 50105).authorizeError },
      'account_not_assigned',
    ],
    [
      'an expired client secret',
      { tokenError: entraError('invalid_client', 7000222).tokenError },
      'provider_error',
    ],
    [
      'an error number that only begins with 65001',
      { authorizeError: entraError('access_denied', 650011).authorizeError },
      'provider_denied',
    ],
  ])('is distinguished from %s', async (_what, faults, code) => {
    await open(contoso)
    Object.assign(entra.faults, faults)
    await click()
    const [event] = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
    expect(JSON.parse(event.detail)).toMatchObject({ code })
  })

  it('changes no status and not the login page, and sends no mail, if only a browser reports the error', async () => {
    const mails: unknown[] = []
    await open(
      contoso,
      {},
      {
        mailer: async (mail) => void mails.push(mail),
        adminMail: 'admin@example.com',
        mount(app, sso) {
          mountDefault(app, sso)
          app.use('/admin', sso.admin({ authorize: () => true }))
        },
      },
    )
    const chart = /<div class="admin-spark">[\s\S]*?<\/div>/
    const look = async () => {
      const pages = [await visitor.get(`${portal.url}/login`), await visitor.get(`${portal.url}/admin`)]
      return pages.map(({ body }) => body.replace(chart, ''))
    }
    const before = await look()
    entra.faults.authorizeError = entraError('consent_required', 65001).authorizeError
    await click()
    await portal.sso.runMaintenance()
    expect([await look(), mails]).toEqual([before, []])
    // Only the chart counts it.
    expect(chart.exec((await visitor.get(`${portal.url}/admin`)).body)?.[0]).toContain(
      '0 sign-ins, 1 failure',
    )
    const [event] = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
    expect(JSON.parse(event.detail)).toEqual({
      code: 'consent_missing',
      reason: expect.stringMatching(
        /^reported by a browser, unverified: the error "consent_required" \(AADSTS65001, Trace ID: .*\(consent_missing\)$/,
      ),
      reportedBy: 'browser',
    })
    expect((await visitor.get(`${portal.url}/admin/entra`)).body).toMatch(/Reported by a browser on/)
    // Only the provider itself changes the status.
    delete entra.faults.authorizeError
    entra.faults.tokenError = entraError('invalid_grant', 65001).tokenError
    await click()
    expect((await look())[1]).toContain('Consent missing')
  })

  it('gets no link to an admin consent page if its preset has none', async () => {
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

describe('admin consent', () => {
  const ask = () => visitor.get(`${portal.url}/login/entra/admin-consent`)
  const consents = async () => await visitor.follow(await ask())
  const events = async () => {
    const rows = await portal.knex('sso_events').where({ kind: 'admin-consent' })
    return rows.map(({ provider, detail }) => ({ provider, ...(JSON.parse(detail) as object) }))
  }
  /** Returns the address of the consent response, without opening it. */
  const responseUrl = async () => new URL((await visitor.get((await ask()).location!)).location!)

  it.each([
    [contoso, contoso],
    [`${contoso} ${fabrikam}`, 'organizations'],
    ['organizations', 'organizations'],
  ])('is requested at Microsoft’s page below the configured issuer: %s', async (tenant, path) => {
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

  it('is confirmed on a page that offers to test the sign-in, and recorded as an event', async () => {
    await open(contoso)
    const seen = await consents()
    expect(seen.status).toBe(200)
    expect(seen.body).toContain('Your organisation has approved this')
    expect(seen.body).toMatch(/href="\/login\/entra"[^>]*>Test the sign-in/)
    expect(await events()).toEqual([{ provider: 'entra', outcome: 'granted', tenant: contoso }])
  })

  it('shows the name of the preset, not that of a draft', async () => {
    await open(contoso)
    await portal.sso.providers.update('entra', { displayName: 'Merger', labels: { de: 'Merger' } })
    await portal.sso.providers.disable('entra')
    const forged = await responseUrl()
    forged.searchParams.set('error', 'access_denied')
    const pages = [
      await consents(),
      await visitor.get(forged.href),
      await visitor.get(`${portal.url}/login/entra/admin-consent?admin_consent=True`),
      await visitor.get(`${portal.url}/login/entra/admin-consent/callback?admin_consent=True&lang=de`),
      await visitor.get(`${portal.url}/login/entra/admin-consent/callback`),
    ]
    for (const { body } of pages) {
      expect(body).toContain('Microsoft Entra ID')
      expect(body).not.toContain('Merger')
    }
  })

  it('is possible before the provider is enabled, which the page mentions', async () => {
    await open(contoso, { enabled: false })
    const seen = await consents()
    expect(seen.status).toBe(200)
    expect(seen.body).toContain('not enabled here yet')
    expect(seen.body).not.toContain('href="/login/entra"')
  })

  it('that is refused leads to a general explanation', async () => {
    await open(contoso)
    entra.consent = entraError('access_denied', 65004, 'A sentence of somebody’s.').authorizeError
    const seen = await consents()
    expect(seen.status).toBe(403)
    expect(seen.body).toContain('The approval was not recorded')
    expect(seen.body).toContain('href="/login/entra/admin-consent"')
    expect(seen.body).not.toMatch(/AADSTS|somebody/)
    expect(causeOf(seen)).toContain(
      'reported by a browser, unverified: the error "access_denied" (AADSTS65004, Trace ID: ',
    )
    expect(await events()).toEqual([{ provider: 'entra', outcome: 'refused' }])
  })

  it.each<[what: string, tenant: string, change: (response: URL) => void]>([
    ['for another tenant', contoso, ({ searchParams }) => searchParams.set('tenant', fabrikam)],
    [
      'for a tenant that is not on the list',
      `${contoso} ${fabrikam}`,
      ({ searchParams }) => searchParams.set('tenant', stranger),
    ],
    [
      'for personal accounts',
      'organizations',
      ({ searchParams }) => searchParams.set('tenant', personalAccounts),
    ],
    [
      'that names the tenant by its domain',
      'organizations',
      ({ searchParams }) => searchParams.set('tenant', 'contoso.example'),
    ],
    ['without a tenant', 'organizations', ({ searchParams }) => searchParams.delete('tenant')],
    ['with two tenants', 'organizations', ({ searchParams }) => searchParams.append('tenant', fabrikam)],
    ['that denies consent', contoso, ({ searchParams }) => searchParams.set('admin_consent', 'False')],
    ['without `admin_consent`', contoso, ({ searchParams }) => searchParams.delete('admin_consent')],
    [
      'with both consent and an error',
      contoso,
      ({ searchParams }) => searchParams.set('error', 'access_denied'),
    ],
    ['with another state', contoso, ({ searchParams }) => searchParams.set('state', 'x'.repeat(32))],
    ['with two states', contoso, ({ searchParams }) => searchParams.append('state', 'x')],
    [
      'with a token in `error`',
      contoso,
      ({ searchParams }) => searchParams.set('error', `eyJ${'x'.repeat(80)}`),
    ],
  ])('is not granted by a response %s', async (what, tenant, change) => {
    await open(tenant)
    const url = await responseUrl()
    change(url)
    const seen = await visitor.get(url.href)
    expect(seen.status).toBe(403)
    expect(await portal.knex('sso_events').where({ kind: 'sign-in-failed' })).toHaveLength(1)
    // A response with a wrong state is unsolicited, so it does not show that an administrator refused.
    const solicited = !what.endsWith('state') && !what.endsWith('states')
    expect(await events()).toEqual(solicited ? [{ provider: 'entra', outcome: 'refused' }] : [])
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toMatch(/eyJx/)
  })

  it('is accepted once, and only in the browser that requested it', async () => {
    await open(contoso)
    const url = await responseUrl()
    expect((await new Visitor().get(url.href)).status).toBe(403)
    expect((await visitor.get(url.href)).status).toBe(200)
    expect((await visitor.get(url.href)).status).toBe(403)
  })

  it('is not accepted for another provider', async () => {
    await open(contoso)
    await portal.connect(entra, { slug: 'second', ...entra.row(contoso) })
    const url = await responseUrl()
    const seen = await visitor.get(url.href.replace('/entra/', '/second/'))
    expect(seen.status).toBe(403)
  })

  it.each(['/login/nobody/admin-consent', '/login/acme/admin-consent', '/login/acme/admin-consent/callback'])(
    'is not available at %s',
    async (path) => {
      portal = await startPortal()
      const settings = { ...entra.row(contoso), preset: 'generic', tenant: undefined }
      await portal.connect(entra, { slug: 'acme', ...settings })
      expect((await visitor.get(portal.url + path)).status).toBe(404)
      expect(await portal.sso.providers.adminConsentUri('acme')).toBeUndefined()
    },
  )
})
