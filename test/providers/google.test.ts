import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { linesOf, testSignIn } from '../support/test-sign-in.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor

beforeEach(() => {
  visitor = new Visitor()
})
afterEach(() => portal.close())

/** Connects the provider as Google, in a portal with the user Ada. */
async function open(settings: Partial<ProviderInput> = {}): Promise<void> {
  portal = await startPortal()
  await portal.connect(provider, { slug: 'google', preset: 'google', ...settings })
  for (const email of ['ada@example.com', 'ada@gmail.com'])
    await portal.sso.users.create({ email, name: 'Ada', fields: {} })
}

/** Signs in with a Google account. @returns whether the user with this address was signed in */
async function isSignedIn(email: string, hd?: string): Promise<boolean> {
  provider.person = { sub: `${email} ${hd}`, email, email_verified: true, ...(hd && { hd }) }
  visitor = new Visitor()
  await visitor.open(`${portal.url}/login/google`)
  return (await visitor.get(`${portal.url}/portal`)).status === 200
}

const listed = { emailDomains: ['example.com', 'example.org'] }

describe('Google vouches', () => {
  it('for accounts of the Workspace, and not for a personal account with an address of the company', async () => {
    await open(listed)
    expect(await isSignedIn('ada@example.com')).toBe(false)
    expect(await portal.knex('sso_identities')).toEqual([])
    expect(await isSignedIn('ada@example.com', 'example.com')).toBe(true)
  })

  it('for accounts of another domain of the Workspace, and not for another Workspace', async () => {
    await open(listed)
    expect(await isSignedIn('ada@example.com', 'evil.example')).toBe(false)
    expect(await isSignedIn('ada@example.com', 'example.org')).toBe(true)
  })

  it('for the domains that the settings contain at the time of the sign-in', async () => {
    await open({ emailDomains: ['example.org'] })
    expect(await isSignedIn('ada@example.com', 'example.com')).toBe(false)
    await portal.sso.providers.update('google', listed)
    expect(await isSignedIn('ada@example.com', 'example.com')).toBe(true)
  })

  it('without a list of domains for accounts of any Workspace, for gmail.com, and for no other address', async () => {
    await open()
    expect(await isSignedIn('ada@example.com')).toBe(false)
    expect(await isSignedIn('ada@example.com', 'example.com')).toBe(true)
    expect(await isSignedIn('ada@gmail.com')).toBe(true)
  })

  it('for nobody else if it is trusted for every address', async () => {
    await open({ ...listed, trustsEmail: true })
    expect(await isSignedIn('ada@example.com')).toBe(false)
  })
})

describe('a provider with an organisation claim', () => {
  const organization = { organizationClaim: 'org_id', organizationValues: ['acme'] }

  it('vouches only for accounts with an accepted value', async () => {
    await open({ preset: 'generic', ...organization })
    for (const [org_id, expected] of [
      [undefined, false],
      ['evil', false],
      ['acme', true],
    ] as const) {
      provider.faults.claims = { org_id }
      expect([org_id, await isSignedIn('ada@example.com')]).toEqual([org_id, expected])
    }
  })

  it.each<Partial<ProviderInput>>([{ organizationClaim: 'org_id' }, { organizationValues: ['acme'] }])(
    'needs both the claim and its values: %j is refused',
    async (settings) => {
      await open(organization)
      const changes = { organizationClaim: null, organizationValues: null, ...settings }
      await expect(portal.sso.providers.update('google', changes)).rejects.toThrow(
        'organizationValues: give the claim and its accepted values together',
      )
    },
  )
})

describe('a test sign-in shows the organisation', () => {
  it.each<[hd: string | undefined, result: string, text: string]>([
    ['example.com', 'ok', 'The claim "hd" is "example.com".'],
    [
      'evil.example',
      'warning',
      'The claim "hd" is "evil.example". The provider vouches for verified addresses',
    ],
    [undefined, 'warning', 'There is no claim "hd".'],
  ])('of an account with hd %j', async (hd, result, text) => {
    await open(listed)
    provider.person = { ...provider.person, ...(hd && { hd }) }
    const report = await testSignIn({ portal, visitor }, 'google')
    expect(linesOf(report).at(-1)).toMatchObject({
      title: 'Organisation',
      result,
      text: expect.stringContaining(text),
    })
    if (hd) expect(report.body).not.toMatch(/hd<[\s\S]{0,200}not read/)
  })
})
