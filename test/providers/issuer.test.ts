import { describe, expect, it } from '@jest/globals'
import {
  admits,
  isIssuerOf,
  issuerFor,
  isTemplated,
  keyIssuersFor,
  otherTenantError,
  pinsTenants,
  type Tenancy,
  templateOf,
} from '../../lib/providers/issuer.ts'

const maySign = (provider: Tenancy, issuer: string, keyIssuer: unknown) =>
  keyIssuersFor(provider, issuer).includes(keyIssuer)

const tenant = '11111111-aaaa-4bbb-8ccc-000000000001'
const other = '22222222-aaaa-4bbb-8ccc-000000000002'
const issuerOf = (segment: string) => `https://login.example/${segment}/v2.0`
const row = (segment: string, tenants: string[] = []) => ({
  preset: 'entra',
  issuer: issuerOf(segment),
  tenants,
})

describe('an issuer template', () => {
  it('exists only for the organizations issuer of the Entra preset', () => {
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

  it('replaces only the last occurrence of the tenant segment', () => {
    const issuer = 'https://login.example/organizations/v2.0/organizations/v2.0'
    expect(templateOf(issuer)).toBe('https://login.example/organizations/v2.0/{tenantid}/v2.0')
    expect(issuerFor({ ...row(''), issuer }, tenant)).toBe(
      `https://login.example/organizations/v2.0/${tenant}/v2.0`,
    )
  })
})

describe('a user', () => {
  it.each<[what: string, provider: ReturnType<typeof row>, tid: unknown, admitted: boolean]>([
    ['of the issuer’s tenant is admitted', row(tenant), tenant, true],
    ['of another tenant is refused', row(tenant), other, false],
    ['of a listed tenant is admitted', row('organizations', [other, tenant]), tenant, true],
    ['of an unlisted tenant is refused', row('organizations', [other]), tenant, false],
    ['of any tenant is admitted if there is no list', row('organizations'), tenant, true],
    // Microsoft's fixed tenant id for personal accounts.
    [
      'with a personal account is refused',
      row('organizations'),
      '9188040d-6c67-4c5b-b112-36a304b66dad',
      false,
    ],
    ['of a tenant id with a prefix is refused', row('organizations'), `x${tenant}`, false],
    ['of a tenant id with a suffix is refused', row('organizations'), `${tenant}x`, false],
    ['of a tenant that is not a GUID is refused', row('organizations'), 'contoso.example', false],
    ['of a tenant id in capitals is refused', row('organizations'), tenant.toUpperCase(), false],
    ['of the tenant `organizations` is refused', row('organizations'), 'organizations', false],
    ['without a tenant is refused', row('organizations'), undefined, false],
    ['with a list of tenants is refused', row('organizations'), [tenant], false],
    ['is refused if the issuer belongs to no tenant', row('common'), tenant, false],
  ])('%s', (_what, provider, tid, admitted) => {
    expect(admits(provider, tid)).toBe(admitted)
    const issuer = admitted ? issuerOf(String(tid)) : undefined
    expect(issuerFor(provider, tid)).toBe(issuer)
    if (typeof tid === 'string') expect(isIssuerOf(provider, issuerOf(tid))).toBe(admitted)
  })

  it('is refused with an error that names the tenant only if it is a GUID', () => {
    expect(otherTenantError(tenant).message).toContain(tenant)
    expect(otherTenantError('a secret').message).not.toContain('secret')
  })
})

it('a token is not accepted from the organizations issuer itself or from another origin', () => {
  const provider = row('organizations')
  expect(isIssuerOf(provider, provider.issuer)).toBe(false)
  expect(isIssuerOf(provider, `https://evil.example/${tenant}/v2.0`)).toBe(false)
  expect(isIssuerOf({ ...provider, preset: 'generic' }, provider.issuer)).toBe(true)
})

it('a provider pins tenants if its issuer or its list names them', () => {
  expect(pinsTenants(row(tenant))).toBe(true)
  expect(pinsTenants(row('organizations', [tenant]))).toBe(true)
  expect(pinsTenants(row('organizations'))).toBe(false)
  expect(pinsTenants(row('common'))).toBe(false)
})

it('a key may sign for all tenants, for its own tenant, or for any issuer if it names none', () => {
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

it('a key set is reduced to the keys for the tenant and those that name no issuer', () => {
  const key = (issuer: unknown) => ({ kid: String(issuer), issuer })
  const own: { kid: string; issuer?: unknown }[] = [
    { kid: 'without an issuer' },
    key(issuerOf(tenant)),
    key(templateOf(issuerOf('organizations'))),
  ]
  const foreign = [key(issuerOf(other)), key(null), key(''), key([issuerOf(tenant)])]
  const maySignFor = ({ issuer }: { issuer?: unknown }) =>
    maySign(row('organizations'), issuerOf(tenant), issuer)
  expect([...foreign, ...own].filter(maySignFor)).toEqual(own)
})
