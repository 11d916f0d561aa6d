import { describe, expect, it, jest } from '@jest/globals'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { expectRefusal, testAftermath, useRefusalScene } from '../support/refusals.ts'
import { Visitor } from '../support/visitor.ts'

const scene = useRefusalScene()

/** Starts a sign-in and returns the URL of the authorization response, which the browser has not opened yet. */
async function startSignIn(slug = 'acme', visitor = scene.visitor): Promise<URL> {
  const start = await visitor.get(`${scene.portal.url}/login/${slug}`)
  return new URL((await visitor.get(start.location!)).location!)
}

describe('refused: an attacker who', () => {
  it('replays the authorization response in the same browser (RFC 9700 4.5)', async () => {
    const callback = (await startSignIn()).href
    await scene.visitor.open(callback)
    await scene.visitor.post(`${scene.portal.url}/logout`)
    await expectRefusal(scene, await scene.visitor.open(callback), {
      status: 400,
      cause: /received before; no restart/,
    })
  })

  it('replays the response with a copy of the cookies, after the provider has redeemed the code (RFC 6749 4.1.2)', async () => {
    const callback = (await startSignIn()).href
    const thief = scene.visitor.clone()
    await scene.visitor.open(callback)
    await scene.visitor.post(`${scene.portal.url}/logout`)
    scene.visitor = thief
    // The thief has to sign in at the provider.
    scene.provider.faults.authorizeError = { error: 'access_denied' }
    await expectRefusal(scene, await scene.visitor.open(callback), { status: 403, cause: /access_denied/ })
    const tokenRequests = scene.provider.requests.filter(({ path }) => path === '/token')
    expect(tokenRequests).toHaveLength(1)
  })

  it('uses an expired attempt (ours)', async () => {
    const then = Date.now() - 11 * 60_000
    const clock = jest.spyOn(Date, 'now').mockReturnValue(then)
    const start = await scene.visitor.get(`${scene.portal.url}/login/acme`)
    clock.mockRestore()
    const callback = await scene.visitor.get(start.location!)
    const seen = await scene.visitor.post(
      `${scene.portal.url}/login/acme/callback`,
      Object.fromEntries(new URL(callback.location!).searchParams),
    )
    await expectRefusal(scene, seen, { status: 400, cause: /has expired/ })
  })

  it('renames the cookie of an own attempt to that of another browser (ours)', async () => {
    const theirs = new Visitor()
    const callback = (await startSignIn('acme', theirs)).href
    const name = theirs.cookieNames(scene.portal.url)[0]!
    await scene.visitor.get(`${scene.portal.url}/login/acme`)
    const jar = scene.visitor.cookies.get(scene.portal.url)!
    jar.set(name, [...jar.values()][0]!)
    await expectRefusal(scene, await scene.visitor.open(callback), {
      status: 400,
      cause: /no such attempt/,
    })
  })

  it('sends their own authorization response to a victim: login CSRF (RFC 6749 10.12)', async () => {
    const callback = (await startSignIn('acme', new Visitor())).href
    await expectRefusal(scene, await scene.visitor.open(callback), { status: 400, cause: /no such attempt/ })
  })

  it('forges an error response without an attempt, to have its text shown (RFC 6749 10.12)', async () => {
    const seen = await scene.visitor.open(
      `${scene.portal.url}/login/acme/callback?error=access_denied&error_description=Call+0900&state=x`,
    )
    await expectRefusal(scene, seen, { status: 400, cause: /no such attempt/ })
    expect(seen.body).not.toContain('0900')
  })

  it('sends a callback without parameters, to start a new sign-in (ours)', async () => {
    const seen = await scene.visitor.get(`${scene.portal.url}/login/acme/callback`)
    await expectRefusal(scene, seen, { status: 400, cause: /no state/ })
  })

  it.each(['code=stolen', 'error=access_denied', 'code[x]=1', 'error=a&error=b'])(
    'sends an authorization response to the start of a sign-in: %s (ours)',
    async (query) => {
      const seen = await scene.visitor.get(`${scene.portal.url}/login/acme?${query}&state=x`)
      // A query parser that does not support nesting reads this as an unknown parameter.
      if (query.includes('[') && seen.status === 302) return
      await expectRefusal(scene, seen, { status: 400, cause: /start of a sign-in/ })
    },
  )

  it("delivers one provider's response to another provider's callback: mix-up (RFC 9700 4.4)", async () => {
    const { search } = await startSignIn('acme')
    const seen = await scene.visitor.open(`${scene.portal.url}/login/other/callback${search}`)
    await expectRefusal(scene, seen, { status: 400, cause: /another provider/ })
  })

  it('puts the code and issuer of their own provider into the response of another: mix-up (RFC 9207 2.4)', async () => {
    const theirs = await startSignIn('other')
    const ours = await startSignIn('acme')
    ours.searchParams.set('code', theirs.searchParams.get('code')!)
    ours.searchParams.set('iss', scene.other.issuer)
    await expectRefusal(scene, await scene.visitor.open(ours.href), { status: 400, cause: /iss/ })
  })

  it('injects a stolen code into their own attempt (RFC 7636 1, RFC 9700 4.5)', async () => {
    const victims = await startSignIn('acme', new Visitor())
    const own = await startSignIn('acme')
    own.searchParams.set('code', victims.searchParams.get('code')!)
    await expectRefusal(scene, await scene.visitor.open(own.href), { status: 400, cause: /invalid_grant/ })
  })

  it('changes the cookie of an attempt (ours)', async () => {
    const callback = (await startSignIn()).href
    const jar = scene.visitor.cookies.get(scene.portal.url)!
    for (const [name, value] of [...jar]) jar.set(name, `${value.slice(0, -2)}xx`)
    await expectRefusal(scene, await scene.visitor.open(callback), { status: 400, cause: /no such attempt/ })
  })

  it('renames the cookie of an attempt (ours)', async () => {
    const callback = await startSignIn()
    const jar = scene.visitor.cookies.get(scene.portal.url)!
    const [[name, value]] = [...jar] as [[string, string]]
    const renamed = `${name.slice(0, -3)}AAA`
    jar.clear()
    jar.set(renamed, value)
    callback.searchParams.set('state', renamed.replace('sso-attempt-', ''))
    await expectRefusal(scene, await scene.visitor.open(callback.href), {
      status: 400,
      cause: /no such attempt/,
    })
  })

  it("claims a known user's unverified address: nOAuth (Core 5.7)", async () => {
    for (const email_verified of [false, undefined, 'false', 1, 'TRUE', { toString: 'true' }]) {
      scene.visitor = new Visitor()
      scene.provider.person = { sub: 'mallory', email: 'ada@example.com', email_verified, name: 'Mallory' }
      const seen = await scene.visitor.open(`${scene.portal.url}/login/acme`)
      await expectRefusal(scene, seen, { status: 403, cause: /does not vouch/ })
    }
    expect(await scene.portal.knex('sso_identities').where({ subject: 'mallory' })).toHaveLength(0)
  })

  it("has got a user's former address, at a provider that the user uses (Core 5.7)", async () => {
    await scene.visitor.open(`${scene.portal.url}/login/acme`)
    scene.visitor = new Visitor()
    scene.provider.person = { sub: 'new-owner', email: 'ada@example.com', email_verified: true }
    const seen = await scene.visitor.open(`${scene.portal.url}/login/acme`)
    expect(seen.body).toContain('Is this your account?')
    expect((await scene.visitor.get(`${scene.portal.url}/portal`)).status).toBe(302)
    expect(await scene.portal.knex('sso_identities').where({ subject: 'new-owner' })).toHaveLength(0)
  })

  it('signs in with a method that its user has removed (ours)', async () => {
    const { knex, url } = scene.portal
    const user = await knex('sso_users').where({ email: 'ada@example.com' }).first()
    await knex('sso_blocked_identities').insert({
      id: '00000000-0000-4000-8000-000000000002',
      portal: 'default',
      user_id: user.id,
      provider_id: 'any',
      issuer: scene.provider.issuer,
      subject: 'removed',
      reason: 'removed',
      blocked_at: new Date().toISOString(),
    })
    scene.provider.person = { sub: 'removed', email: 'ada@example.com', email_verified: true }
    const seen = await scene.visitor.open(`${url}/login/acme`)
    await expectRefusal(scene, seen, { status: 403, cause: /does not admit/ })
  })

  it('compares refusal pages to find out who has an account (ours)', async () => {
    const read = async (email: string) => {
      scene.provider.person = { sub: 'mallory', email, email_verified: false, name: 'Mallory' }
      const { status, body } = await new Visitor().open(`${scene.portal.url}/login/acme`)
      // The state and the user's own ID token, in the link to sign out at the provider, differ each time.
      const own = /(?:returnTo=[^"]*|(?:state|id_token_hint)=[^"&]*)/g
      return {
        status,
        body: body
          .replaceAll(own, '')
          .replace(/[2-9A-Z]{8}|\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=data-local>)[^<]+/g, ''),
      }
    }
    expect(await read('ada@example.com')).toEqual(await read('nobody@example.com'))
  })

  it.each([
    'ad\u0430@example.com',
    'ada@ex\u0430mple.com',
    'ada+x@example.com',
    'ada@example.com\u0000',
    'ada@example.co',
  ])('signs in with the look-alike address %j (ours)', async (email) => {
    scene.provider.person = {
      sub: `sub of ${JSON.stringify(email)}`.replace(/[^ -~]/g, '?'),
      email,
      email_verified: true,
    }
    await scene.visitor.open(`${scene.portal.url}/login/acme`)
    expect((await scene.visitor.get(`${scene.portal.url}/portal`)).status).toBe(302)
  })

  it("asserts an address of one company with another company's provider (ours)", async () => {
    await scene.portal.connect(scene.other, {
      slug: 'limited',
      emailDomains: ['other.example'],
      trustsEmail: true,
    })
    scene.other.person = { sub: 'mallory', email: 'ada@example.com', email_verified: true }
    await expectRefusal(scene, await scene.visitor.open(`${scene.portal.url}/login/limited`), {
      status: 403,
      cause: /does not vouch/,
    })
    await scene.portal.sso.providers.remove('limited')
  })
})

describe('accepted: a discovery document', () => {
  it('with an endpoint that is not ASCII, which is encoded for the Location header (RFC 9110 5.5)', async () => {
    const odd = await startFaultyProvider()
    odd.faults.discovery = { authorization_endpoint: `${odd.issuer}/autoris\u4e00ation` }
    await scene.portal.connect(odd, { slug: 'odd' })
    const { status, location } = await scene.visitor.get(`${scene.portal.url}/login/odd`)
    expect([status, new URL(location!).pathname]).toEqual([302, '/autoris%E4%B8%80ation'])
    await odd.close()
  })

  it('with a percent-encoded host, which is decoded once (RFC 3986 3.2.2)', async () => {
    const odd = await startFaultyProvider()
    odd.faults.discovery = { authorization_endpoint: 'https://ex%61mple.com/authorize' }
    await scene.portal.connect(odd, { slug: 'percent' })
    const { location } = await scene.visitor.get(`${scene.portal.url}/login/percent`)
    expect(location).toMatch(/^https:\/\/example\.com\/authorize\?/)
    await odd.close()
  })
})

testAftermath(scene)
