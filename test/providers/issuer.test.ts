import { describe, expect, it } from '@jest/globals'
import {
  admits,
  isIssuerOf,
  issuerFor,
  isTemplated,
  keysForIssuer,
  maySign,
  ofAnotherTenant,
  pinsTenants,
  templateOf,
} from '../../lib/providers/issuer.ts'

const tenant = '11111111-aaaa-4bbb-8ccc-000000000001'
const other = '22222222-aaaa-4bbb-8ccc-000000000002'
const issuerOf = (segment: string) => `https://login.example/${segment}/v2.0`
const row = (segment: string, tenants: string[] = []) => ({
  preset: 'entra',
  issuer: issuerOf(segment),
  tenants,
})

describe('an issuer with a place for the tenant', () => {
  it('is that of Entra’s organizations, and of nothing else', () => {
    expect(isTemplated(row('organizations'))).toBe(true)
    for (const segment of [tenant, 'common', 'consumers', '{tenantid}', 'Organizations', 'x/organizations/y'])
      expect(isTemplated(row(segment))).toBe(false)
    for (const issuer of [
      'https://login.example/?x=/organizations/v2.0',
      'https://login.example/#/organizations/v2.0',
      `${issuerOf('organizations')}/`,
      'https://login.example/organizations/v2.0?x',
    ])
      expect(isTemplated({ preset: 'entra', issuer })).toBe(false)
    expect(isTemplated({ preset: 'generic', issuer: issuerOf('organizations') })).toBe(false)
  })

  it('becomes another one in that place only', () => {
    const issuer = 'https://login.example/organizations/v2.0/organizations/v2.0'
    expect(templateOf(issuer)).toBe('https://login.example/organizations/v2.0/{tenantid}/v2.0')
    expect(issuerFor({ ...row(''), issuer }, tenant)).toBe(
      `https://login.example/organizations/v2.0/${tenant}/v2.0`,
    )
  })
})

describe('people of a tenant', () => {
  it.each<[what: string, provider: ReturnType<typeof row>, tenant: unknown, boolean]>([
    ['of the row’s issuer come in', row(tenant), tenant, true],
    ['of another do not', row(tenant), other, false],
    ['on the list come in', row('organizations', [other, tenant]), tenant, true],
    ['that is not on it do not', row('organizations', [other]), tenant, false],
    ['come in where there is no list', row('organizations'), tenant, true],
    // Microsoft's own id for them, to the letter.
    ['for all personal accounts do not', row('organizations'), '9188040d-6c67-4c5b-b112-36a304b66dad', false],
    ['with something before its id do not', row('organizations'), `x${tenant}`, false],
    ['with something after its id do not', row('organizations'), `${tenant}x`, false],
    ['that is none do not', row('organizations'), 'contoso.example', false],
    ['that is in capitals do not', row('organizations'), tenant.toUpperCase(), false],
    ['that is the word for all do not', row('organizations'), 'organizations', false],
    ['that is not told do not', row('organizations'), undefined, false],
    ['that is a list do not', row('organizations'), [tenant], false],
    ['do not where the issuer is no tenant’s', row('common'), tenant, false],
  ])('%s', (_what, provider, of, comeIn) => {
    expect(admits(provider, of)).toBe(comeIn)
    const issuer = comeIn ? issuerOf(String(of)) : undefined
    expect(issuerFor(provider, of)).toBe(issuer)
    if (typeof of === 'string') expect(isIssuerOf(provider, issuerOf(of))).toBe(comeIn)
  })

  it('are named when they are turned away, and nothing else that a token says', () => {
    expect(ofAnotherTenant(tenant).message).toContain(tenant)
    expect(ofAnotherTenant('a secret').message).not.toContain('secret')
  })
})

it('a row for all is no issuer of tokens, and one at another origin is none either', () => {
  const provider = row('organizations')
  expect(isIssuerOf(provider, provider.issuer)).toBe(false)
  expect(isIssuerOf(provider, `https://evil.example/${tenant}/v2.0`)).toBe(false)
  expect(isIssuerOf({ ...provider, preset: 'generic' }, provider.issuer)).toBe(true)
})

it('a row pins tenants where it names them', () => {
  expect(pinsTenants(row(tenant))).toBe(true)
  expect(pinsTenants(row('organizations', [tenant]))).toBe(true)
  expect(pinsTenants(row('organizations'))).toBe(false)
  expect(pinsTenants(row('common'))).toBe(false)
})

it('a key signs for every tenant, for one, or for whom it does not say', () => {
  const provider = row('organizations')
  for (const issuer of [undefined, issuerOf('{tenantid}'), issuerOf(tenant)])
    expect(maySign(provider, issuerOf(tenant), issuer)).toBe(true)
  for (const issuer of [
    issuerOf(other),
    issuerOf('organizations'),
    'https://evil.example/{tenantid}/v2.0',
    null,
  ])
    expect(maySign(provider, issuerOf(tenant), issuer)).toBe(false)
})

it('of a key set those keys are own that are for the tenant, or for nobody in particular', () => {
  const key = (issuer: unknown) => ({ kid: String(issuer), issuer })
  const own = [
    { kid: 'of another key set' },
    key(issuerOf(tenant)),
    key(templateOf(issuerOf('organizations'))),
  ]
  const foreign = [key(issuerOf(other)), key(null), key(''), key([issuerOf(tenant)])]
  expect(keysForIssuer(row('organizations'), issuerOf(tenant), [...foreign, ...own])).toEqual(own)
  // What a hostile set holds may be no key at all.
  expect(keysForIssuer(row('organizations'), issuerOf(tenant), [null, 2])).toEqual([null, 2])
})
