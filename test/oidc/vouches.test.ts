import { describe, expect, it } from '@jest/globals'
import {
  type ClaimedAddress,
  describeVouching,
  type TrustSettings,
  unmetConditions,
} from '../../lib/oidc/vouches.ts'

const [contoso, fabrikam] = [1, 2].map((digit) => `${digit}1111111-aaaa-4bbb-8ccc-000000000001`)
const acme: TrustSettings = {
  preset: 'generic',
  issuer: 'https://id.example',
  tenants: [],
  emailClaim: 'email',
  emailDomains: [],
  trustsEmail: false,
  organizationClaim: undefined,
  organizationValues: [],
}
const google = { preset: 'google', issuer: 'https://accounts.google.com' }
const entra = (segment = '') => ({ preset: 'entra', issuer: `https://login.example/${segment}/v2.0` })
const severalTenants = { ...entra('organizations'), tenants: [contoso!, fabrikam!] }
const trusted = { trustsEmail: true }
const listed = { emailDomains: ['acme.example'] }
const bound = { emailDomains: [`contoso.com@${contoso}`, `fabrikam.com@${fabrikam}`] }

describe('a description says for whom a provider vouches', () => {
  const xms = '(unless xms_edov is false)'

  it.each<[Partial<TrustSettings>, description: string, warning: RegExp | undefined]>([
    [{}, 'every verified address (email_verified)', /no domain limit, so anyone who can verify an address/],
    [listed, 'verified addresses (email_verified) of @acme.example only', undefined],
    [trusted, 'every address', /no domain limit, so anyone who can set an address/],
    [{ ...trusted, ...listed }, 'addresses of @acme.example only', undefined],
    [
      { ...trusted, emailDomains: ['acme.example', 'acme.test'] },
      'addresses of @acme.example, @acme.test only',
      undefined,
    ],
    [{ emailClaim: 'upn' }, 'nobody: users confirm their address with a code', undefined],
    [{ emailClaim: 'upn', ...listed }, 'nobody: users confirm their address with a code', undefined],
    [
      { organizationClaim: 'org_id', organizationValues: ['acme', 'globex'] },
      'every verified address (email_verified), with org_id acme or globex',
      /^there is no domain limit$/,
    ],
    [
      google,
      'every verified address (email_verified), with hd or at gmail.com',
      /^there is no domain limit$/,
    ],
    [
      { ...google, ...listed },
      'verified addresses (email_verified) of @acme.example only, with hd acme.example',
      undefined,
    ],
    [
      { ...google, emailDomains: ['acme.example', 'gmail.com'] },
      'verified addresses (email_verified) of @acme.example, @gmail.com only, with hd acme.example or at gmail.com',
      undefined,
    ],
    [entra(contoso), 'every verified address (xms_edov)', undefined],
    [{ ...entra(contoso), ...trusted }, `every address ${xms}`, /no domain limit/],
    [{ ...entra(contoso), ...trusted, ...listed }, `addresses ${xms} of @acme.example only`, undefined],
    [
      { ...entra(contoso), emailClaim: 'preferred_username' },
      'nobody: users confirm their address with a code',
      undefined,
    ],
    [
      { ...severalTenants, ...trusted, ...bound },
      `addresses ${xms} of @contoso.com from tenant ${contoso}, @fabrikam.com from tenant ${fabrikam} only`,
      undefined,
    ],
    [{ ...severalTenants, ...trusted, ...listed }, 'nobody without xms_edov', /trustsEmail has no effect/],
    [{ ...severalTenants, ...trusted }, 'nobody without xms_edov', /trustsEmail has no effect/],
    [
      { ...entra('organizations'), ...trusted, ...listed },
      'nobody without xms_edov',
      /trustsEmail has no effect/,
    ],
  ])('%j', (settings, description, warning) => {
    const found = describeVouching({ ...acme, ...settings })
    expect(String(found.description)).toBe(description)
    if (warning) expect(found.warning).toMatchObject({ reason: expect.stringMatching(warning) })
    else expect(found.warning).toBeUndefined()
  })
})

it('keeps the values of a description apart from its texts, so that it can be translated', () => {
  const { description } = describeVouching({
    ...acme,
    ...listed,
    organizationClaim: 'org',
    organizationValues: ['a', 'b'],
  })
  expect(JSON.parse(JSON.stringify(description))).toEqual({
    text: '{{addresses}}, with {{claim}} {{values}}',
    values: {
      addresses: {
        text: '{{addresses}} of {{domains}} only',
        values: {
          addresses: { text: 'verified addresses ({{claim}})', values: { claim: 'email_verified' } },
          domains: { text: '@acme.example', values: {} },
        },
      },
      claim: 'org',
      values: { text: '{{first}} or {{next}}', values: { first: 'a', next: 'b' } },
    },
  })
})

/** @returns the conditions that Ada's address does not meet */
function unmet(
  settings: Partial<TrustSettings>,
  claims: object,
  { source, ...more }: Partial<ClaimedAddress> & { source?: Record<string, unknown> } = {},
) {
  const idClaims = { email_verified: true, ...claims }
  const sources = [source ?? idClaims]
  const address = { email: 'ada@acme.example', idClaims, userInfo: source, sources, ...more }
  return unmetConditions({ ...acme, ...settings }, address)
}

describe('an account of an organisation', () => {
  const limited = { ...listed, organizationClaim: 'org_id', organizationValues: ['acme', 'globex'] }

  it.each<[value: unknown, string[]]>([
    ['acme', []],
    ['globex', []],
    [['evil', 'acme'], []],
    ['evil', ['organization']],
    ['Acme', ['organization']],
    [['evil'], ['organization']],
    [[['acme']], ['organization']],
    [undefined, ['organization']],
    [null, ['organization']],
    ['', ['organization']],
    [{ acme: true }, ['organization']],
  ])('is recognized by the claim of the settings: %j', (org_id, conditions) => {
    expect(unmet(limited, { org_id })).toEqual(conditions)
  })

  it('is recognized by UserInfo, too, but the ID token decides', () => {
    const source = { email_verified: true, org_id: 'acme' }
    expect(unmet(limited, {}, { source })).toEqual([])
    expect(unmet(limited, { org_id: 'evil' }, { source })).toEqual(['organization'])
    expect(unmet(limited, { org_id: null }, { source })).toEqual(['organization'])
  })

  it('is required even of a trusted provider, and of every domain', () => {
    expect(unmet({ ...limited, ...trusted }, {})).toEqual(['organization'])
    expect(unmet({ ...limited, emailDomains: ['acme.test'] }, {})).toEqual(['domain', 'organization'])
    expect(unmet({ ...limited, organizationValues: [] }, { org_id: 'acme' })).toEqual(['organization'])
  })
})

describe('an account at Google', () => {
  it.each<[Partial<TrustSettings>, hd: unknown, string[]]>([
    [listed, 'acme.example', []],
    [listed, 'Acme.Example', []],
    [listed, undefined, ['organization']],
    [listed, 'evil.example', ['organization']],
    [listed, true, ['organization']],
    [listed, ['acme.example'], ['organization']],
    [{ ...listed, ...trusted }, undefined, ['organization']],
    [{}, 'evil.example', []],
    [{}, undefined, ['organization']],
    [{}, '', ['organization']],
  ])('with the settings %j is recognized by its hd %j', (settings, hd, conditions) => {
    expect(unmet({ ...google, ...settings }, { hd })).toEqual(conditions)
  })

  it('needs no hd for an address at gmail.com, if its domain is allowed', () => {
    const gmail = { email: 'ada@gmail.com' }
    expect(unmet(google, {}, gmail)).toEqual([])
    expect(unmet({ ...google, emailDomains: ['gmail.com'] }, {}, gmail)).toEqual([])
    expect(unmet({ ...google, ...listed }, {}, gmail)).toEqual(['domain'])
    expect(unmet(google, { email_verified: false }, gmail)).toEqual(['verification'])
    expect(unmet(google, {}, { email: 'ada@evil-gmail.com' })).toEqual(['organization'])
  })
})

describe('a domain that is bound to a tenant', () => {
  const row = { ...severalTenants, ...trusted, ...bound }
  const ada = { email: 'ada@contoso.com' }

  it('is trusted from that tenant only', () => {
    expect(unmet(row, { tid: contoso }, ada)).toEqual([])
    expect(unmet(row, { tid: fabrikam }, ada)).toEqual(['domain'])
    expect(unmet(row, { tid: fabrikam, xms_edov: true }, ada)).toEqual(['domain'])
    expect(unmet(row, {}, ada)).toEqual(['domain'])
  })

  it('is trusted from the only tenant, whose token need not name it', () => {
    const one = { ...entra(contoso), ...trusted }
    expect(unmet({ ...one, ...bound }, {}, ada)).toEqual([])
    expect(unmet({ ...one, emailDomains: [`contoso.com@${fabrikam}`] }, {}, ada)).toEqual(['domain'])
  })

  it('is never trusted from a provider without tenants', () => {
    expect(unmet({ ...trusted, ...bound }, { tid: contoso }, ada)).toEqual(['domain'])
  })
})

describe('several tenants', () => {
  it.each<[what: string, Partial<TrustSettings>]>([
    ['none is bound', { emailDomains: ['acme.example'] }],
    ['one is not bound', { emailDomains: ['acme.example', `contoso.com@${contoso}`] }],
    ['none is listed', {}],
  ])('are trusted for no domain if %s', (_what, settings) => {
    const row = { ...severalTenants, ...trusted, ...settings }
    expect(unmet(row, { tid: contoso })).toContain('verification')
    // Microsoft itself verified the domain of the tenant.
    expect(unmet(row, { tid: contoso, xms_edov: true })).toEqual([])
  })

  it('are trusted like one if the list contains only one', () => {
    expect(unmet({ ...severalTenants, tenants: [contoso!], ...trusted }, { tid: contoso })).toEqual([])
  })
})

describe('xms_edov', () => {
  const one = { ...entra(contoso), ...trusted }

  it.each([false, 0, '0', 'false', null, 'no', {}])('%j is not overruled by trustsEmail', (xms_edov) => {
    expect(unmet(one, { xms_edov })).toEqual(['verification'])
    expect(unmet({ ...one, emailClaim: 'preferred_username' }, { xms_edov })).toEqual(['verification'])
    expect(unmet(one, { xms_edov }, { source: {} })).toEqual(['verification'])
    expect(unmet(one, {}, { source: { xms_edov } })).toEqual(['verification'])
  })

  it('of the ID token does not verify an address of UserInfo', () => {
    expect(unmet(entra(contoso), { xms_edov: true }, { source: {} })).toEqual(['verification'])
  })
})
