import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { takeTimers } from '../support/clock.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import type { TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { type Form, formIn, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor

beforeEach(async () => {
  portal = await startPortalWithAda(provider)
  visitor = new Visitor()
})
afterEach(() => portal.close())

/** The address of the signed-in user, from the guarded page. */
async function signedInAs(browser = visitor): Promise<string | undefined> {
  const seen = await browser.get(`${portal.url}/portal`)
  return seen.status === 200 ? (JSON.parse(seen.body) as { user: { email: string } }).user.email : undefined
}

describe('a sign-in', () => {
  it('leads from a deep link to the picker, to the provider and back to the deep link, with two clicks', async () => {
    const picker = await visitor.open(`${portal.url}/portal/reports?year=2026&q=a%20b`)
    expect(picker.url).toContain('/login?returnTo=')
    const [, href] = /href="(\/login\/acme[^"]*)"/.exec(picker.body) ?? []
    const landed = await visitor.open(portal.url + href!.replaceAll('&amp;', '&'))
    expect(landed.status).toBe(200)
    expect(landed.url).toBe(`${portal.url}/portal/reports?year=2026&q=a%20b`)
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('sends PKCE S256, state, nonce and three scopes in the authorization request', async () => {
    const { location } = await visitor.get(`${portal.url}/login/acme`)
    const { searchParams } = new URL(location!)
    expect(Object.fromEntries(searchParams)).toMatchObject({
      response_type: 'code',
      client_id: provider.clientId,
      redirect_uri: `${portal.url}/login/acme/callback`,
      code_challenge_method: 'S256',
    })
    expect(searchParams.get('scope')!.split(' ').sort()).toEqual(['email', 'openid', 'profile'])
    expect(searchParams.get('code_challenge')).toMatch(/^[\w-]{43}$/)
    expect(searchParams.get('nonce')).toMatch(/^[\w-]{43}$/)
    expect(searchParams.get('state')!.length).toBeGreaterThan(32)
  })

  it('admits the same user after the address at the provider has changed', async () => {
    await visitor.open(`${portal.url}/login/acme`)
    provider.person = { ...provider.person, email: 'grace@example.com' }
    const other = new Visitor()
    await other.open(`${portal.url}/login/acme`)
    expect(await signedInAs(other)).toBe('ada@example.com')
  })

  it('ignores roles and groups of the provider', async () => {
    provider.faults.claims = { roles: ['admin'], groups: ['owners'], admin: true, active: false }
    await visitor.open(`${portal.url}/login/acme`)
    const { body } = await visitor.get(`${portal.url}/portal`)
    expect(Object.keys((JSON.parse(body) as { user: object }).user).sort()).toEqual([
      'active',
      'email',
      'id',
      'name',
    ])
  })

  it('stores no state on the server before the response', async () => {
    await visitor.open(`${portal.url}/portal`)
    await visitor.get(`${portal.url}/login/acme`)
    expect(visitor.cookieNames(portal.url).filter((name) => !name.startsWith('sso-attempt-'))).toEqual([])
  })

  it('works for 200 users of two providers at once, each with their own session', async () => {
    const second = await startFaultyProvider({ clientId: 'second' })
    await portal.connect(second, { slug: 'second', displayName: 'Second' })
    let count = 0
    for (const each of [provider, second]) {
      each.nextPerson = () => {
        const n = count++
        return {
          sub: `person-${n}`,
          email: `person-${n}@example.com`,
          email_verified: true,
          name: `Person ${n}`,
        }
      }
    }
    for (let n = 0; n < 200; n++)
      await portal.sso.users.create({ email: `person-${n}@example.com`, name: `Person ${n}`, fields: {} })

    // Fake timers, because this test is about mix-ups, not about time limits.
    const timers = takeTimers()
    const people = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const who = new Visitor()
        const start = await who.get(`${portal.url}/login/${n % 2 ? 'second' : 'acme'}?returnTo=/portal/${n}`)
        const back = await who.get(start.location!)
        const { email } = claimedBy(
          n % 2 ? second : provider,
          new URL(back.location!).searchParams.get('code')!,
        )
        const landed = await who.follow(await who.get(back.location!))
        expect(landed.url).toBe(`${portal.url}/portal/${n}`)
        return { expected: email, actual: await signedInAs(who) }
      }),
    ).finally(() => timers.back())
    await second.close()
    for (const { expected, actual } of people) expect(actual).toBe(expected)
    expect(new Set(people.map(({ actual }) => actual)).size).toBe(200)
  })
})

/** The user for whom the provider has issued a code. */
function claimedBy(from: FaultyProvider, code: string): { email?: string | undefined } {
  const { email } = from.personOf(code)!
  return { email }
}

// test/refusals/accepted.test.ts covers the requirements of certification.
describe('a sign-in works with', () => {
  it('a provider that does not announce `iss`, whether it sends it or not', async () => {
    provider.faults.announceIss = false
    await visitor.open(`${portal.url}/login/acme`)
    expect(await signedInAs()).toBe('ada@example.com')
    provider.faults.omitIss = true
    const other = new Visitor()
    await other.open(`${portal.url}/login/acme`)
    expect(await signedInAs(other)).toBe('ada@example.com')
  })

  it.each(['/realm/', '/', '/realm'])(
    'an issuer that ends in %s, entered with or without the slash',
    async (issuerPath) => {
      const slashed = await startFaultyProvider({ issuerPath })
      await portal.connect(slashed, { slug: 'as-it-is' })
      await portal.connect(slashed, { slug: 'without', issuer: slashed.issuer.replace(/\/$/, '') })
      for (const slug of ['as-it-is', 'without']) {
        const who = new Visitor()
        await who.open(`${portal.url}/login/${slug}`)
        expect(await signedInAs(who)).toBe('ada@example.com')
      }
      await slashed.close()
    },
  )

  it('`email_verified` as the string "true"', async () => {
    provider.person = { ...provider.person, email_verified: 'true' }
    await visitor.open(`${portal.url}/login/acme`)
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('no `email_verified`, if the administrator trusts the addresses', async () => {
    await portal.sso.providers.update('acme', { trustsEmail: true })
    const { email_verified: _, ...person } = provider.person
    provider.person = person
    await visitor.open(`${portal.url}/login/acme`)
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('a sparse discovery document', async () => {
    provider.faults.sparseDiscovery = true
    await portal.connect(provider, { slug: 'sparse' })
    await visitor.open(`${portal.url}/login/sparse`)
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('token errors with status 403 instead of 400, which show an error page and are logged', async () => {
    provider.faults.tokenError = { status: 403, body: { error: 'invalid_grant', error_description: 'gone' } }
    const seen = await visitor.open(`${portal.url}/login/acme`)
    expect(seen.status).toBe(400)
    expect(portal.logs.at(-1)!.fields.cause).toContain('invalid_grant: gone')
  })

  it('a provider that does not decode Basic credentials, with a client ID that contains a dash', async () => {
    const raw = await startFaultyProvider({ clientId: '6f9c-portal-42', clientSecret: 'plain-secret_1.0' })
    raw.faults.rawCredentials = true
    await portal.connect(raw, { slug: 'raw' })
    await visitor.open(`${portal.url}/login/raw`)
    expect(await signedInAs()).toBe('ada@example.com')
    await raw.close()
  })

  it('a provider’s clock that is 25 seconds ahead or behind', async () => {
    const now = Math.floor(Date.now() / 1000)
    for (const skew of [25, -25]) {
      provider.faults.claims = { iat: now + skew, exp: skew > 0 ? now + 300 : now + skew }
      const who = new Visitor()
      await who.open(`${portal.url}/login/acme`)
      expect(await signedInAs(who)).toBe('ada@example.com')
    }
  })
})

describe('a posted authorization response (form_post)', () => {
  beforeEach(() => portal.sso.providers.update('acme', { responseMode: 'form_post' }))

  /** The form on the provider's page. */
  async function providerForm(): Promise<Form> {
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/posted`)
    expect(new URL(start.location!).searchParams.get('response_mode')).toBe('form_post')
    return formIn((await visitor.get(start.location!)).body)
  }

  it('arrives without our Lax cookies, is posted again from our own page, and signs in', async () => {
    const { action, fields } = await providerForm()
    const stranger = new Visitor()
    const again = await stranger.post(action, fields, { 'sec-fetch-site': 'cross-site', origin: 'null' })
    expect(again.status).toBe(200)
    expect(again.headers.get('content-security-policy')).toContain("form-action 'self'")
    const second = formIn(again.body)
    const landed = await visitor.follow(
      await visitor.post(new URL(second.action, portal.url).href, second.fields),
    )
    expect(landed.url).toBe(`${portal.url}/portal/posted`)
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('is posted again only once', async () => {
    const { action, fields } = await providerForm()
    const stranger = new Visitor()
    const second = formIn((await stranger.post(action, fields)).body)
    const seen = await stranger.post(new URL(second.action, portal.url).href, second.fields)
    expect(seen.status).toBe(400)
    expect(await signedInAs(stranger)).toBeUndefined()
  })

  it('is escaped on the page that posts it again', async () => {
    const { body } = await visitor.post(`${portal.url}/login/acme/callback`, {
      state: '"><script>alert(1)</script>',
      code: "'><img src=x>",
    })
    expect(body).not.toContain('<script>alert')
    expect(body).not.toContain('<img')
  })
})

describe('with several tabs and the back button,', () => {
  it('two sign-ins in two tabs both finish, in any order', async () => {
    const first = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/first`)
    const second = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/second`)
    expect((await visitor.open(second.location!)).url).toBe(`${portal.url}/portal/second`)
    expect((await visitor.open(first.location!)).url).toBe(`${portal.url}/portal/first`)
  })

  it('a repeated response opens the page if the user is signed in', async () => {
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
    const answer = (await visitor.get(start.location!)).location!
    await visitor.open(answer)
    const landed = await visitor.open(answer)
    expect(landed).toMatchObject({ status: 200, url: `${portal.url}/portal/deep` })
  })

  it('a response repeated after signing out shows a button that starts again and keeps the deep link', async () => {
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
    const answer = (await visitor.get(start.location!)).location!
    await visitor.open(answer)
    await visitor.post(`${portal.url}/logout`)
    const seen = await visitor.open(answer)
    expect(seen.status).toBe(400)
    expect(seen.body).toContain('href="/login/acme?returnTo=%2Fportal%2Fdeep"')
    expect(await signedInAs()).toBeUndefined()
  })

  it('the response of an unknown attempt shows a page with a next step', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    const answer = (await visitor.get(start.location!)).location!
    const stranger = new Visitor()
    const seen = await stranger.open(answer)
    expect(seen.status).toBe(400)
    expect(seen.body).toContain('href="/login/acme"')
    expect(await signedInAs(stranger)).toBeUndefined()
  })

  it.each([9, 11])('a response after %d minutes signs in, and the deep link is kept', async (minutes) => {
    const now = Date.now
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() - minutes * 60_000)
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
    clock.mockRestore()
    const seen = await visitor.open(start.location!)
    expect(seen).toMatchObject({ status: 200, url: `${portal.url}/portal/deep` })
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('forty tabs keep the Cookie header below 8 KB, and the newest one finishes', async () => {
    let last = ''
    for (let tab = 0; tab < 40; tab++) {
      const path = `/portal/${tab}?filter=${'x'.repeat(300)}`
      last = (await visitor.get(`${portal.url}/login/acme?returnTo=${encodeURIComponent(path)}`)).location!
    }
    const jar = visitor.cookies.get(portal.url)!
    expect([...jar].map(([name, value]) => name + value).join('; ').length).toBeLessThan(7000)
    expect((await visitor.open(last)).url).toContain('/portal/39?')
  })

  it.each([1200, 200, 100])(
    'a link with %d characters of acr_values keeps the cookie below 3 KB',
    async (length) => {
      const acr_values = Array.from({ length: 5 }, () => 'x'.repeat(length / 5 - 1)).join(' ')
      const query = new URLSearchParams({ returnTo: `/${'x'.repeat(999)}`, acr_values, max_age: '31622400' })
      await visitor.get(`${portal.url}/login/acme?${query}`)
      const [[name, value] = ['', '']] = visitor.cookies.get(portal.url)!
      expect(name).toMatch(/^sso-attempt-/)
      expect(`__Host-${name}=${value}; `.length).toBeLessThan(3000)
    },
  )

  it('a deep link that does not fit into a cookie is dropped, and the sign-in continues', async () => {
    const landed = await visitor.open(`${portal.url}/login/acme?returnTo=/portal/${'x'.repeat(3000)}`)
    expect(landed).toMatchObject({ status: 200, url: `${portal.url}/` })
  })
})

describe('during a sign-in,', () => {
  it('a change of the provider causes the response to be refused', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    await portal.sso.providers.update('acme', { displayName: 'Acme International' })
    const seen = await visitor.open(start.location!)
    expect(seen.status).toBe(409)
    expect(await signedInAs()).toBeUndefined()
  })

  it('disabling the provider causes the response to be refused with a link to the picker', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    await portal.sso.providers.disable('acme')
    const seen = await visitor.open(start.location!)
    expect(seen.status).toBe(404)
    expect(seen.body).toContain('href="/login"')
    expect(await signedInAs()).toBeUndefined()
  })
})
