import { describe, expect, it } from '@jest/globals'
import { simulateAttacks } from '../../lib/cli/noauth-attacks.ts'
import type { Provider } from '../../lib/providers/provider.ts'

const acme = {
  portal: 'default',
  slug: 'acme',
  preset: 'generic',
  issuer: 'https://id.acme.example',
  clientId: 'portal',
  emailClaim: 'email',
  trustsEmail: false,
  emailDomains: [],
  organizationValues: [],
  tenants: [],
} as unknown as Provider

const entra = (tenant: string) => ({
  preset: 'entra',
  issuer: `https://login.microsoftonline.com/${tenant}/v2.0`,
})
const ownTenant = '4c1b2a3d-0000-4000-8000-00000000abcd'
const otherTenant = '5d2c3b4e-0000-4000-8000-00000000ef01'
const severalTenants = { ...entra('organizations'), tenants: [ownTenant, otherTenant] }
const google = { preset: 'google', issuer: 'https://accounts.google.com' }
const trustsEmail = { trustsEmail: true }
const withDomains = { emailDomains: ['acme.example'] }

const simulate = (settings: Partial<Provider>) => simulateAttacks({ ...acme, ...settings })
const successfulAttacks = (settings: Partial<Provider>) =>
  simulate(settings)
    .filter(({ result }) => result === 'failed')
    .map(({ name }) => name)

const unverifiedAddress = ['unverified', 'flag-missing', 'flag-as-text', 'mixed-sources']
const microsoftAttacks = ['tenant-admin', 'edov-false', 'edov-as-text']

describe('nOAuth attacks against a provider', () => {
  it.each<[string, Partial<Provider>]>([
    ['with default settings', {}],
    ['with a list of domains', withDomains],
    ['trusted for the addresses of its domains', { ...trustsEmail, ...withDomains }],
    ['whose address claim is the user name', { emailClaim: 'preferred_username' }],
    ['Google with a Workspace domain', { ...google, ...withDomains }],
    ['Google for gmail.com', { ...google, emailDomains: ['gmail.com'] }],
    ['Google with any domain', google],
    ['Google, trusted for every address of a domain', { ...google, ...trustsEmail, ...withDomains }],
    [
      'Google without its preset, limited to the accounts of a Workspace',
      {
        issuer: google.issuer,
        organizationClaim: 'hd',
        organizationValues: ['acme.example'],
        ...withDomains,
      },
    ],
    ['a self-hosted GitLab', { preset: 'gitlab', issuer: 'https://gitlab.acme.example' }],
    ['gitlab.com with a list of domains', { preset: 'gitlab', issuer: 'https://gitlab.com', ...withDomains }],
    ['Entra for one tenant', entra(ownTenant)],
    [
      'Entra for one tenant, trusted for its domains',
      { ...entra(ownTenant), ...trustsEmail, ...withDomains },
    ],
    ['Entra for listed tenants', { ...entra('organizations'), tenants: [ownTenant] }],
    [
      'Entra for several tenants, trusted for domains that are bound to them',
      {
        ...severalTenants,
        ...trustsEmail,
        emailDomains: [`acme.example@${ownTenant}`, `globex.example@${otherTenant}`],
      },
    ],
    [
      'Entra for several tenants, trusted for domains that are not bound to them',
      { ...severalTenants, ...trustsEmail, emailDomains: ['acme.example', `globex.example@${otherTenant}`] },
    ],
    ['Entra for several tenants, trusted for every address', { ...severalTenants, ...trustsEmail }],
    ['Entra for every organisation', entra('organizations')],
    ['Entra for every organisation, with a list of domains', { ...entra('organizations'), ...withDomains }],
  ])('all fail: %s', (_description, settings) => {
    expect(successfulAttacks(settings)).toEqual([])
  })

  it.each<[string, Partial<Provider>, string[], RegExp]>([
    ['trusted for every address', trustsEmail, unverifiedAddress, /emailDomains/],
    [
      'trusted for every user name',
      { ...trustsEmail, emailClaim: 'preferred_username' },
      [...unverifiedAddress, 'username'],
      /emailDomains/,
    ],
    [
      'Google, connected with the preset generic',
      { issuer: google.issuer },
      ['public-account'],
      /emailDomains/,
    ],
    [
      'Google with a Workspace domain, connected with the preset generic',
      { issuer: google.issuer, ...withDomains },
      ['personal-account'],
      /preset google.*organizationClaim to hd/,
    ],
    [
      'gitlab.com without a list of domains',
      { issuer: 'https://gitlab.com' },
      ['public-account'],
      /emailDomains/,
    ],
    [
      'Google, connected with the preset generic and trusted for addresses that it has not verified',
      { issuer: google.issuer, ...trustsEmail, ...withDomains },
      [...unverifiedAddress, 'personal-account'],
      /turn off trustsEmail/,
    ],
    [
      'Entra for one tenant, trusted for every address',
      { ...entra(ownTenant), ...trustsEmail },
      [...unverifiedAddress, 'tenant-admin'],
      /emailDomains/,
    ],
    [
      'Entra without its preset',
      { ...entra(ownTenant), preset: 'generic' },
      microsoftAttacks,
      /preset entra/,
    ],
    ...[
      `https://login.microsoftonline.us/${ownTenant}/v2.0`,
      `https://login.partner.microsoftonline.cn/${ownTenant}/v2.0`,
      `https://sts.windows.net/${ownTenant}/`,
    ].map((issuer): [string, Partial<Provider>, string[], RegExp] => [
      `Entra at ${new URL(issuer).hostname}, without its preset`,
      { issuer },
      microsoftAttacks,
      /preset entra/,
    ]),
  ])(
    'succeed because of a setting, and the report says which one to change: %s',
    (_description, settings, names, hint) => {
      expect(successfulAttacks(settings)).toEqual(names)
      for (const check of simulate(settings).filter(({ result }) => result === 'failed')) {
        expect(check.message).toContain('signed in as the owner of the address')
        expect(check.hint).toMatch(hint)
      }
    },
  )

  it('come with a warning, and its reason, if the provider is trusted for every address', () => {
    const vouching = (row: object) => simulate(row).find(({ name }) => name === 'vouching')
    expect(vouching(trustsEmail)).toMatchObject({
      result: 'warning',
      message:
        'it vouches for every address; there is no domain limit, so anyone who can set an address there can sign in as its owner',
      hint: expect.stringContaining('list the domains'),
    })
    expect(vouching({ ...trustsEmail, ...withDomains })).toMatchObject({
      result: 'ok',
      message: 'it vouches for addresses of @acme.example only',
    })
  })

  it('are run against every domain of the settings, from every tenant to which it is not bound', () => {
    const emailDomains = [`acme.example@${ownTenant}`, `globex.example@${otherTenant}`]
    const row = { ...severalTenants, ...trustsEmail, emailDomains }
    const messages = simulate(row).map(({ message }) => message)
    expect(messages).toContainEqual(
      expect.stringMatching(`of another tenant.*, of acme.example, from tenant ${otherTenant}: stopped`),
    )
    expect(simulate({ ...google, ...withDomains }).map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/personal Google account.*, of acme\.example: stopped/),
    )
  })

  it('use an address of a listed domain if it must be verified, and of another domain otherwise', () => {
    const outcomes = simulate(withDomains).map(({ name, message }) => [name, message.split(': ').at(-1)])
    expect(outcomes).toContainEqual(['unverified', 'stopped, a code goes to the owner of the address'])
    expect(outcomes).toContainEqual(['other-domain', 'stopped, a code goes to the owner of the address'])
    // If the settings list the domain that the attack would use, it uses another one.
    expect(successfulAttacks({ ...trustsEmail, emailDomains: ['elsewhere.example'] })).toEqual([])
  })

  it('report that the attacker only gets an account of their own', () => {
    const { message } = simulate({}).find(({ name }) => name === 'username')!
    expect(message).toMatch(/stopped, the attacker only gets an account of their own$/)
  })
})
