import { describe, expect, it } from '@jest/globals'
import { createPortalSso } from '../lib/index.ts'
import type { PortalSsoOptions } from '../lib/options.ts'
import { readOptions } from '../lib/options.ts'
import { ConfigurationError } from '../lib/shared/errors.ts'
import { PortalUrls } from '../lib/web/urls.ts'
import { startPortal, testSecret } from './support/portal.ts'
import { Visitor } from './support/visitor.ts'

const good: PortalSsoOptions = {
  baseUrl: 'https://portal.example.com',
  secret: testSecret,
  database: 'sqlite::memory:',
}

/** The error message for these options. */
function messageFor(options: Record<string, unknown>): string {
  try {
    readOptions({ ...good, ...options } as unknown as PortalSsoOptions)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    return (error as Error).message
  }
  throw new Error('these options were accepted')
}

describe('with the three required options', () => {
  it('all others have their defaults', () => {
    expect(readOptions(good)).toMatchObject({
      secure: true,
      secrets: [testSecret],
      migrate: true,
      mountPath: '/',
      homePath: '/',
      registration: 'open',
      registrationFields: [],
      session: { idleMinutes: 30, absoluteHours: 12 },
      branding: { name: 'Portal' },
    })
  })

  it.each(['baseUrl', 'secret', 'database'])('the portal does not start without %s', (name) => {
    expect(messageFor({ [name]: undefined })).toMatch(new RegExp(`^createPortalSso: ${name}: (write|give) `))
  })
})

describe('invalid options: the message names the option and explains the correction:', () => {
  const origin =
    'write the public origin such as `https://portal.example.com`, without a path; http only for localhost'
  const random = 'give 32 or more random characters, for example from `openssl rand -base64 32`'

  it.each<[Record<string, unknown>, string]>([
    [{ baseUrl: 'portal.example.com' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'https://portal.example.com/' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'https://portal.example.com/sso' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'https://Portal.example.com' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'https://user:word@portal.example.com' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'https://portal.example.com:443' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'http://portal.example.com' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'http://127.0.0.1.example.com' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'http://localhost.example.com' }, `baseUrl: ${origin}`],
    [{ baseUrl: 'ftp://portal.example.com' }, `baseUrl: ${origin}`],
    [{ baseUrl: '' }, `baseUrl: ${origin}`],
    [{ baseUrl: 42 }, `baseUrl: ${origin}`],
    [{ baseUrl: { north: 'north' } }, `baseUrl.north: ${origin}`],
    [
      { baseUrl: { north: 'https://north.example.com', dev: 'http://localhost:3000' } },
      'baseUrl: https for all portals, or http on localhost for all',
    ],
    [{ secret: 'too short' }, `secret: ${random}`],
    [
      { secret: 'a secret in which there are some spaces' },
      'secret: remove the spaces: `portal-sso` reads several secrets, separated by spaces',
    ],
    [{ secret: [] }, `secret: ${random}`],
    [{ secret: [testSecret, 'short'] }, `secret.1: ${random}`],
    [{ secret: Buffer.alloc(32) }, `secret: ${random}`],
    [{ database: 42 }, 'database: give a Knex instance, a Knex configuration, or a URL'],
    [{ database: null }, 'database: give a Knex instance, a Knex configuration, or a URL'],
    [
      {
        baseUrl: { north: 'https://north.example.com' },
        session: { portals: { north: { idleMinutes: 5 }, nort: { idleMinutes: 5 } } },
      },
      'session.portals.nort: write the name of a portal of `baseUrl`',
    ],
    [
      { session: { portals: { north: { idleMinutes: 0 } } } },
      'session.portals.north.idleMinutes: write a number above 0',
    ],
    [{ session: { portals: { north: { idle: 5 } } } }, 'session.portals.north: there is no option `idle`'],
    [{ redis: 'redis://localhost' }, 'redis: give a connected client of the package `redis`'],
    [{ redis: {} }, 'redis: give a connected client of the package `redis`'],
    [
      { users: { findById: () => {} } },
      'users: give a UserDirectory, with the method(s) findById, findByEmail, create',
    ],
    [{ portal: 'north' }, 'portal: give a function: (req) => name of the portal'],
    [{ mountPath: 'sso' }, 'mountPath: write a path such as `/portal`'],
    [{ homePath: 'https://evil.example' }, 'homePath: write a path such as `/portal`'],
    [{ homePath: '//evil.example' }, 'homePath: write a path such as `/portal`'],
    [{ registration: 'maybe' }, "registration: write 'open', 'closed' or a function of the identity"],
    [
      { registrationFields: [{ name: 'first name', label: 'First name' }] },
      'registrationFields.0.name: write letters, digits and _ only',
    ],
    [
      { registrationFields: [{ name: 'team', label: '' }] },
      'registrationFields.0.label: write a text of at least 1 character(s)',
    ],
    [{ registrationFields: {} }, 'registrationFields: write an array'],
    [
      { registrationFields: [{ name: 'team', label: 'Team', type: 'select' }] },
      'registrationFields: a select needs `options`',
    ],
    [
      {
        registrationFields: [
          { name: 'team', label: 'Team' },
          { name: 'team', label: 'Department' },
        ],
      },
      'registrationFields: two fields have the same name',
    ],
    [{ viewsDir: '/nowhere' }, 'viewsDir: write the path of an existing folder'],
    [{ session: { idleMinutes: 0 } }, 'session.idleMinutes: write a number above 0'],
    [{ session: { idleMinutes: 5000 } }, 'session.idleMinutes: write a number of at most 1440'],
    [{ session: { idleMinutes: '30' } }, 'session.idleMinutes: write a number'],
    [{ session: { idleHours: 1 } }, 'session: there is no option `idleHours`'],
    [{ session: 30 }, 'session: write an object'],
    [{ branding: { name: '' } }, 'branding.name: write a text of at least 1 character(s)'],
    [{ branding: { name: 'x'.repeat(61) } }, 'branding.name: write at most 60 characters'],
    [{ branding: { colour: 'red' } }, 'branding: there is no option `colour`'],
    [{ branding: { name: 7 } }, 'branding.name: write a text, or one for each language such as `{ en: '],
    [{ branding: { name: {} } }, 'branding.name: add a text in the default language, `en`'],
    [{ branding: { support: { de: 'x' } } }, 'branding.support: add a text in the default language, `en`'],
    [
      { registrationTerms: { en: '/a', xx: '/b' } },
      'registrationTerms: the portal does not offer `xx`: write `en`',
    ],
    [
      { registrationFields: [{ name: 'team', label: { de: 'Abteilung' } }] },
      'registrationFields.0.label: add a text in the default language, `en`',
    ],
    [{ defaultLocale: 'xx' }, 'defaultLocale: write a language that the portal offers, such as `'],
    [
      { defaultLocale: 'de', locales: { de: false } },
      'defaultLocale: write a language that the portal offers',
    ],
    [{ defaultLocale: '__proto__' }, 'defaultLocale: write a language that the portal offers'],
    [{ locales: [] }, 'locales: write texts such as `{ fr: { picker: { '],
    [{ locales: { fr: 'x' } }, 'locales.fr: write texts such as `{ fr: { picker: { '],
    [
      { locales: { french: {} } },
      'locales: write a language such as `fr`, `pt-BR` or `zh-Hant`, not `french`',
    ],
    [
      { locales: { fr: { picker: { titel: 'x' } } } },
      'locales.fr.picker.titel: there is no text of this name',
    ],
    [{ locales: { fr: { picker: { lead: 'x' } } } }, 'locales.fr.picker.lead: there is no text of this name'],
    [
      { locales: { de: { picker: { lead_few: 'x' } } } },
      'locales.de.picker.lead_few: there is no text of this name',
    ],
    [{ locales: { fr: { picker: { title: ' ' } } } }, 'locales.fr.picker.title: write a text'],
    [{ locales: { fr: { picker: { title: 7 } } } }, 'locales.fr.picker.title: write a text'],
    [
      { locales: { fr: { picker: { until: '{{dat}}' } } } },
      'locales.fr.picker.until: write the text with `{{date}}` only, not `{{dat}}`',
    ],
    [
      { locales: { fr: { picker: { pageTitle: '$t(picker.title)' } } } },
      'locales.fr.picker.pageTitle: write the text without placeholders, not `$t(picker.title)`',
    ],
    [{ branding: { accent: 'red' } }, 'branding.accent: write a colour such as `#7a1f5c`'],
    [
      { branding: { accent: '#fff;}body{display:none' } },
      'branding.accent: write a colour such as `#7a1f5c`',
    ],
    ...[
      'javascript:alert(1)',
      'data:text/html,x',
      '//evil.example',
      '/\\evil.example',
      '/\t/evil.example',
      'imprint',
    ].map((href): [Record<string, unknown>, string] => [
      { branding: { links: [{ label: 'Imprint', href }] } },
      'branding.links.0.href: write a path such as `/imprint`, or an http, https or mailto URL',
    ]),
    [
      { branding: { links: [{ label: {}, href: '/imprint' }] } },
      'branding.links.0.label: add a text in the default language, `en`',
    ],
    [{ classicLogin: { allow: true } }, 'classicLogin.allow: give a function: (req) => boolean'],
    [
      { logger: { info: () => {} } },
      'logger: give a logger of the shape of pino, with the method(s) info, warn, error',
    ],
    [{ mailer: 'smtp://localhost' }, 'mailer: give a transport of nodemailer'],
    [{ mailer: {} }, 'mailer: give a transport of nodemailer'],
    [{ mailFrom: '' }, 'mailFrom: write a text of at least 3 character(s)'],
    [
      { outbound: { allowedAddresses: ['intranet'] } },
      'outbound.allowedAddresses.0: write an address or a range such as `10.20.0.0/16`',
    ],
    [{ outbound: { timeoutSeconds: 60 } }, 'outbound.timeoutSeconds: write a number of at most 6'],
    [{ outbound: { rejectUnauthorized: false } }, 'outbound: there is no option `rejectUnauthorized`'],
    [{ rateLimits: { start: 0 } }, 'rateLimits.start: write a number above 0'],
    [{ rateLimits: { begin: 5 } }, 'rateLimits: there is no option `begin`'],
    [{ rateLimits: true }, 'rateLimits: write limits such as `{ start: 2000, code: 200 }`, or `false`'],
    [{ classicLogin: true }, 'classicLogin: write `{ allow: (req) => boolean }`'],
    [{ events: { retentionDays: 1.5 } }, 'events.retentionDays: write a whole number'],
    [{ events: { retentionDays: 0 } }, 'events.retentionDays: write a number above 0'],
    [{ events: { clientAddress: 'hashed' } }, 'events.clientAddress: write `full` or `shortened` or `none`'],
    [{ secrets: testSecret }, 'options: there is no option `secrets`'],
  ])('%j', (options, sentence) => {
    expect(messageFor(options)).toContain(`createPortalSso: ${sentence}`)
  })

  it('several options at once', () => {
    expect(messageFor({ baseUrl: 'x', secret: 'y', homePath: 'z' })).toMatch(
      /baseUrl: .*; secret: .*; homePath: /,
    )
  })

  it.each([
    { secret: 'hunter2-hunter2' },
    { secret: [testSecret, 'hunter2-hunter2'] },
    { secret: { 'hunter2-hunter2': 1 } },
    { secret: `hunter2-hunter2 ${testSecret}`, baseUrl: 'x' },
    { secret: testSecret, secrets: 'hunter2-hunter2' },
    { database: { client: 'pg', password: 'hunter2-hunter2' }, baseUrl: 'x' },
  ])('without repeating a secret: %#', (options) => {
    const sentence = messageFor(options)
    expect(sentence).not.toContain('hunter2')
    expect(sentence).not.toContain(testSecret)
  })

  it('before the database is opened', async () => {
    await expect(
      createPortalSso({ ...good, baseUrl: 'x', database: 'postgres://nowhere.invalid/x' }),
    ).rejects.toThrow('baseUrl')
    await expect(createPortalSso({ ...good, database: 'mongodb://localhost' })).rejects.toThrow(
      'database (DATABASE_URL): write `postgres://',
    )
  })
})

describe('valid options:', () => {
  it.each<[Partial<PortalSsoOptions>]>([
    [{ baseUrl: 'https://portal.example.com:8443' }],
    [{ baseUrl: 'http://localhost:3000' }],
    [{ baseUrl: 'http://127.0.0.1' }],
    [{ baseUrl: 'http://[::1]:3000' }],
    [{ baseUrl: { north: 'http://north.localhost:3000', south: 'http://south.localhost:3000' } }],
    [{ baseUrl: { north: 'https://north.example.com', south: 'https://south.example.com' } }],
    [{ secret: [testSecret, `${testSecret}-the-older-one`] }],
    [{ registration: () => false }],
    [{ mailer: async () => {}, mailFrom: 'Portal <no-reply@example.com>' }],
    [{ outbound: { allowedAddresses: ['10.20.0.0/16', '::1'] }, rateLimits: false }],
    [{ redis: undefined, users: undefined, branding: { logo: undefined } }],
  ])('%j', (options) => {
    expect(() => readOptions({ ...good, ...options })).not.toThrow()
  })

  it('a mount path with or without a trailing slash', () => {
    expect(readOptions({ ...good, mountPath: '/sso/' }).mountPath).toBe('/sso')
    expect(readOptions({ ...good, mountPath: '/sso' }).mountPath).toBe('/sso')
  })

  it('a portal on localhost allows providers on localhost; other portals do not', () => {
    const allowed = (baseUrl: PortalSsoOptions['baseUrl']) =>
      readOptions({ ...good, baseUrl }).outbound.allowedAddresses
    expect(allowed('http://localhost:3000')).toEqual(['127.0.0.0/8', '::1'])
    expect(allowed('https://portal.example.com')).toEqual([])
    expect(allowed({ north: 'https://localhost', south: 'https://south.example.com' })).toEqual([])
  })

  it('only `true` allows the classic login', () => {
    for (const value of ['yes', 1, {}, Promise.resolve(false)]) {
      const { allowsClassic } = readOptions({ ...good, classicLogin: { allow: () => value as boolean } })
      expect(allowsClassic({} as never)).toBe(false)
    }
    expect(readOptions({ ...good, classicLogin: { allow: () => true } }).allowsClassic({} as never)).toBe(
      true,
    )
    expect(readOptions(good).allowsClassic({} as never)).toBe(false)
  })
})

describe('the portal name from the host', () => {
  it.each([
    '',
    ' ',
    'a b',
    'a/b',
    'a\nb',
    'ä',
    'x'.repeat(101),
    '../default',
    undefined,
    null,
    42,
    ['default'],
  ])('must not be %j: the portal refuses the request', async (name) => {
    const portal = await startPortal({ portal: () => name as string })
    try {
      const seen = await new Visitor().get(`${portal.url}/login`)
      expect(seen.status).toBe(400)
      expect(portal.logs.at(-1)!.fields.cause).toContain('the option `portal` returned a name')
    } finally {
      await portal.close()
    }
  })

  it.each(['south', 'constructor', '__proto__', 'toString'])(
    'needs an origin in the options, which %s does not have',
    (name) => {
      const urls = new PortalUrls({ north: 'https://north.example.com' }, '/')
      expect(urls.origin('north')).toBe('https://north.example.com')
      expect(() => urls.origin(name)).toThrow(`no baseUrl for the portal "${name}"`)
    },
  )
})

describe('the pattern of a registration field', () => {
  /** An older target of TypeScript knows no literal with it. */
  const newerFlag = 'v'
  const fields = (pattern: RegExp) => ({ registrationFields: [{ name: 'number', label: 'Number', pattern }] })

  it.each([
    /(a+)+/,
    /(a|a)*/,
    /(\w+\s?)*/,
    /([a-z]+-?)*[a-z]+/i,
    /(x+x+)+y/,
    /a*a*a*a*a*b/,
    /(\d{0,20}){0,20}/,
    /(?:\p{L}+\s*)+/u,
    new RegExp('[a-z]+', newerFlag),
  ])('is refused if a text could stall the process, or if that cannot be decided: %s', (pattern) => {
    expect(messageFor(fields(pattern))).toContain(
      'registrationFields.0.pattern: write a pattern that cannot backtrack for long',
    )
  })

  it.each([
    /[A-Z]{2}\d{6}/,
    /\+?[\d ()-]{6,20}/,
    /(?:\+49|0)[1-9]\d{1,4}[ /-]?\d{3,10}/,
    /[\w.+-]+@[\w-]+(\.[\w-]+)+/,
    /[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?/,
    /[a-zäöüß]+(?:[ '-][a-zäöüß]+)*/i,
    /[\p{L} '-]{1,50}/u,
  ])('may be a usual one: %s', (pattern) => {
    expect(readOptions({ ...good, ...fields(pattern) }).registrationFields[0]?.pattern).toBe(pattern)
  })
})
