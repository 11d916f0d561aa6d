import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import {
  type FaultyProvider,
  type FaultyProviderOptions,
  startFaultyProvider,
} from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { ada, signIn } from '../support/scene.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

interface Vendor {
  /** how the vendor documents its provider */
  behaviour: FaultyProviderOptions
  answers: Record<string, string>
  /** entered as its guide says */
  settings?: Partial<ProviderInput>
}

const pool = 'eu-central-1_AbCdEfGhI'

const vendors: Record<string, Vendor> = {
  adfs: {
    answers: { domain: 'fs.example.com' },
    behaviour: {
      issuerPath: '/adfs',
      usual: {
        announceIss: false,
        omitIss: true,
        noPkceInMetadata: true,
        discovery: {
          token_endpoint_auth_methods_supported: [
            'client_secret_post',
            'client_secret_basic',
            'private_key_jwt',
            'windows_client_authentication',
          ],
          id_token_signing_alg_values_supported: ['RS256'],
          frontchannel_logout_supported: true,
          frontchannel_logout_session_supported: true,
        },
      },
      // The fixed claims of an ID token, without rules for others.
      claimsOf: () => ({
        email: undefined,
        email_verified: undefined,
        name: undefined,
        upn: 'ada@example.com',
        unique_name: 'EXAMPLE\\ada',
        sid: 'S-1-5-21-session',
      }),
    },
    settings: { trustsEmail: true, emailDomains: ['example.com'], frontChannelLogout: true },
  },
  cognito: {
    answers: { pool },
    behaviour: {
      issuerPath: `/${pool}`,
      usual: { announceIss: false, omitIss: true, noPkceInMetadata: true },
      claimsOf: () => ({ token_use: 'id', 'cognito:username': 'ada', origin_jti: 'b3a7c1' }),
    },
    settings: { emailDomains: ['example.com'] },
  },
  authentik: {
    answers: { address: 'https://id.example.com', application: 'portal' },
    behaviour: {
      issuerPath: '/application/o/portal/',
      usual: { announceIss: false, omitIss: true },
      // Since 2025.10.
      claimsOf: () => ({ email_verified: false, preferred_username: 'ada' }),
    },
    settings: { trustsEmail: true, emailDomains: ['example.com'] },
  },
  zitadel: {
    answers: { domain: 'acme-abc123.eu1.zitadel.cloud' },
    behaviour: {
      clientId: '69234237810729234',
      usual: { claimsInUserinfoOnly: true },
      claimsOf: () => ({
        aud: ['69234237810729234', '69234237810729235', '69234237810729019'],
        azp: '69234237810729234',
        amr: ['pwd', 'mfa'],
      }),
    },
    settings: { emailDomains: ['example.com'] },
  },
  ory: {
    answers: { domain: 'acme-abc123.projects.oryapis.com' },
    behaviour: {
      usual: {
        announceIss: false,
        omitIss: true,
        discovery: { backchannel_logout_supported: true, backchannel_logout_session_supported: true },
      },
      claimsOf: () => ({ name: undefined, given_name: 'Ada', family_name: 'Lovelace', rat: 1 }),
    },
  },
  salesforce: {
    answers: { domain: 'acme.my.salesforce.com' },
    behaviour: { usual: { announceIss: false, omitIss: true, claimsInUserinfoOnly: true } },
    settings: { emailDomains: ['example.com'] },
  },
}

let provider: FaultyProvider
let portal: TestPortal
let visitor: Visitor

beforeEach(async () => {
  visitor = new Visitor()
  portal = await startPortal({ mailer: async () => {} })
  await portal.sso.users.create(ada)
})
afterEach(() => Promise.all([portal.close(), provider.close()]))

async function connect(name: string, settings?: Partial<ProviderInput>): Promise<void> {
  const vendor = vendors[name]!
  provider = await startFaultyProvider(vendor.behaviour)
  if (name === 'salesforce')
    provider.person = {
      ...provider.person,
      sub: 'https://login.salesforce.com/id/00Dxx0000001gPL/005xx000001SwiU',
    }
  await portal.connect(provider, {
    slug: name,
    preset: name,
    answers: vendor.answers,
    ...(settings ?? vendor.settings),
  })
}

const enter = (name: string) => signIn({ portal, visitor }, name)
const isSignedIn = async () => (await visitor.get(`${portal.url}/portal`)).status === 200

/** The page that signing out leads to: of the provider, or of the portal. */
async function signOut(): Promise<string> {
  const page: Seen = await visitor.post(`${portal.url}/logout`)
  const target = next(page) ?? ''
  return target.startsWith(provider.issuer.replace(/(:\d+).*/, '$1')) ? 'provider' : 'portal'
}

describe.each(Object.keys(vendors))('the preset %s', (name) => {
  it('signs in at a provider that behaves as the vendor documents', async () => {
    await connect(name)
    const { status, body } = await enter(name)
    expect([status, body]).toEqual([200, expect.stringContaining('"email":"ada@example.com"')])
    const [row] = await portal.sso.providers.list()
    expect(row!.lastTest!.checks.filter(({ result }) => result === 'failed')).toEqual([])
  })

  it(`signs out ${['cognito', 'salesforce'].includes(name) ? 'of the portal only' : 'of the provider, too'}`, async () => {
    await connect(name)
    await enter(name)
    expect(await signOut()).toBe(['cognito', 'salesforce'].includes(name) ? 'portal' : 'provider')
    expect(await isSignedIn()).toBe(false)
  })
})

it.each(['adfs', 'authentik'])(
  '%s does not vouch for addresses unless an administrator trusts it',
  async (name) => {
    await connect(name, {})
    const { body } = await enter(name)
    expect(body).toContain('code')
    expect(await isSignedIn()).toBe(false)
  },
)

it('AD FS sends the e-mail address if the request names the Web API and asks for a posted response', async () => {
  await connect('adfs', {
    emailClaim: 'email',
    responseMode: 'form_post',
    authorizationParameters: { resource: 'portal-at-provider' },
    trustsEmail: true,
    emailDomains: ['example.com'],
  })
  const { location } = await visitor.get(`${portal.url}/login/adfs`)
  expect(Object.fromEntries(new URL(location!).searchParams)).toMatchObject({
    resource: 'portal-at-provider',
    response_mode: 'form_post',
  })
  provider.faults.claims = { email: 'ada@example.com' }
  visitor = new Visitor()
  expect((await enter('adfs')).status).toBe(200)
})

it('AD FS ends a session here by its sid alone', async () => {
  await connect('adfs')
  await enter('adfs')
  expect(await isSignedIn()).toBe(true)
  const frame = new Visitor()
  await frame.get(`${portal.sso.providers.frontChannelLogoutUri('adfs')}?sid=S-1-5-21-session`)
  expect(await isSignedIn()).toBe(false)
})
