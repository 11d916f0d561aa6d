import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { takeTimers } from '../support/clock.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { type Form, formIn, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  portal = await startPortal()
  await portal.connect(provider)
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} }, 'default')
  visitor = new Visitor()
})
afterEach(() => portal.close())

/** Who the guarded page says is signed in. */
async function signedInAs(who = visitor): Promise<string | undefined> {
  const seen = await who.get(`${portal.url}/portal`)
  return seen.status === 200 ? (JSON.parse(seen.body) as { user: { email: string } }).user.email : undefined
}

describe('a person signs in', () => {
  it('from a deep link over the picker and the provider back to the deep link, with two clicks', async () => {
    const picker = await visitor.open(`${portal.url}/portal/reports?year=2026&q=a%20b`)
    expect(picker.url).toContain('/login?returnTo=')
    const [, href] = /href="(\/login\/acme[^"]*)"/.exec(picker.body) ?? []
    const landed = await visitor.open(portal.url + href!.replaceAll('&amp;', '&'))
    expect(landed.status).toBe(200)
    expect(landed.url).toBe(`${portal.url}/portal/reports?year=2026&q=a%20b`)
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('with PKCE S256, state, nonce and the three scopes in the request', async () => {
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

  it('again later as the same user, though the address at the provider has changed', async () => {
    await visitor.open(`${portal.url}/login/acme`)
    provider.person = { ...provider.person, email: 'grace@example.com' }
    const other = new Visitor()
    await other.open(`${portal.url}/login/acme`)
    expect(await signedInAs(other)).toBe('ada@example.com')
  })

  it('and whatever the provider says of roles and groups changes nothing', async () => {
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

  it('and costs the server no stored state before that', async () => {
    await visitor.open(`${portal.url}/portal`)
    await visitor.get(`${portal.url}/login/acme`)
    expect(visitor.cookieNames(portal.url).filter((name) => !name.startsWith('sso-attempt-'))).toEqual([])
  })

  it('200 at once over two providers, each into their own session', async () => {
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
      await portal.sso.users.create(
        { email: `person-${n}@example.com`, name: `Person ${n}`, fields: {} },
        'default',
      )

    // The load decides how long each one waits: no time limit is under test here.
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

/** Whom the provider's authorization endpoint handed a code for. */
function claimedBy(from: FaultyProvider, code: string): { email?: string | undefined } {
  const { email } = from.personOf(code)!
  return { email }
}

// What certification asks to be accepted is in test/refusals/accepted.test.ts.
describe('real providers differ, and all of this works', () => {
  it('`iss` in the callback without announcing it, and no `iss` without announcing it', async () => {
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

  it('`email_verified` as the text "true"', async () => {
    provider.person = { ...provider.person, email_verified: 'true' }
    await visitor.open(`${portal.url}/login/acme`)
    expect(await signedInAs()).toBe('ada@example.com')
  })

  it('`email_verified` absent, if the administrator trusts the addresses', async () => {
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

  it('errors from the token endpoint with 403 instead of 400: a refusal page, the cause in the log', async () => {
    provider.faults.tokenError = { status: 403, body: { error: 'invalid_grant', error_description: 'gone' } }
    const seen = await visitor.open(`${portal.url}/login/acme`)
    expect(seen.status).toBe(400)
    expect(portal.logs.at(-1)!.fields.cause).toContain('invalid_grant: gone')
  })

  it('Basic credentials that the server does not decode, for ids with a dash', async () => {
    const raw = await startFaultyProvider({ clientId: '6f9c-portal-42', clientSecret: 'plain-secret_1.0' })
    raw.faults.rawCredentials = true
    await portal.connect(raw, { slug: 'raw' })
    await visitor.open(`${portal.url}/login/raw`)
    expect(await signedInAs()).toBe('ada@example.com')
    await raw.close()
  })

  it('a clock that is 25 seconds ahead, and one that is 25 seconds behind', async () => {
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

  /** The provider's page that posts the answer: where to, and what. */
  async function postedAnswer(): Promise<Form> {
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/posted`)
    expect(new URL(start.location!).searchParams.get('response_mode')).toBe('form_post')
    return formIn((await visitor.get(start.location!)).body)
  }

  it('comes without our Lax cookies, is posted again from our own page, and signs in', async () => {
    const { action, fields } = await postedAnswer()
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

  it('is not posted again for ever', async () => {
    const { action, fields } = await postedAnswer()
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

describe('several tabs, the back button, and time', () => {
  it('two tabs begun one after the other both finish, in any order', async () => {
    const first = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/first`)
    const second = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/second`)
    expect((await visitor.open(second.location!)).url).toBe(`${portal.url}/portal/second`)
    expect((await visitor.open(first.location!)).url).toBe(`${portal.url}/portal/first`)
  })

  it('the back button repeats the response: the user is signed in and gets the page', async () => {
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
    const answer = (await visitor.get(start.location!)).location!
    await visitor.open(answer)
    const landed = await visitor.open(answer)
    expect(landed).toMatchObject({ status: 200, url: `${portal.url}/portal/deep` })
  })

  it('the response is repeated after signing out: one button starts again and keeps the deep link', async () => {
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
    const answer = (await visitor.get(start.location!)).location!
    await visitor.open(answer)
    await visitor.post(`${portal.url}/logout`)
    const seen = await visitor.open(answer)
    expect(seen.status).toBe(400)
    expect(seen.body).toContain('href="/login/acme?returnTo=%2Fportal%2Fdeep"')
    expect(await signedInAs()).toBeUndefined()
  })

  it('an attempt that this browser never started ends on a page with a next step', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    const answer = (await visitor.get(start.location!)).location!
    const stranger = new Visitor()
    const seen = await stranger.open(answer)
    expect(seen.status).toBe(400)
    expect(seen.body).toContain('href="/login/acme"')
    expect(await signedInAs(stranger)).toBeUndefined()
  })

  it.each([
    [9, 200],
    [11, 400],
  ])('an answer after %d minutes is met with %d, and the deep link is kept', async (minutes, status) => {
    const now = Date.now
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() - minutes * 60_000)
    const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal/deep`)
    clock.mockRestore()
    const seen = await visitor.open(start.location!)
    expect(seen.status).toBe(status)
    if (status === 200) expect(seen.url).toBe(`${portal.url}/portal/deep`)
    else expect(seen.body).toContain('href="/login/acme?returnTo=%2Fportal%2Fdeep"')
  })

  it('forty tabs do not grow the cookie header past 8 KB, and the newest still finishes', async () => {
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
    'a link that demands a lot, %d characters of it, does not grow the cookie past 3 KB',
    async (length) => {
      const acr_values = Array.from({ length: 5 }, () => 'x'.repeat(length / 5 - 1)).join(' ')
      const query = new URLSearchParams({ returnTo: `/${'x'.repeat(1499)}`, acr_values, max_age: '31622400' })
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

describe('a provider changes during a sign-in', () => {
  it('edited: the response is refused', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    await portal.sso.providers.update('acme', { displayName: 'Acme International' })
    const seen = await visitor.open(start.location!)
    expect(seen.status).toBe(409)
    expect(await signedInAs()).toBeUndefined()
  })

  it('disabled: the response is refused with a link to the picker', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    await portal.sso.providers.disable('acme')
    const seen = await visitor.open(start.location!)
    expect(seen.status).toBe(404)
    expect(seen.body).toContain('href="/login"')
    expect(await signedInAs()).toBeUndefined()
  })
})
