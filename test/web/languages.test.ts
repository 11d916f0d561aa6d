import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import express, { type Request } from 'express'
import { Seal } from '../../lib/shared/seal.ts'
import { Locales } from '../../lib/web/locale.ts'
import { cookieCore } from '../support/cookie-core.ts'
import { mountDefault, startPortal, type TestPortal, testSecret } from '../support/portal.ts'
import { signIn, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor
let mails: { to: string; subject: string; text: string; html: string }[]

const attack = '<script>alert(1)</script>'

beforeAll(async () => {
  portal = await startPortal({
    defaultLocale: 'de',
    locales: {
      en: { picker: { lead_other: `Our own lead ${attack}` } },
      he: { picker: { pageTitle: 'כניסה' } },
      'de-CH': { picker: { pageTitle: 'Grüezi' } },
      nl: false,
    },
    branding: { name: { de: 'Personalportal', en: 'Staff portal' } },
    registrationFields: [
      { name: 'team', label: { de: 'Abteilung', en: 'Team' }, required: true },
      {
        name: 'site',
        label: 'Site',
        type: 'select',
        options: [{ value: 'n', label: { de: 'Nord', en: 'North' } }],
      },
    ],
    registrationTerms: { de: '/agb', en: '/terms' },
    mailer: async (mail) => void mails.push(mail),
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
    },
  })
  await portal.connect(provider)
  await portal.connect(provider, { slug: 'fixed', authorizationParameters: { ui_locales: 'fi' } })
  await portal.connect(provider, { slug: 'other', enabled: false })
})
afterAll(() => portal.close())
beforeEach(() => {
  visitor = new Visitor()
  mails = []
})

const open = async (path: string, headers: Record<string, string> = {}) =>
  await visitor.get(portal.url + path, headers)

const langOf = (body: string) => /<html lang="([^"]*)" dir="([^"]*)"/.exec(body)?.slice(1).join(' ')

async function languageAt(path: string, headers: Record<string, string> = {}): Promise<string | undefined> {
  return langOf((await open(path, headers)).body)
}

/** The languages of the menu, with their links. */
function menuIn(body: string): Record<string, string> {
  const links = body.matchAll(/<a class="sso-language" href="([^"]*)" lang="([^"]*)" hreflang/g)
  return Object.fromEntries(
    [...links].map(([, href = '', lang = '']) => [lang, href.replaceAll('&amp;', '&')]),
  )
}

const english = { 'accept-language': 'en-GB,en;q=0.9,fr;q=0.5' }

describe('the language of a page', () => {
  it('is that of `?lang`, then of the cookie, then of the browser, then the default', async () => {
    expect(await languageAt('/login')).toBe('de ltr')
    expect(await languageAt('/login', { 'accept-language': 'fi,sv;q=0.9' })).toBe('de ltr')
    expect(await languageAt('/login', english)).toBe('en ltr')
    expect(await languageAt('/login?lang=he', english)).toBe('he rtl')
    expect(await languageAt('/login', english)).toBe('he rtl')
    expect(await languageAt('/login?lang=en', english)).toBe('en ltr')
    expect(await languageAt('/nope/../login/nope', english)).toBe('en ltr')
  })

  it('can be a variant of an offered language', async () => {
    expect(await languageAt('/login?lang=en-AU-x-private')).toBe('en ltr')
    expect(await languageAt('/login?lang=DE-at')).toBe('de ltr')
    expect(await languageAt('/login?lang=de-ch')).toBe('de-CH ltr')
    const swiss = await open('/login', { 'accept-language': 'de-CH' })
    expect(swiss.body).toContain('<title>Grüezi')
    expect(swiss.body).toContain('Personalportal')
    expect(swiss.body).toContain('Wie möchten Sie sich anmelden?')
  })

  it('is kept in a cookie for a year, which belongs to this host only', async () => {
    const { headers } = await open('/login?lang=EN')
    const cookie = headers.getSetCookie().find((each) => each.startsWith('sso-language='))!
    expect(cookie).toMatch(
      /^sso-language=en; Max-Age=31536000; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Lax$/,
    )
    expect((await open('/login?lang=en')).headers.getSetCookie()).toEqual([])
  })

  it('is kept from the start of a sign-in, too', async () => {
    await open('/login/acme?lang=en')
    expect(await languageAt('/login/nope')).toBe('en ltr')
  })

  it.each([
    ['a name of Object.prototype', 'lang=__proto__'],
    ['constructor', 'lang=constructor'],
    ['an array', 'lang=en&lang=he'],
    ['an object', 'lang[en]=1'],
    ['nothing', 'lang='],
    ['a long text', `lang=en-${'x'.repeat(10_000)}`],
    ['a path', 'lang=../en'],
    ['markup', `lang=${encodeURIComponent(attack)}`],
    ['a removed language', 'lang=nl'],
    ['half an escape', 'lang=%E0%A4%A'],
    ['a line break', 'lang=en%0D%0ASet-Cookie:x=1'],
  ])('is the default with %s, and no cookie is set', async (_what, query) => {
    const { status, body, headers } = await open(`/login?${query}`)
    expect([status, langOf(body), headers.getSetCookie()]).toEqual([200, 'de ltr', []])
    expect(body).not.toContain(attack)
  })

  it.each(['__proto__', 'constructor', 'nl', 'en-'.repeat(2000), '%E0%A4%A', '"'])(
    'is the default with the cookie %j',
    async (value) => {
      expect(await languageAt('/login', { cookie: `sso-language=${value}` })).toBe('de ltr')
    },
  )

  it.each(['__proto__', 'xx-'.repeat(2000), ';;;=,', '*'])(
    'is the default with the header %j',
    async (value) => {
      expect(await languageAt('/login', { 'accept-language': value })).toBe('de ltr')
    },
  )

  it('is never another one, so that visitors cannot fill the cache of pages', () => {
    const locales = new Locales(cookieCore(new Seal([testSecret], 'x')), { locales: {}, defaultLocale: 'en' })
    const found = new Set(
      Array.from({ length: 500 }, (_, at) => {
        const headers = { cookie: `sso-language=de-x-${at}` }
        return locales.resolve(
          Object.assign(Object.create(express.request), { url: '/', headers }) as Request,
        )
      }),
    )
    expect([...found].map(({ lang }) => lang)).toEqual(['de'])
  })

  it('is the administrator’s on administrators’ pages, but English for a language that only the host has', async () => {
    expect(await languageAt('/admin/sso/', { 'accept-language': 'de' })).toBe('de ltr')
    expect(await languageAt('/admin/sso/?lang=he', { 'accept-language': 'de' })).toBe('en ltr')
  })

  it('is offered with the query of an administrators’ page, escaped', async () => {
    const { body } = await open(`/admin/sso/events?user=${encodeURIComponent(attack)}&lang=en`)
    expect(body).not.toContain(attack)
    expect(menuIn(body).de).toBe(`/admin/sso/events?lang=de&${new URLSearchParams({ user: attack })}`)
  })
})

describe('a text for administrators', () => {
  const core = cookieCore(new Seal([testSecret], 'x'))
  const say = (defaultLocale: string, locales = {}) =>
    new Locales(core, { locales, defaultLocale }).resolveForAdmin().say

  it.each([
    ['de-AT', 'Abbrechen'],
    ['he', 'Cancel'],
  ])('is in the language without its region, else in English, if only the host has %s', (lang, text) => {
    expect(say(lang, { [lang]: {} })('Cancel')).toBe(text)
  })

  it.each(['{{other}}', '$t(Cancel)', '$&', '__proto__', attack])(
    'takes the value %j of a provider as it is',
    (value) => {
      expect(say('de')('Remove {{provider}}?', { provider: value })).toBe(`${value} entfernen?`)
    },
  )

  it.each(['$t(Cancel)', '__proto__', 'constructor', 'a.b:c_one'])(
    'stays as it is if it is %j, which is none of ours',
    (text) => {
      expect(say('de')(text)).toBe(text)
    },
  )
})

describe('the shared login page', () => {
  it('keeps language and query of visitors apart', async () => {
    const queries = [
      '',
      'returnTo=/a',
      'returnTo=/b&max_age=60',
      `returnTo=/c?${encodeURIComponent('"><i>')}`,
    ]
    for (let round = 0; round < 2; round++)
      for (const lang of ['de', 'en', 'he'])
        for (const query of queries) {
          const { body } = await open(`/login?${query}`, { cookie: `sso-language=${lang}` })
          expect(langOf(body)?.split(' ')[0]).toBe(lang)
          const returnTo = new URLSearchParams(query).get('returnTo')
          const link = new URL(menuIn(body).en!, portal.url)
          expect([
            link.pathname,
            link.searchParams.get('returnTo')?.replaceAll('%22%3E%3Ci%3E', '"><i>'),
          ]).toEqual(['/login', returnTo ?? undefined])
          expect(body).not.toContain('<i>')
        }
  })

  it('shows the texts of the host, escaped', async () => {
    const { body } = await open('/login?lang=en')
    expect(body).toContain('Our own lead &lt;script&gt;')
    expect(body).not.toContain(attack)
  })
})

describe('the language menu', () => {
  it('names each language in itself, and marks the current one', async () => {
    const { body } = await open('/login?lang=en')
    expect(Object.keys(menuIn(body))).toEqual(expect.arrayContaining(['de', 'de-CH', 'en', 'he']))
    expect(menuIn(body)).not.toHaveProperty('nl')
    expect(body).toMatch(/lang="he" hreflang="he">עברית<\/a>/)
    expect(body).toMatch(/lang="en" hreflang="en" aria-current="true">English<\/a>/)
    expect(body).toContain('<nav class="sso-languages" aria-label="Language: English">')
  })

  it('keeps the parameters that a page needs, and no others', async () => {
    const { body } = await open('/login?by=list&returnTo=/portal&max_age=60&x=1&lang=he&state=s')
    expect(menuIn(body).en).toBe('/login?lang=en&by=list&returnTo=%2Fportal&max_age=60')
    const elsewhere = await open('/login?returnTo=https://evil.example/')
    expect(menuIn(elsewhere.body).en).toBe('/login?lang=en')
    expect(menuIn((await open('/logout/done?state=s')).body).en).toBe('/logout/done?lang=en')
  })

  it('is absent where a link would lose or repeat something', async () => {
    for (const path of ['/login/acme/callback?code=c&state=s', '/login/break-glass?token=t', '/login/nope'])
      expect([path, menuIn((await open(path)).body)]).toEqual([path, {}])
    provider.person = { ...provider.person, sub: 'grace', email: 'grace@example.com', email_verified: true }
    const form = await visitor.open(`${portal.url}/login/acme`)
    expect(menuIn(form.body).en).toBe('/register?lang=en')
    const mistake = await visitor.post(`${portal.url}/register`, { name: 'Grace' })
    expect([mistake.status, menuIn(mistake.body)]).toEqual([422, {}])
  })
})

describe('the host’s own texts', () => {
  it('are in the language of the page, else in the default language', async () => {
    provider.person = { ...provider.person, sub: 'joan', email: 'joan@example.com', email_verified: true }
    const german = await visitor.open(`${portal.url}/login/acme`)
    for (const text of ['Abteilung', '>Nord<', 'href="/agb"', 'Personalportal', '>Site<'])
      expect(german.body).toContain(text)
    const { body } = await open('/register?lang=en')
    for (const text of ['Team', '>North<', 'href="/terms"', 'Staff portal']) expect(body).toContain(text)
    const mistake = await visitor.post(`${portal.url}/register`, { name: 'Joan', terms: 'on' })
    expect(mistake.body).toContain('“Team” is missing.')
    expect((await open('/register?lang=he')).body).toContain('Abteilung')
  })

  it('fall back to English where an added language lacks ours', async () => {
    const { body } = await open('/login?lang=he')
    expect(body).toContain('<title>כניסה')
    expect(body).toContain('Sign in')
  })
})

describe('the provider', () => {
  const uiLocales = async (path: string, headers: Record<string, string> = {}) =>
    new URL((await open(path, headers)).location!).searchParams.get('ui_locales')

  it('is asked for the user’s language', async () => {
    expect(await uiLocales('/login/acme', english)).toBe('en')
    expect(await uiLocales('/login/acme?lang=de-CH', english)).toBe('de-CH')
    expect(await uiLocales('/login/acme', english)).toBe('de-CH')
  })

  it('is not asked for a language that the user did not choose', async () => {
    expect(await uiLocales('/login/acme')).toBeNull()
    expect(await uiLocales('/login/acme', { 'accept-language': 'fi,en;q=0.5' })).toBeNull()
  })

  it('is asked for what the administrator has set', async () => {
    expect(await uiLocales('/login/fixed?lang=en', english)).toBe('fi')
  })
})

describe('a page from right to left', () => {
  it('isolates names from the sentence around them', async () => {
    const { body } = await open('/logout/done?lang=ar')
    expect(langOf(body)).toBe('ar rtl')
    expect(body).toContain('تم تسجيل خروجك من \u2068Personalportal\u2069.')
    expect((await open('/logout/done?lang=de')).body).not.toMatch(/[\u2068\u2069]/)
  })
})

describe('a mail', () => {
  it('is in the language of the request', async () => {
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    await visitor.get(`${portal.url}/login?lang=en`)
    await signIn({ portal, visitor }, 'acme')
    while (mails.length === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(mails[0]).toMatchObject({
      subject: 'Staff portal: Acme was added as a sign-in method',
      text: expect.stringContaining('You can now sign in to Staff portal with Acme.'),
    })
    expect(mails[0]!.html).toContain('<html lang="en" dir="ltr">')
  })
})
