import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import request from 'supertest'
import { settings } from '../../lib/providers/settings.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import { everyDatabase } from '../support/databases.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { pngOf, webp } from '../support/images.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { signIn } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal
const png = pngOf(64, 64)

beforeAll(async () => {
  provider = await startFaultyProvider()
  portal = await startPortal({
    rateLimits: {},
    portal: (req) => String(req.headers['x-portal'] ?? 'default'),
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: (req) => req.get('x-admin') === 'yes' }))
    },
  })
})
afterAll(() => Promise.all([portal.close(), provider.close()]))
beforeEach(async () => {
  provider.reset()
  for (const table of ['sso_providers', 'sso_provider_logos', 'sso_provider_health', 'sso_events'])
    await portal.knex(table).delete()
  await portal.connect(provider)
})

const acme = async () => await portal.sso.providers.get('acme')
const logoPath = ({ logoHash }: { logoHash?: string | undefined }) => `/login/assets/providers/${logoHash}`
const fetchLogo = (path: string, headers: Record<string, string> = {}) =>
  request(portal.app).get(path).set(headers).buffer(true).responseType('blob')
const picker = async (language = 'en', query = '') =>
  (await request(portal.app).get(`/login${query}`).set({ accept: 'text/html', 'accept-language': language }))
    .text

/** Posts a file as the form of the edit page does. */
const upload = (file: Buffer, { name = 'logo', headers = {} }: { name?: string; headers?: object } = {}) =>
  request(portal.app)
    .post('/admin/sso/acme/logo')
    .set({ accept: 'text/html', 'x-admin': 'yes', 'sec-fetch-site': 'same-origin', ...headers })
    .attach(name, file, { filename: '../../etc/passwd.html', contentType: 'text/html' })

describe.each(everyDatabase)('the logo of a provider in %s', (_name, fresh) => {
  it('is stored, replaced, served, removed, and deleted with the provider', async () => {
    const database = await fresh()
    const knex = knexModule(database.config)
    const own = await startPortal({ database: knex })
    try {
      await own.connect(provider, { labels: { de: 'Müller' }, note: 'New here? 👋' })
      const { providers } = own.sso
      const logos = async () => await knex('sso_provider_logos').select('provider_id', 'type')
      await providers.setLogo('acme', png)
      await providers.setLogo('acme', webp.lossless)
      const { id, logoHash, version } = await providers.get('acme')
      expect(await logos()).toEqual([{ provider_id: id, type: 'image/webp' }])
      expect(version).toBe(1)
      const served = await request(own.app).get(logoPath({ logoHash })).buffer(true).responseType('blob')
      expect([served.status, served.body]).toEqual([200, webp.lossless])
      const page = await request(own.app).get('/login').set({ accept: 'text/html', 'accept-language': 'de' })
      expect(page.text).toContain('<bdi>Müller</bdi>')
      expect(page.text).toContain('New here? 👋')
      await providers.removeLogo('acme')
      expect([await logos(), (await providers.get('acme')).logoHash]).toEqual([[], undefined])
      await providers.setLogo('acme', png)
      await knex('sso_providers').delete()
      await own.sso.runMaintenance()
      expect(await logos()).toEqual([])
    } finally {
      await own.close()
      await knex.destroy()
      await database.drop()
    }
  })
})

describe('the route of logos', () => {
  beforeEach(() => portal.sso.providers.setLogo('acme', png))

  it('serves the image with a policy that allows nothing, cached by its hash in the browser only', async () => {
    const { status, body, headers } = await fetchLogo(logoPath(await acme()))
    expect([status, body]).toEqual([200, png])
    expect(headers).toMatchObject({
      'content-type': 'image/png',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'private, max-age=31536000, immutable',
    })
    expect(headers).not.toHaveProperty('set-cookie')
    expect(headers).not.toHaveProperty('x-powered-by')
  })

  it('serves an image only, whatever is in the table', async () => {
    const script = Buffer.from('<script>alert(1)</script>').toString('base64')
    await portal.knex('sso_provider_logos').update({ type: 'text/html', image: script })
    const { headers } = await fetchLogo(logoPath(await acme()))
    expect(headers).toMatchObject({ 'content-type': 'image/png', 'x-content-type-options': 'nosniff' })
  })

  it('serves no logo of another portal, of an earlier file, or of a removed provider', async () => {
    const first = logoPath(await acme())
    expect((await fetchLogo(first, { 'x-portal': 'north' })).status).toBe(404)
    // The same file of two providers has two URLs, so that nobody can look up who uses it.
    await portal.connect(provider, { portal: 'north' })
    await portal.sso.portal('north').providers.setLogo('acme', png)
    const { logoHash } = await portal.sso.portal('north').providers.get('acme')
    expect(logoPath({ logoHash })).not.toBe(first)
    expect((await fetchLogo(logoPath({ logoHash }))).status).toBe(404)
    await portal.sso.providers.setLogo('acme', webp.lossy)
    expect((await fetchLogo(first)).status).toBe(404)
    const second = logoPath(await acme())
    await portal.sso.providers.remove('acme')
    expect((await fetchLogo(second)).status).toBe(404)
  })

  it.each([
    '',
    '/',
    '/..%2f..%2fpackage.json',
    '/%00',
    '/acme',
    "/' or 1=1 --",
    `/${'a'.repeat(22)}`,
    `/${'a'.repeat(300)}`,
  ])('answers %j with 404, without an error', async (path) => {
    const { status } = await fetchLogo(`/login/assets/providers${path}`)
    expect(status).toBe(404)
  })

  it('is limited where it reaches the database', async () => {
    const few = await startPortal({ database: portal.knex, rateLimits: { start: 3 } })
    try {
      const path = logoPath(await acme())
      const statuses = async (each: string) => (await request(few.app).get(each)).status
      for (let n = 0; n < 5; n++) expect(await statuses(path)).toBe(200)
      const guesses = Array.from({ length: 3 }, (_, at) => `/login/assets/providers/${String(at).repeat(22)}`)
      expect([await statuses(guesses[0]!), await statuses(guesses[1]!)]).toEqual([404, 404])
      expect(await statuses(guesses[2]!)).toBe(429)
      // Colleagues behind the same address still see the logos.
      expect(await statuses(path)).toBe(200)
    } finally {
      await few.close()
    }
  })
})

describe('the upload of an administrator', () => {
  it('stores the image, whatever its name and type claim, and records who did it', async () => {
    const { status, headers } = await upload(png)
    expect([status, headers.location]).toEqual([303, '/admin/sso/acme/edit?done=logoSaved'])
    const page = await request(portal.app)
      .get(headers.location!)
      .set({ 'x-admin': 'yes', accept: 'text/html' })
    expect(page.text).toContain('The login page shows the new logo.')
    expect(page.text).toContain(logoPath(await acme()))
    expect(await picker()).toContain(`src="${logoPath(await acme())}" alt=""`)
    const [event] = (await portal.sso.history.list()).events
    expect(event).toMatchObject({ kind: 'provider-changed', actor: 'admin', detail: { change: 'logo' } })
  })

  it.each([
    ['no file', Buffer.alloc(0), 'Choose a PNG or WebP image, at most 20 KB.'],
    ['SVG', Buffer.from('<svg onload="alert(1)"/>'), 'The logo must be a PNG or WebP image.'],
    ['too many pixels', pngOf(300, 10), 'The logo has 300 × 10 pixels: at most 256 × 256 are allowed.'],
    ['a large file', Buffer.alloc(30_000), 'The logo is larger than 20 KB.'],
    ['a huge file', Buffer.alloc(3_000_000), 'Choose a PNG or WebP image, at most 20 KB.'],
  ])('is refused with the reason at the field: %s', async (_what, file, reason) => {
    const { status, text } = await upload(file)
    expect(status).toBe(422)
    expect(text).toContain(`id="field-logo-error">${reason}`)
    expect(await acme()).not.toHaveProperty('logoHash', expect.anything())
    expect(await portal.knex('sso_provider_logos')).toEqual([])
  })

  it('is refused from another site, and for anyone else', async () => {
    expect((await upload(png, { headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(403)
    expect((await upload(png, { headers: { 'x-admin': 'no' } })).status).toBe(404)
    expect((await acme()).logoHash).toBeUndefined()
  })

  it('ignores other fields, and survives a malformed body', async () => {
    expect((await upload(png, { name: '__proto__' })).status).toBe(422)
    const malformed = await request(portal.app)
      .post('/admin/sso/acme/logo')
      .set({
        'x-admin': 'yes',
        'sec-fetch-site': 'same-origin',
        'content-type': 'multipart/form-data; boundary=x',
      })
      .send('--y\r\n\r\n')
    expect(malformed.status).toBe(400)
  })

  it('is undone by “Remove”', async () => {
    await upload(png)
    const admin = new Visitor({ 'x-admin': 'yes' })
    const { location } = await admin.post(`${portal.url}/admin/sso/acme/remove-logo`)
    expect((await admin.get(location!)).body).toContain('The logo is removed.')
    expect((await acme()).logoHash).toBeUndefined()
  })
})

describe('names and notes', () => {
  it('are shown in the language of the visitor, as plain text, and hide no other provider', async () => {
    await portal.connect(provider, { slug: 'second', displayName: 'Second' })
    await portal.sso.providers.update('acme', {
      labels: { DE: 'Kundenportal', 'pt-br': 'Portal <b>' },
      note: 'New here? Use <i>Acme</i>.',
      notes: { de: 'Neu hier? Nutzen Sie Acme.' },
    })
    expect((await acme()).labels).toEqual({ de: 'Kundenportal', 'pt-BR': 'Portal <b>' })
    // The portal offers Portuguese without a region.
    expect(await picker('pt-BR')).toContain('<bdi>Portal &lt;b&gt;</bdi>')
    const [english, german] = [await picker('en'), await picker('de-AT,de;q=0.9')]
    expect(english).toContain('<bdi>Acme</bdi>')
    expect(english).toMatch(/New here\? Use &lt;i&gt;Acme&lt;\/i&gt;\.<\/p>/)
    expect(german).toContain('<bdi>Kundenportal</bdi>')
    expect(german).toContain('Neu hier? Nutzen Sie Acme.')
    for (const page of [english, german]) expect(page).toContain('Second')
    // A search finds the name that the visitor sees.
    expect(await picker('de', '?q=kunden')).toContain('<bdi>Kundenportal</bdi>')
  })

  it('are on every page on the way: registration, problem, link, account, sign-out', async () => {
    const own = await startPortal()
    try {
      await own.connect(provider, { labels: { de: 'Kundenportal' } })
      const { providers } = own.sso
      await own.connect(provider, { slug: 'second', displayName: 'Second', labels: { de: 'Zweiter' } })
      await providers.setLogo('acme', png)
      const visitor = new Visitor({ 'accept-language': 'de' })
      const seen: Seen[] = [await signIn({ portal: own, visitor }, 'acme')]
      seen.push(await visitor.follow(await visitor.post(`${own.url}/register`, { name: '' })))
      await visitor.follow(await visitor.post(`${own.url}/register`, { name: 'Ada' }))
      seen.push(await visitor.get(`${own.url}/account/security`), await visitor.get(`${own.url}/logout`))
      provider.faults.authorizeError = { error: 'unauthorized_client' }
      seen.push(await signIn({ portal: own, visitor: new Visitor({ 'accept-language': 'de' }) }, 'acme'))
      for (const { url, body } of seen)
        expect([url, body]).toEqual([url, expect.stringContaining('Kundenportal')])
      for (const { url, body } of seen)
        expect([url, body]).toEqual([url, expect.not.stringMatching(/Acme|Second/)])
      expect(seen[2]!.body).toContain(logoPath(await providers.get('acme')))
      expect((await visitor.get(`${own.url}/account/security/add`)).body).toContain('Zweiter')
    } finally {
      await own.close()
    }
  })

  it('are entered in the form, one language in each line', async () => {
    const admin = new Visitor({ 'x-admin': 'yes' })
    const { displayName, clientId, issuer, version } = await acme()
    const form = { displayName, clientId, issuer, version: String(version) }
    const save = (more: Record<string, string>) =>
      admin.post(`${portal.url}/admin/sso/acme/edit`, { ...form, ...more })
    const wrong = await save({ labels: 'german=Kundenportal', note: 'x'.repeat(161) })
    expect(wrong.status).toBe(422)
    expect(wrong.body).toContain('Write a language tag before each text, such as “de” or “pt-BR”.')
    expect(wrong.body).toContain('id="field-note-error">Is too long.')
    expect((await save({ labels: 'de=Kundenportal\r\nfr=Portail' })).status).toBe(303)
    expect((await acme()).labels).toEqual({ de: 'Kundenportal', fr: 'Portail' })
  })

  it.each([
    ['a line break', 'Acme\nMicrosoft'],
    ['text that is reversed', 'Sign in with \u202etfosorciM'],
    ['an isolate that does not end', 'Acme \u2066'],
    ['zero-width characters', 'Micro\u2060soft'],
    ['a line separator', 'Acme\u2028Microsoft'],
    ['half of a character', 'Acme \ud83d'],
    ['nothing visible', '\u200d\u200e'],
    ['letters that are invisible', '\u3164\u115f\u2800'],
    ['invisible tags', 'Acme\u{e0041}'],
  ])('are refused with %s', async (_what, text) => {
    for (const changes of [
      { displayName: text },
      { labels: { de: text } },
      { note: text },
      { notes: { de: text } },
    ])
      await expect(portal.sso.providers.update('acme', changes)).rejects.toThrow(ManagementError)
  })

  it.each([['constructor', 'd', 'de_DE', 'de-', '../de', 'x'.repeat(300), '']])(
    'are refused for text that is no language tag',
    (...tags) => {
      for (const tag of tags) {
        const labels = JSON.parse(`{${JSON.stringify(tag)}: "Acme"}`) as Record<string, string>
        expect([tag, settings.labels.schema.safeParse(labels).success]).toEqual([tag, false])
      }
    },
  )

  it('accept the joiners and marks of scripts that need them', async () => {
    const labels = { fa: 'می‌خواهم', ar: '\u200fشركة', hi: 'क्‍ष' }
    await portal.sso.providers.update('acme', { labels })
    expect((await acme()).labels).toEqual(labels)
  })
})

/** An outage of `acme`, as another instance has recorded it. */
async function fail(): Promise<void> {
  const at = '2026-01-02T03:04:05.000Z'
  const found = { failing_since: at, endpoint: 'token', fault: 'unreachable', checked_at: at }
  const { id } = await acme()
  await portal.knex('sso_provider_health').insert({ provider_id: id, ...found, claimed_at: at, due_at: at })
}

describe('a provider with problems', () => {
  it('stays on the login page with a mark and its link, but is not recommended', async () => {
    await portal.connect(provider, { slug: 'second', displayName: 'Second' })
    await portal.sso.providers.recommend('acme')
    const before = await picker()
    expect(before).toMatch(/Recommended/)
    expect(before).not.toContain('Has problems')
    await fail()
    for (const query of ['', '?q=acme', '?email=ada@example.com']) {
      const page = await picker('en', query)
      expect(page).toMatch(/href="\/login\/acme[^>]*>[\s\S]*Acme[\s\S]*Has problems at the moment/)
      expect(page).not.toContain('Recommended')
    }
    expect(await picker('de')).toContain('Hat zurzeit Probleme')
    await portal.knex('sso_provider_health').delete()
    expect(await picker()).toBe(before)
  })

  it('tells visitors neither since when, nor what fails, nor when somebody last signed in', async () => {
    const before = await picker()
    await fail()
    const added = (await picker()).split('\n').filter((line) => !before.includes(line))
    expect(
      added.map((line) => line.trim()).filter((line) => !/^<\/?span/.test(line) || /problems/.test(line)),
    ).toEqual(['<span class="sso-problems">Has problems at the moment</span>'])
  })
})

describe('the administrators’ pages of a provider with problems', () => {
  it('show since when, what fails, the last check and the last sign-in', async () => {
    await fail()
    const admin = new Visitor({ 'x-admin': 'yes' })
    const text = async (path: string) =>
      (await admin.get(`${portal.url}/admin/sso${path}`)).body.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')
    const listed = 'Has problems The token endpoint cannot be reached. Since 2 Jan 2026, 03:04 UTC'
    expect(await text('/')).toContain(listed)
    const what = 'Since 2 Jan 2026, 03:04 UTC, the token endpoint cannot be reached.'
    const checked = 'Last checked on 2 Jan 2026, 03:04 UTC.'
    expect(await text('/acme')).toContain(`${what} ${checked} Nobody has signed in with it yet.`)
    const at = new Date(Date.now() + 1000).toISOString()
    const event = { portal: 'default', provider: 'acme', kind: 'signed-in', detail: '{}' }
    await portal.knex('sso_events').insert({ id: 'signed-in', at, ...event })
    expect(await text('/acme')).toContain(`${checked} The last sign-in was on `)
    await portal.sso.providers.disable('acme')
    expect(await text('/acme')).not.toContain('has problems')
  })
})

describe('a file of exported providers', () => {
  it('contains the names, the notes and the logo, which an import checks again', async () => {
    const changes = { labels: { de: 'Kundenportal' }, note: 'New here?', notes: { de: 'Neu hier?' } }
    await portal.sso.providers.update('acme', changes)
    await portal.sso.providers.setLogo('acme', png)
    const file = await portal.sso.providers.export()
    expect(file.providers[0]).toMatchObject({ settings: changes, logo: png.toString('base64') })
    const north = portal.sso.portal('north').providers
    const clientSecrets = { acme: provider.clientSecret }
    const results = await north.import(JSON.stringify(file), { clientSecrets })
    expect(results).toEqual([{ slug: 'acme', outcome: 'connected' }])
    const imported = await north.get('acme')
    expect(imported).toMatchObject(changes)
    expect((await fetchLogo(logoPath(imported), { 'x-portal': 'north' })).body).toEqual(png)

    await north.setLogo('acme', webp.lossy)
    const differing = await north.import(JSON.stringify(file), { update: true })
    expect(differing).toEqual([
      {
        slug: 'acme',
        outcome: 'updated',
        changes: { logo: { here: expect.any(String), file: imported.logoHash } },
      },
    ])
    expect((await north.get('acme')).logoHash).toBe(imported.logoHash)
    expect(await north.import(JSON.stringify(file), { update: true })).toMatchObject([
      { outcome: 'unchanged' },
    ])
    // Without one, the existing logo stays.
    delete file.providers[0]!.logo
    expect(await north.import(JSON.stringify(file), { update: true })).toMatchObject([
      { outcome: 'unchanged' },
    ])

    file.providers[0]!.logo = Buffer.from('<svg/>').toString('base64')
    const refused = north.import(JSON.stringify(file), { update: true })
    await expect(refused).rejects.toThrow('acme: the logo must be a PNG or WebP image')
  })
})
