import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderChanges } from '../../lib/providers/settings.ts'
import type { Claims } from '../support/faulty-provider.ts'
import type { TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { linesOf, testSignIn } from '../support/test-sign-in.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  portal = await startPortalWithAda(provider)
})
afterAll(() => portal.close())
beforeEach(() => {
  portal.logs.length = 0
  visitor = new Visitor()
})

const reset: ProviderChanges = { maxAge: null, acr: null, authorizationParameters: null }
const change = (settings: ProviderChanges) => portal.sso.providers.update('acme', { ...reset, ...settings })
const secondsAgo = (seconds: number) => Math.floor(Date.now() / 1000) - seconds

async function signIn(claims: Claims = {}, query = ''): Promise<Seen> {
  provider.faults.claims = claims
  return await visitor.open(`${portal.url}/login/acme?returnTo=/portal${query}`)
}

async function requestParameters(query = ''): Promise<Record<string, string>> {
  const { location } = await visitor.get(`${portal.url}/login/acme?${query}`)
  return Object.fromEntries(new URL(location!).searchParams)
}

/** Without the line of the callback that sent the user to the provider again. */
const refusals = () => portal.logs.filter(({ level }) => level !== 'info')
const codes = () => refusals().map(({ fields }) => fields.code)
const links = ({ body }: Seen) =>
  [...body.matchAll(/<a class="sso-button[^"]*" href="([^"]*)"/g)].map(([, href = '']) =>
    href.replaceAll('&amp;', '&'),
  )

describe('a provider with a maximum age of the authentication', () => {
  beforeEach(() => change({ maxAge: 3600 }))

  it('is asked for it, and admits a user who authenticated within that time', async () => {
    expect(await requestParameters()).toMatchObject({ max_age: '3600' })
    expect(await requestParameters()).not.toHaveProperty('prompt')
    expect(await signIn({ auth_time: secondsAgo(3500) })).toMatchObject({ status: 200 })
  })

  it.each<[what: string, claims: () => Claims, code: string]>([
    ['has no auth_time', () => ({}), 'authentication_unproven'],
    ['has an auth_time of 0', () => ({ auth_time: 0 }), 'authentication_unproven'],
    ['has an older auth_time', () => ({ auth_time: secondsAgo(3700) }), 'authentication_stale'],
    ['has an auth_time in the future', () => ({ auth_time: secondsAgo(-3600) }), 'authentication_unproven'],
  ])('refuses an ID token that %s', async (_what, claims, code) => {
    const seen = await signIn(claims())
    expect([seen.status, codes()]).toEqual([403, [code]])
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
    const { reference } = refusals()[0]!.fields
    const [{ detail }] = await portal.knex('sso_events').where({ kind: 'sign-in-failed', reference })
    expect(JSON.parse(detail)).toMatchObject({ code, reason: expect.stringContaining('auth_time') })
  })

  it('asks once more with prompt=login, then lets the user sign out at the provider and authenticate again', async () => {
    const [again] = links(await signIn({ auth_time: secondsAgo(3700) }))
    // The first is the request of the connection test.
    const [, ...asked] = provider.requests
      .filter(({ path }) => path === '/authorize')
      .map(({ query }) => query)
    expect(asked.map((query) => [query.get('max_age'), query.get('prompt')])).toEqual([
      ['3600', null],
      [null, 'login'],
    ])
    expect(again).toContain(`${provider.issuer}/logout?`)
    provider.faults.claims = { auth_time: secondsAgo(0) }
    expect(await visitor.open(again!)).toMatchObject({ status: 200, url: `${portal.url}/portal` })
  })

  it('can be required to be younger by a page, but not older', async () => {
    expect(await requestParameters('max_age=60')).toMatchObject({ max_age: '60' })
    expect(await requestParameters('max_age=86400')).toMatchObject({ max_age: '3600' })
    expect(await signIn({ auth_time: secondsAgo(3700) }, '&max_age=86400')).toMatchObject({ status: 403 })
    expect(await signIn({ auth_time: secondsAgo(3500) }, '&max_age=60')).toMatchObject({ status: 403 })
  })
})

describe('a provider with a required authentication', () => {
  beforeEach(() => change({ acr: ['mfa', 'phr'] }))

  it('is asked for it, and admits a user with one of its values', async () => {
    expect(await requestParameters()).toMatchObject({ acr_values: 'mfa phr' })
    expect(await signIn({ acr: 'phr' })).toMatchObject({ status: 200 })
  })

  it.each([undefined, '', 'pwd', 'mfa phr', ['mfa'], 'MFA'])(
    'refuses an ID token with acr %j',
    async (acr) => {
      const seen = await signIn({ acr })
      expect([seen.status, codes()]).toEqual([403, ['authentication_too_weak']])
      expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
    },
  )

  it('is asked only for values that a page accepts, too', async () => {
    expect(await requestParameters('acr_values=phr+x')).toMatchObject({ acr_values: 'phr' })
    expect(await requestParameters('acr_values=x')).toMatchObject({ acr_values: 'x' })
    expect(await signIn({ acr: 'x' }, '&acr_values=x')).toMatchObject({ status: 403 })
    expect(await signIn({ acr: 'mfa' }, '&acr_values=phr')).toMatchObject({ status: 403 })
  })

  it('is not satisfied by UserInfo, which is not signed', async () => {
    Object.assign(provider.faults, { claimsInUserinfoOnly: true, userinfoClaims: { acr: 'mfa' } })
    expect(await signIn()).toMatchObject({ status: 403 })
  })

  it('has it enforced in a test sign-in, whose report says what to do', async () => {
    const report = await testSignIn({ portal, visitor }, 'acme')
    expect(linesOf(report).find(({ result }) => result === 'failed')).toMatchObject({
      title: 'Identity',
      text: expect.stringMatching(/no acr.*The settings require another authentication \(acr\)/),
    })
  })
})

describe('an extra authorization parameter', () => {
  it.each(['max_age', 'acr_values', 'claims', 'id_token_hint'])(
    'cannot be %s, because nothing would enforce it',
    async (name) => {
      await expect(change({ authorizationParameters: { [name]: '1' } })).rejects.toThrow(
        /^authorizationParameters: must not contain acr_values, claims/,
      )
      await change({})
      await portal
        .knex('sso_providers')
        .update({ authorization_parameters: JSON.stringify({ [name]: '1' }), version: 1000 })
      expect(await requestParameters()).not.toHaveProperty(name)
    },
  )

  it.each<[ProviderChanges, RegExp]>([
    [{ maxAge: 29 }, /^maxAge: write a number of seconds/],
    [{ maxAge: 1.5 }, /^maxAge: /],
    [{ maxAge: 366 * 86_400 + 1 }, /^maxAge: /],
    [{ maxAge: 'soon' as unknown as number }, /^maxAge: /],
    [{ acr: ['mfa phr'] }, /^acr\.0: write a value without spaces/],
    [{ acr: [''] }, /^acr\.0: /],
  ])('has a setting in its place, which refuses %j', async (changes, message) => {
    await expect(change(changes)).rejects.toThrow(message)
  })
})

describe('a provider that sends the same subject for everybody (Azure AD B2C)', () => {
  it('signs in nobody, and names the setting that it lacks', async () => {
    await change({})
    const sub = 'Not supported currently. Use oid claim.'
    for (const email of ['ada@example.com', 'bob@example.com']) {
      provider.person = { sub, email, email_verified: true }
      const seen = await signIn()
      expect([seen.status, links(seen)]).toEqual([502, ['/login?returnTo=%2Fportal']])
      expect(seen.body).toContain('This sign-in service cannot tell people apart')
    }
    expect(codes()).toEqual(['subject_constant', 'subject_constant'])
    expect(refusals()[0]!.fields.cause).toMatch(/"Subject \(sub\) claim" .* to ObjectID/)
    expect(await portal.knex('sso_identities').where({ subject: sub })).toEqual([])
    const report = await testSignIn({ portal, visitor }, 'acme')
    expect(linesOf(report).find(({ result }) => result === 'failed')!.text).toContain(
      'set “Subject (sub) claim” to ObjectID',
    )
  })
})
