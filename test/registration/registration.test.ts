import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { type Clock, takeClock } from '../support/clock.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor

beforeEach(() => {
  provider.person = { sub: 'grace', email: 'Grace@Example.com', email_verified: true, name: 'Grace Hopper' }
  visitor = new Visitor()
})
afterEach(() => portal.close())

async function open(options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortal(options)
  await portal.connect(provider)
}

/** Signs in at the provider, up to the registration form. */
async function toForm(who = visitor, returnTo = '/portal/new'): Promise<Seen> {
  return await who.open(`${portal.url}/login/acme?returnTo=${returnTo}`)
}

const send = (form: Record<string, string>, who = visitor) => who.post(`${portal.url}/register`, form)
const users = () => portal.knex('sso_users').select('email', 'name', 'fields')

describe('a user whose e-mail address is new', () => {
  it('gets a short, prefilled form with the verified address read-only, and is signed in after it', async () => {
    await open()
    const form = await toForm()
    expect(form).toMatchObject({ status: 200, url: `${portal.url}/register` })
    expect(form.body).toContain('value="Grace Hopper"')
    expect(form.body.replace('<wbr>', '')).toContain('grace@example.com')
    expect(form.body).not.toContain('name="email"')
    const landed = await visitor.follow(await send({ name: ' Grace B. Hopper ' }))
    expect(landed).toMatchObject({ status: 200, url: `${portal.url}/portal/new` })
    expect(await users()).toEqual([{ email: 'grace@example.com', name: 'Grace B. Hopper', fields: '{}' }])
  })

  it('does not see the form at the next sign-in', async () => {
    await open()
    await toForm()
    await send({ name: 'Grace' })
    const landed = await toForm(new Visitor())
    expect(landed.url).toBe(`${portal.url}/portal/new`)
  })

  it('cannot choose an address other than the verified one', async () => {
    await open()
    await toForm()
    await send({ name: 'Grace', email: 'ceo@example.com', active: 'true', id: '1' })
    expect(await users()).toMatchObject([{ email: 'grace@example.com' }])
  })

  it('is not signed in before the form is sent', async () => {
    await open()
    await toForm()
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
  })

  it.each([
    ['', /enter|missing|name/i],
    ['x'.repeat(201), /./],
  ])('gets the form back when the name is %j, with an error and nothing lost', async (name, sentence) => {
    await open({ registrationFields: [{ name: 'phone', label: 'Phone', type: 'tel' }] })
    await toForm()
    const back = await send({ name, 'field.phone': '+49 "30" <1>' })
    expect(back.status).toBe(422)
    expect(back.body).toContain('aria-invalid="true"')
    expect(back.body).toMatch(sentence)
    expect(back.body).toContain('value="+49 &#34;30&#34; &lt;1&gt;"')
    expect(await users()).toHaveLength(0)
    expect((await send({ name: 'Grace', 'field.phone': '1' })).status).toBe(303)
  })

  it("fills in the host's own fields and accepts its terms", async () => {
    await open({
      registrationFields: [
        { name: 'phone', label: 'Phone', type: 'tel', required: true, pattern: /\+?[\d ]+/ },
        { name: 'site', label: 'Site', type: 'select', options: [{ value: 'n', label: 'North' }] },
        { name: 'news', label: 'Send me news', type: 'checkbox' },
      ],
      registrationTerms: '/terms',
    })
    const form = await toForm()
    expect(form.body).toContain('href="/terms"')
    const mistakes = await send({ name: 'Grace', 'field.phone': 'call me', 'field.site': 'moon' })
    expect(mistakes.status).toBe(422)
    expect(mistakes.body.match(/aria-invalid="true"/g)).toHaveLength(3)
    await send({ name: 'Grace', 'field.phone': '+49 30', 'field.site': 'n', 'field.news': 'on', terms: 'on' })
    expect(JSON.parse((await users())[0].fields)).toEqual({ phone: '+49 30', site: 'n', news: true })
  })

  it('cannot reverse the text around their name with bidirectional controls', async () => {
    provider.person = { ...provider.person, name: 'Grace \u202eEOEMDA' }
    await open()
    expect((await toForm()).body).toContain('value="Grace EOEMDA"')
    await send({ name: '\u2067Grace\u2069 \u202enimda \u0646\u200c\u0647' })
    expect(await users()).toMatchObject([{ name: 'Grace nimda \u0646\u200c\u0647' }])
  })

  it('sees markup in their name as text', async () => {
    provider.person = { ...provider.person, name: '<script>alert(1)</script>"><img src=x onerror=alert(1)>' }
    await open()
    const form = await toForm()
    expect(form.body).not.toContain('<script>alert')
    expect(form.body).not.toContain('<img src=x')
  })

  it('sees a page with a next step if the browser has no pending registration', async () => {
    await open()
    const seen = await visitor.get(`${portal.url}/register`)
    expect(seen.status).toBe(400)
    expect(seen.body).toContain('href="/login"')
  })

  it('is redirected to the start page if they submit the form again after the back button', async () => {
    await open()
    await toForm()
    await send({ name: 'Grace' })
    expect(await send({ name: 'Grace again' })).toMatchObject({ status: 303, location: `${portal.url}/` })
    expect(await users()).toHaveLength(1)
  })
})

describe('the input of the user', () => {
  const fields = {
    registrationFields: [{ name: 'phone', label: 'Phone', type: 'tel' as const, required: true }],
  }
  const mistaken = { name: 'Grace B. Hopper', 'field.phone': '' }

  it('is in the form again after the back button or a reload', async () => {
    await open(fields)
    await toForm()
    expect((await send(mistaken)).status).toBe(422)
    const again = await visitor.get(`${portal.url}/register`)
    expect(again.status).toBe(200)
    expect(again.body).toContain('value="Grace B. Hopper"')
    expect(again.body).not.toContain('aria-invalid')
  })

  it('is in the form again after the same account has started anew, but not for another account', async () => {
    await open(fields)
    await toForm()
    await send(mistaken)
    const shared = visitor.clone()
    expect((await toForm()).body).toContain('value="Grace B. Hopper"')
    provider.person = { sub: 'bob', email: 'bob@example.com', email_verified: true, name: 'Bob' }
    const other = await toForm(shared)
    expect(other.body).toContain('value="Bob"')
    expect(other.body).not.toContain('Hopper')
  })

  it('survives a database that is down', async () => {
    await open(fields)
    await toForm()
    await portal.knex.schema.renameTable('sso_providers', 'away')
    const failed = await send(mistaken)
    expect(failed.status).toBe(500)
    await portal.knex.schema.renameTable('away', 'sso_providers')
    expect((await visitor.get(`${portal.url}/register`)).body).toContain('value="Grace B. Hopper"')
  })

  describe('in a form that has expired', () => {
    let clock: Clock
    beforeEach(async () => {
      await open(fields)
      await toForm()
      clock = takeClock()
      clock.pass(31 * 60_000)
    })
    afterEach(() => clock.back())

    it('starts again at the provider, without a click, and registers nobody before', async () => {
      const seen = await send({ name: 'Grace B. Hopper', 'field.phone': '+49 30' })
      // Chrome would apply `form-action` to a redirect to the provider.
      expect([seen.status, next(seen)]).toEqual([200, `${portal.url}/login/acme?returnTo=%2Fportal%2Fnew`])
      expect(await users()).toEqual([])
      const form = await visitor.follow(seen)
      expect(form.url).toBe(`${portal.url}/register`)
      expect(form.body).toContain('value="Grace B. Hopper"')
      expect(form.body).toContain('value="+49 30"')
      const done = await send({ name: 'Grace B. Hopper', 'field.phone': '+49 30' })
      expect((await visitor.follow(done)).url).toBe(`${portal.url}/portal/new`)
    })

    it('is not shown to another account of the provider', async () => {
      const seen = await send({ name: 'Grace B. Hopper', 'field.phone': '+49 30' })
      provider.person = { sub: 'bob', email: 'bob@example.com', email_verified: true, name: 'Bob' }
      const form = await visitor.follow(seen)
      expect(form.body).toContain('value="Bob"')
      expect(form.body).not.toMatch(/Hopper|\+49/)
    })

    it('starts again on a reload, too, but not after a sign-out or four hours', async () => {
      const [signedOut, late] = [visitor.clone(), visitor.clone()]
      expect((await visitor.open(`${portal.url}/register`)).url).toBe(`${portal.url}/register`)
      signedOut.cookies.get(portal.url)!.set('sso-signed-out', '1')
      expect((await signedOut.get(`${portal.url}/register`)).status).toBe(400)
      clock.pass(4 * 3_600_000)
      expect((await late.get(`${portal.url}/register`)).status).toBe(400)
    })

    it('is refused from another site (CSRF)', async () => {
      const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
      const seen = await visitor.post(`${portal.url}/register`, { name: 'Eve' }, headers)
      expect([seen.status, seen.headers.getSetCookie()]).toEqual([403, []])
    })
  })
})

describe('two simultaneous registrations', () => {
  it('of one person in two browsers create one user', async () => {
    await open()
    const browsers = Array.from({ length: 6 }, () => new Visitor())
    for (const each of browsers) await toForm(each)
    await Promise.all(browsers.map(async (each, n) => each.follow(await send({ name: `Grace ${n}` }, each))))
    expect(await users()).toHaveLength(1)
    expect(await portal.knex('sso_identities')).toHaveLength(1)
    for (const each of browsers) expect((await each.get(`${portal.url}/portal`)).status).toBe(200)
  })

  it('of one address with two providers create one user with both linked', async () => {
    await open()
    const second = await startFaultyProvider({ clientId: 'second' })
    second.person = { sub: 'g.hopper', email: 'grace@example.com', email_verified: true, name: 'G. Hopper' }
    await portal.connect(second, { slug: 'second' })
    const other = new Visitor()
    await toForm()
    await other.open(`${portal.url}/login/second`)
    await Promise.all([
      send({ name: 'Grace' }).then((seen) => visitor.follow(seen)),
      send({ name: 'G.' }, other).then((seen) => other.follow(seen)),
    ])
    expect(await users()).toHaveLength(1)
    expect(await portal.knex('sso_identities')).toHaveLength(2)
    await second.close()
  })
})

describe('an attacker who steals a pending registration', () => {
  it('cannot sign in with it as the user that was created from it', async () => {
    await open()
    await toForm()
    const thief = visitor.clone()
    await send({ name: 'Grace' })
    const seen = await send({ name: 'Grace' }, thief)
    expect(next(seen)).toBe(`${portal.url}/login/acme?returnTo=%2Fportal%2Fnew`)
    expect((await thief.get(`${portal.url}/portal`)).status).toBe(302)
  })
})

describe('an abandoned registration', () => {
  /** Ada opens the form on a shared machine and leaves. Then Bob signs in. */
  async function adaLeavesAndBobSignsIn(): Promise<void> {
    await open()
    await toForm()
    provider.person = { sub: 'bob', email: 'bob@example.com', email_verified: true, name: 'Bob' }
    await portal.sso.users.create({ email: 'bob@example.com', name: 'Bob', fields: {} })
  }

  it('is deleted once another user has signed in', async () => {
    await adaLeavesAndBobSignsIn()
    await visitor.open(`${portal.url}/login/acme`)
    expect((await send({ name: 'Grace' })).location).toBe(`${portal.url}/`)
    await visitor.post(`${portal.url}/logout`)
    expect((await send({ name: 'Grace' })).status).toBe(400)
    expect(await users()).toHaveLength(1)
  })

  it('is deleted by signing out, and by Cancel', async () => {
    await open()
    const form = await toForm()
    const thief = visitor.clone()
    await visitor.post(`${portal.url}/logout`)
    expect((await visitor.get(`${portal.url}/register`)).status).toBe(400)
    const [, cancel] = /href="([^"]*cancelled[^"]*)"/.exec(form.body)!
    await thief.get(portal.url + cancel!.replaceAll('&amp;', '&'))
    expect((await thief.get(`${portal.url}/register`)).status).toBe(400)
  })

  it('is invalid after its provider was removed, even if another one has the same slug', async () => {
    await open()
    await toForm()
    await portal.sso.providers.remove('acme')
    await portal.connect(provider)
    expect((await send({ name: 'Grace' })).status).toBe(409)
    expect(await users()).toHaveLength(0)
  })
})

describe('registration is refused', () => {
  it('with a friendly page if it is closed, while existing users can sign in', async () => {
    await open({ registration: 'closed', branding: { support: 'it@acme.example' } })
    const seen = await toForm()
    expect(seen.status).toBe(403)
    expect(portal.logs.at(-1)!.fields.code).toBe('registration_closed')
    expect(seen.body).toContain(
      'contact <bdi><a href="mailto:it@acme.example">it@acme.example</a></bdi>.</p>',
    )
    await portal.sso.users.create({ email: 'grace@example.com', name: 'Grace', fields: {} })
    expect((await toForm()).url).toBe(`${portal.url}/portal/new`)
  })

  it("if the host's function refuses the identity", async () => {
    await open({ registration: async ({ email }) => email!.endsWith('@partner.example') })
    expect((await toForm()).status).toBe(403)
    provider.person = { sub: 'p', email: 'p@partner.example', email_verified: true }
    expect((await toForm(new Visitor())).url).toBe(`${portal.url}/register`)
  })

  it("if the host's function returns anything but true", async () => {
    await open({ registration: (() => ({ allowed: false })) as unknown as () => boolean })
    expect((await toForm()).status).toBe(403)
  })

  it.each([
    ['unverified', { sub: 'm', email: 'm@example.com', email_verified: false }],
    ['absent', { sub: 'm' }],
    ['not an address', { sub: 'm', email: 'm at example', email_verified: true }],
  ])('for an address that is %s, which its owner could walk into later', async (_what, person) => {
    await open()
    provider.person = person
    expect((await toForm()).status).toBe(403)
    expect(portal.logs.at(-1)!.fields.code).toBe('email_unverified')
  })

  it('if the provider was disabled or changed after the form was opened', async () => {
    await open()
    await toForm()
    await portal.sso.providers.disable('acme')
    expect((await send({ name: 'Grace' })).status).toBe(409)
    await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
    expect((await send({ name: 'Grace' })).status).toBe(409)
    expect(await users()).toHaveLength(0)
  })

  it('if it was closed after the form was opened', async () => {
    let mayRegister = true
    await open({ registration: () => mayRegister })
    await toForm()
    mayRegister = false
    expect((await send({ name: 'Grace' })).status).toBe(403)
    expect(await users()).toHaveLength(0)
  })

  it('from another site (CSRF), even with the cookie', async () => {
    await open()
    await toForm()
    const seen = await visitor.post(
      `${portal.url}/register`,
      { name: 'Grace' },
      { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
    )
    expect(seen.status).toBe(403)
    expect(await users()).toHaveLength(0)
  })

  it('with the pending registration of another portal', async () => {
    await open({ portal: (req) => req.get('x-portal') ?? 'default' })
    await portal.connect(provider, { portal: 'south' })
    await toForm()
    const seen = await visitor.post(`${portal.url}/register`, { name: 'Grace' }, { 'x-portal': 'south' })
    expect(seen.status).toBe(400)
    expect(await users()).toHaveLength(0)
  })
})
