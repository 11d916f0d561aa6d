import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import {
  contoso,
  type EntraClaims,
  type EntraLookAlike,
  entraError,
  fabrikam,
  startEntraLookAlike,
} from '../support/entra-look-alike.ts'
import type { Faults } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { linesOf, testSignIn, textOf } from '../support/test-sign-in.ts'
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
const causeOf = ({ body }: Seen) =>
  String(portal.logs.find(({ fields }) => body.includes(String(fields.reference)))?.fields.cause)
const codeOf = async () => {
  const [event] = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
  return (JSON.parse(event.detail) as { code: string }).code
}
const checkNamed = async (name: string) => {
  const { checks } = await portal.sso.providers.test('entra')
  return checks.find((check) => check.name === name)
}
/** The text of the page’s links, the first step first. */
const stepsIn = ({ body }: Seen) =>
  [...body.matchAll(/<a class="sso-button[^>]*href="([^"]*)"[^>]*>([^<]*)/g)].map(([, href, label]) => ({
    href: href!.replaceAll('&amp;', '&'),
    label,
  }))

const verifiedEmail = { email: 'ada@contoso.example', xms_edov: true }

describe('a healthy Entra provider', () => {
  it('shows no warning about the clock in a test sign-in, although its tokens are five minutes old', async () => {
    await open(contoso)
    entra.signsIn(verifiedEmail)
    const report = await testSignIn({ portal, visitor }, 'entra')
    const clocks = linesOf(report).find(({ title }) => title === 'Clocks')
    expect(clocks).toMatchObject({ result: 'ok', text: expect.stringContaining('not issued in the future') })
  })

  it('shows no warning about PKCE in the connection test, although it does not announce it', async () => {
    await open(contoso)
    expect(await checkNamed('pkce')).toMatchObject({
      name: 'pkce',
      result: 'ok',
      message: 'Microsoft Entra ID supports PKCE with S256, although it does not announce it',
    })
    const { checks } = await portal.sso.providers.test('entra')
    expect(checks.filter(({ result }) => result === 'warning' || result === 'failed')).toEqual([])
  })
})

describe('a user whose account is not admitted', () => {
  it.each<[what: string, tenant: string, claims: EntraClaims, faults: Faults, code: string]>([
    [
      'of a tenant that is not listed',
      `${contoso} ${fabrikam}`,
      { tid: stranger },
      {},
      'organization_not_admitted',
    ],
    [
      'of the tenant of personal accounts',
      'organizations',
      { tid: personalAccounts },
      {},
      'organization_not_admitted',
    ],
    [
      'of another tenant (AADSTS50020)',
      contoso,
      {},
      { authorizeError: entraError('access_denied', 50020).authorizeError },
      'organization_not_admitted',
    ],
    [
      'of another tenant at the token endpoint (AADSTS50020)',
      contoso,
      {},
      { tokenError: entraError('invalid_grant', 50020).tokenError },
      'organization_not_admitted',
    ],
    [
      'that is not assigned to the application (AADSTS50105)',
      contoso,
      {},
      { authorizeError: entraError('access_denied', 50105).authorizeError },
      'account_not_assigned',
    ],
  ])('%s can choose another account', async (_what, tenant, claims, faults, code) => {
    await open(tenant)
    entra.signsIn({ ...verifiedEmail, ...claims })
    Object.assign(entra.faults, faults)
    entra.requests.length = 0
    const seen = await click()
    expect([seen.status, await codeOf()]).toEqual([403, code])
    expect(textOf(seen.body)).toMatch(
      code === 'account_not_assigned'
        ? /An administrator must give your account access to this portal at Contoso/
        : /is a personal account, or belongs to an organisation that is not admitted here/,
    )
    expect(await isSignedIn()).toBe(false)
    expect(await portal.knex('sso_identities')).toEqual([])
    expect(entra.requests.filter(({ path }) => path === '/token').length).toBeLessThan(2)
    const [first] = stepsIn(seen)
    expect(first).toMatchObject({ label: 'Use another account' })
    const { location } = await visitor.get(portal.url + first!.href)
    expect(new URL(location!).searchParams.get('prompt')).toBe('select_account')
  })

  it('is not confused with a token that contradicts its issuer', async () => {
    await open(contoso)
    entra.signsIn(verifiedEmail)
    entra.faults.claims = { tid: fabrikam }
    expect([(await click()).status, await codeOf()]).toEqual([400, 'response_invalid'])
  })
})

describe('an Entra that is overloaded', () => {
  const busy = entraError('temporarily_unavailable', 90033)
  it.each<[what: string, faults: Faults, cause: RegExp]>([
    [
      'responds with 429 at the token endpoint',
      { tokenResponse: { status: 429, headers: { 'content-type': 'text/plain' }, body: 'slow down' } },
      /status 429/,
    ],
    [
      'responds with 429 and an error at the token endpoint',
      { tokenError: { status: 429, body: { error: 'too_many_requests' } } },
      /status 429/,
    ],
    ['responds with 429 instead of its keys', { jwksResponse: { status: 429, body: '' } }, /status 429/],
    [
      'responds with temporarily_unavailable (AADSTS90033)',
      { tokenError: busy.tokenError },
      /status 400.*AADSTS90033/,
    ],
    [
      'returns temporarily_unavailable through the browser',
      { authorizeError: busy.authorizeError },
      /unverified: the error "temporarily_unavailable" \(AADSTS90033/,
    ],
  ])('asks the user to try again later if it %s', async (_what, faults, cause) => {
    await open(contoso)
    entra.signsIn(verifiedEmail)
    Object.assign(entra.faults, faults)
    const seen = await click()
    expect([seen.status, await codeOf()]).toEqual([502, 'provider_unavailable'])
    expect(seen.body).toContain('Please try again in a few minutes')
    expect(seen.body).not.toContain('To keep your account safe')
    expect(causeOf(seen)).toMatch(cause)
    expect(stepsIn(seen)[0]).toMatchObject({ label: 'Try again' })
  })
})

describe('a consent that was given in the admin center', () => {
  const query = `?admin_consent=True&tenant=${contoso}`
  const records = async () => [portal.logs.length, (await portal.knex('sso_events')).length]

  it.each([
    ['the consent URL', '/login/entra/admin-consent', query],
    ['the redirect URI of the consent', '/login/entra/admin-consent/callback', query],
    ['the callback', '/login/entra/callback', query],
    ['the callback, refused', '/login/entra/callback', '?admin_consent=True&error=access_denied'],
  ])(
    'returns to %s without `state`: the page is neutral, offers a test, and records nothing',
    async (...row) => {
      const [, path, response] = row
      await open(contoso)
      const before = await records()
      const seen = await visitor.get(portal.url + path + response)
      expect(seen.status).toBe(200)
      expect(textOf(seen.body)).toMatch(
        /Back from Contoso The portal cannot see whether your organisation agreed to this/,
      )
      expect(seen.body).not.toMatch(/approved|not recorded/)
      expect(stepsIn(seen)).toEqual([{ href: '/login/entra', label: 'Test the sign-in' }])
      expect(await records()).toEqual(before)
    },
  )

  it.each(['entra', 'nobody'])(
    'returns before the provider is enabled: /login/%s looks like a name that no provider has, and records nothing',
    async (slug) => {
      await open(contoso)
      await portal.sso.providers.disable('entra')
      const before = await records()
      const seen = await visitor.get(`${portal.url}/login/${slug}/callback${query}`)
      expect([seen.status, stepsIn(seen)]).toEqual([200, [{ href: '/login', label: 'Back to Portal' }]])
      expect(textOf(seen.body)).toContain(
        'Once this sign-in service is enabled here, test the sign-in to find out.',
      )
      expect(seen.body).not.toMatch(/Contoso|approved/)
      expect(await records()).toEqual(before)
    },
  )

  it('returns in German, too', async () => {
    await open(contoso)
    visitor = new Visitor({ 'accept-language': 'de' })
    const seen = await visitor.get(`${portal.url}/login/entra/callback${query}`)
    expect(textOf(seen.body)).toContain('Zurück von Contoso')
  })

  it.each([
    ['a code', `${query}&code=x`, 400],
    ['a foreign state', `${query}&state=x`, 400],
    ['two states', `${query}&state=x&state=y`, 400],
    ['no consent', '?tenant=x', 400],
  ])('is not recognised in a response with %s', async (_what, response, status) => {
    await open(contoso)
    expect((await visitor.get(`${portal.url}/login/entra/callback${response}`)).status).toBe(status)
  })

  it('is not recognised at a provider of another preset', async () => {
    portal = await startPortal()
    await portal.connect(entra, {
      slug: 'entra',
      ...entra.row(contoso),
      preset: 'generic',
      tenant: undefined,
    })
    expect((await visitor.get(`${portal.url}/login/entra/callback${query}`)).status).toBe(400)
  })
})

describe('an error number of Entra', () => {
  const inBrowser = (error: string, number: number) => ({
    authorizeError: entraError(error, number).authorizeError,
  })
  const atToken = (error: string, number: number) => ({ tokenError: entraError(error, number).tokenError })

  it.each<[what: string, faults: Faults, code: string, page: RegExp, steps: string[]]>([
    [
      '65004: the user declined',
      inBrowser('access_denied', 65004),
      'consent_declined',
      /Try again and accept when Contoso asks/,
      ['Try again', 'Choose a sign-in service'],
    ],
    [
      '650052: the organisation lacks a service',
      inBrowser('access_denied', 650052),
      'consent_missing',
      /only after an administrator of your organisation has approved it/,
      ['Try again', 'I’m an administrator', 'Choose a sign-in service'],
    ],
    [
      '50076: a second factor is missing',
      atToken('invalid_grant', 50076),
      'authentication_too_weak',
      /extra verification step to continue, such as a code on your phone/,
      ['Try again', 'Choose a sign-in service'],
    ],
    [
      '53003: a policy blocks the sign-in',
      atToken('invalid_grant', 53003),
      'provider_denied',
      /your sign-in service did not allow it/,
      ['Try again', 'Choose a sign-in service'],
    ],
    [
      '700016: the application is unknown',
      atToken('unauthorized_client', 700016),
      'provider_error',
      /A setting at Contoso or in this portal is wrong.*Please contact your administrator/,
      ['Choose a sign-in service'],
    ],
    [
      '700025: the client is public',
      atToken('invalid_client', 700025),
      'provider_error',
      /A setting at Contoso or in this portal is wrong/,
      ['Choose a sign-in service'],
    ],
  ])('selects the page and its next steps: %s', async (_what, faults, code, page, steps) => {
    await open(contoso)
    Object.assign(entra.faults, faults)
    const seen = await click()
    expect(await codeOf()).toBe(code)
    expect(textOf(seen.body)).toMatch(page)
    expect(stepsIn(seen).map(({ label }) => label)).toEqual(steps)
    expect(seen.body).not.toMatch(/AADSTS|Something is not/)
  })

  it.each<[what: string, faults: Faults, remedy: RegExp, not: RegExp]>([
    [
      '65004',
      inBrowser('access_denied', 65004),
      /accept when Microsoft asks\./,
      /administrator must consent/,
    ],
    [
      '650052',
      inBrowser('access_denied', 650052),
      /remove the API permissions of services other than/i,
      /^$/,
    ],
    ['50020', inBrowser('access_denied', 50020), /invite this account as a guest/, /You cancelled/],
    ['50105', inBrowser('access_denied', 50105), /Users and groups\./, /You cancelled/],
    ['50076', atToken('invalid_grant', 50076), /Set up a second factor/, /redirect URI/],
    ['700016', atToken('unauthorized_client', 700016), /compare the client ID and the tenant/i, /secret/],
    ['700025', atToken('invalid_client', 700025), /for the platform Web/, /secret/],
  ])('selects the remedy in a test sign-in: %s', async (number, faults, remedy, not) => {
    await open(contoso)
    Object.assign(entra.faults, faults)
    const report = await testSignIn({ portal, visitor }, 'entra')
    const failed = linesOf(report).find(({ result }) => result === 'failed')!
    expect(failed.text).toContain(`AADSTS${number}`)
    const [, advice = ''] = /class="sso-check-remedy">([^<]*)/.exec(report.body) ?? []
    expect(advice).toMatch(remedy)
    expect(advice).not.toMatch(not)
  })

  it.each([
    [
      atToken('unauthorized_client', 700016),
      'the provider does not accept the client: the tenant has no application with this client ID (status 400',
    ],
    [
      atToken('invalid_client', 700025),
      'the provider does not accept the client: the application is registered as a public client, which must not send a secret (status 401',
    ],
  ])('names the cause in the connection test: %j', async (faults, message) => {
    await open(contoso)
    Object.assign(entra.faults, faults)
    expect(await checkNamed('credentials')).toMatchObject({
      result: 'failed',
      message: expect.stringContaining(message),
    })
  })
})

describe('an error that comes through the browser', () => {
  const long = `The application 'Portal' is blocked for ada@contoso.example. ${'It is so. '.repeat(40)}`

  it('is logged with the trace id, although the description is longer, and labelled as unverified', async () => {
    await open(contoso)
    entra.faults.authorizeError = entraError('access_denied', 50105, long).authorizeError
    const cause = causeOf(await click())
    const traceId = 'Trace ID: 00000000-1111-2222-3333-444444444444'
    expect(cause).toMatch(/^reported by a browser, unverified: the error "access_denied" /)
    expect(cause).toContain(
      `(AADSTS50105, ${traceId}): "AADSTS50105: The application 'Portal' is blocked for … `,
    )
    expect(cause.length).toBeLessThan(400)
  })

  it('is recorded within the budget of the client address only', async () => {
    await open(contoso, {}, { rateLimits: { records: 2 } })
    entra.faults.authorizeError = entraError('invalid_request', 90014, 'Text of Mallory.').authorizeError
    const pages = [await click(), await click(), await click()]
    expect(pages.map(({ body }) => body.includes('Reference:'))).toEqual([true, true, false])
    const reasons = (await portal.knex('sso_events').where({ kind: 'sign-in-failed' })).map(
      ({ detail }) => (JSON.parse(detail) as { reason: string }).reason,
    )
    const logged = portal.logs.flatMap(({ fields }) => fields.cause ?? [])
    for (const records of [reasons, logged])
      expect(records.filter((text) => String(text).includes('Text of Mallory.'))).toHaveLength(2)
  })
})

describe('private_key_jwt', () => {
  const sentence =
    /^clientAuthentication: Microsoft Entra ID accepts private_key_jwt only with an uploaded certificate.*client_secret_post/

  it('is refused for an Entra provider, when it is connected and when it is changed', async () => {
    await open(contoso)
    const method = { clientAuthentication: 'private_key_jwt' } as const
    const connecting = portal.connect(entra, { slug: 'second', ...entra.row(contoso), ...method })
    await expect(connecting).rejects.toThrow(sentence)
    await expect(portal.sso.providers.update('entra', method)).rejects.toThrow(sentence)
    expect(
      (await portal.sso.providers.list()).map(({ clientAuthentication }) => clientAuthentication),
    ).toEqual(['client_secret_post'])
  })
})

describe('keys that name their issuer', () => {
  const keysOf = (tenant: string) => (keys: object[]) =>
    keys.map((key) => ({ ...key, issuer: entra.issuerOf(tenant) }))

  it.each<[tenant: string, keyTenant: string]>([
    [contoso, fabrikam],
    [contoso, personalAccounts],
    ['organizations', personalAccounts],
    [`${contoso} ${fabrikam}`, stranger],
  ])('fail the connection test of %s if they are for %s', async (tenant, keyTenant) => {
    await open(tenant)
    entra.faults.jwks = keysOf(keyTenant)
    expect(await checkNamed('keys')).toMatchObject({
      result: 'failed',
      message: `the keys cannot be used: they are for another issuer: ${JSON.stringify(entra.issuerOf(keyTenant))}`,
    })
  })

  it.each<[tenant: string, keyTenant: string]>([
    [contoso, '{tenantid}'],
    [contoso, contoso],
    ['organizations', '{tenantid}'],
    ['organizations', stranger],
    [`${contoso} ${fabrikam}`, fabrikam],
  ])('pass the connection test of %s if they are for %s', async (tenant, keyTenant) => {
    await open(tenant)
    entra.faults.jwks = keysOf(keyTenant)
    expect(await checkNamed('keys')).toMatchObject({ result: 'ok' })
  })
})

describe('a claim that is a list of addresses', () => {
  const settings = {
    emailClaim: 'verified_primary_email',
    trustsEmail: true,
    emailDomains: ['contoso.example'],
  }

  it('is read: the first address counts', async () => {
    await open(contoso, settings)
    entra.faults.claims = { verified_primary_email: ['ada@contoso.example', 'grace@contoso.example'] }
    await click()
    expect(await isSignedIn()).toBe(true)
    expect(await portal.knex('sso_identities').pluck('email')).toEqual(['ada@contoso.example'])
  })

  it.each<[value: unknown]>([
    [['Ada', 'ada@contoso.example']],
    [[['ada@contoso.example']]],
    [[{}]],
    [{ 0: 'ada@contoso.example' }],
  ])('is no address if it is %j', async (value) => {
    await open(contoso, settings)
    entra.faults.claims = { verified_primary_email: value }
    await click()
    expect(await isSignedIn()).toBe(false)
    expect(await portal.knex('sso_identities')).toEqual([])
  })

  it('is no address in the claim `email`, because `email_verified` would not say which one it is about', async () => {
    await open(contoso)
    entra.faults.claims = { email: ['ada@contoso.example', 'mallory@contoso.example'], xms_edov: true }
    await click()
    expect(await isSignedIn()).toBe(false)
    expect(await portal.knex('sso_identities')).toEqual([])
  })

  it.each<[value: unknown, says: RegExp]>([
    [
      ['Ada'],
      /The claim "verified_primary_email" is a list that does not start with an e-mail address: \["Ada"\]/,
    ],
    ['Ada', /The claim "verified_primary_email" is not an e-mail address: "Ada"/],
    [undefined, /There is no claim "verified_primary_email"/],
  ])('is named in the report of a test sign-in if it is %j', async (value, says) => {
    await open(contoso, settings)
    entra.faults.claims = { verified_primary_email: value }
    const report = await testSignIn({ portal, visitor }, 'entra')
    expect(linesOf(report).find(({ title }) => title === 'E-mail address')).toMatchObject({
      result: 'warning',
      text: expect.stringMatching(says),
    })
  })
})

describe('a sign-out at Microsoft', () => {
  const endSession = async () => {
    await click()
    return new URL(next(await visitor.post(`${portal.url}/logout`))!).searchParams
  }

  it('names the account by the `login_hint` of the ID token, so that Microsoft does not ask for it', async () => {
    await open(contoso)
    entra.signsIn({ ...verifiedEmail, login_hint: 'O.CiQ0ZjVjMTIzNC0w' })
    expect((await endSession()).get('logout_hint')).toBe('O.CiQ0ZjVjMTIzNC0w')
  })

  it('names it even if the ID token is too long for the URL', async () => {
    await open(contoso)
    entra.signsIn({ ...verifiedEmail, login_hint: 'O.CiQ0ZjVjMTIzNC0w', groups: 'g'.repeat(4000) })
    const query = await endSession()
    expect([query.get('id_token_hint'), query.get('logout_hint')]).toEqual([null, 'O.CiQ0ZjVjMTIzNC0w'])
  })

  it.each<[what: string, value: unknown]>([
    ['is missing', undefined],
    ['is not text', ['O.CiQ0']],
    ['is longer than 500 characters', 'x'.repeat(501)],
    ['contains a line break', 'O.Ci\nQ0'],
  ])('contains no `logout_hint` if the claim %s', async (_what, login_hint) => {
    await open(contoso)
    entra.signsIn(verifiedEmail)
    entra.faults.claims = { login_hint }
    const query = await endSession()
    expect([query.has('logout_hint'), query.has('id_token_hint')]).toEqual([false, true])
  })
})
