import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import express from 'express'
import request from 'supertest'
import { checkForm, type RegistrationField, readForm } from '../../lib/registration/registration-form.ts'
import { Seal } from '../../lib/shared/seal.ts'
import { PendingRegistrations } from '../../lib/sign-in/pending-registration.ts'
import { bundle } from '../support/bundle.ts'
import { cookieCore } from '../support/cookie-core.ts'

/** The errors of a posted form, with the keys of the sentences. */
function check(body: unknown, fields: RegistrationField[] = [], terms?: string): Record<string, string> {
  const options = { fields, terms }
  const t = (key: string, { label }: Record<string, string | number> = {}) =>
    key.replace('registration.errors.', '') + (label ? ` ${label}` : '')
  return checkForm(readForm(body, options), options, { lang: 'en', t, localize: String, say: String })
}

it('the package that checks patterns is loaded only for a pattern', async () => {
  const script = `
    import { createRequire } from 'node:module'
    import { isSafePattern } from './lib/registration/registration-form.ts'
    import './lib/index.ts'
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('redos-detector'))
    console.log(loaded(), isSafePattern(/^\\d{4}$/), isSafePattern(/(a+)+$/), loaded())`
  const args = ['--import', 'tsx', '--input-type=module', '-e', script]
  const cwd = path.resolve(import.meta.dirname, '../..')
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd })
  expect(stdout.trim()).toBe('false true false true')
})

it('a pattern in a bundle without that package is refused with advice', async () => {
  const alone = path.join(process.env.TEST_RUN_FOLDER!, 'alone', 'options.mjs')
  await fs.mkdir(path.dirname(alone), { recursive: true })
  await fs.copyFile(await bundle('lib/options.ts'), alone)
  const script = `
    const { readOptions } = await import(${JSON.stringify(alone)})
    const registrationFields = [{ name: 'number', label: 'Number', pattern: /^\\d{4}$/ }]
    try { readOptions({ registrationFields }) } catch ({ code, message }) { console.log(code, message) }`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  const advice = 'registrationFields: to check a pattern, install `redos-detector` beside your bundle'
  expect(stdout.trim()).toBe(`invalid_configuration ${advice}`)
})

describe('the name in the registration form', () => {
  it.each(['Ada Lovelace', 'X', '李', "Ó'Brien-Smith, Jr.", 'x'.repeat(200), '  Ada  '])(
    '%j is valid',
    (name) => {
      expect(check({ name })).toEqual({})
    },
  )

  it.each(['', '   ', '\n', 'Ada\nLovelace', 'Ada\u0000', 'Ada\u0085'])('%j is invalid', (name) => {
    expect(check({ name })).toEqual({ name: 'nameMissing' })
  })

  it.each([[undefined], [['Ada', 'Eve']], [{ first: 'Ada' }]])('%j is invalid', (name) => {
    expect(check({ name })).toEqual({ name: 'nameMissing' })
  })

  it('is stored without bidirectional controls, with the joiners of Persian and Indic names', () => {
    const controls = '\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'
    const body = {
      name: ` ${controls}می\u200cخوا${controls}هم श\u094d\u200d ${controls}`,
      'field.team': `A\u202eB`,
    }
    const input = readForm(body, { fields: [{ name: 'team', label: 'Team' }] })
    expect([input.name, input.fields.team]).toEqual(['می\u200cخواهم श\u094d\u200d', 'AB'])
    expect(check({ name: controls })).toEqual({ name: 'nameMissing' })
  })

  it('is missing if there is no body', () => {
    expect(check(undefined)).toEqual({ name: 'nameMissing' })
  })

  it('must not exceed 200 characters', () => {
    expect(check({ name: 'x'.repeat(201) })).toEqual({ name: 'nameTooLong' })
  })
})

describe('the terms in the registration form', () => {
  it('must be accepted if there are any', () => {
    expect(check({ name: 'Ada' }, [], '/terms')).toEqual({ terms: 'termsMissing' })
    expect(check({ name: 'Ada', terms: 'on' }, [], '/terms')).toEqual({})
  })
})

describe('a custom field in the registration form', () => {
  const text: RegistrationField = { name: 'team', label: 'Team' }
  const size: RegistrationField = {
    name: 'size',
    label: 'Size',
    type: 'select',
    options: [
      { value: 's', label: 'Small' },
      { value: 'm', label: 'Medium' },
    ],
  }
  const keys: RegistrationField = { name: 'keys', label: 'Keys', type: 'checkbox' }
  const number: RegistrationField = { name: 'number', label: 'Number', pattern: /[a-z]|\d{4}/i }

  it.each<[string, RegistrationField, unknown, string | undefined]>([
    ['may be missing', text, undefined, undefined],
    ['may be empty', text, '', undefined],
    ['may contain any printable characters', text, 'R & D – “north”', undefined],
    ['must not contain control characters', text, 'a\u0000b', 'fieldInvalid'],
    ['must not exceed 200 characters', text, 'x'.repeat(201), 'fieldTooLong'],
    ['is ignored if it appears twice', { ...text, required: true }, ['a', 'b'], 'fieldMissing'],
    ['must be filled in if it is required', { ...text, required: true }, '  ', 'fieldMissing'],
    ['accepts its options', size, 'm', undefined],
    ['accepts only its options', size, 'xxl', 'fieldInvalid'],
    ['accepts no inherited property as an option', size, '__proto__', 'fieldInvalid'],
    ['must be chosen if it is required', { ...size, required: true }, '', 'fieldMissing'],
    ['may be unchecked', keys, undefined, undefined],
    ['must be checked if it is required', { ...keys, required: true }, undefined, 'fieldMissing'],
    ['is checked by any value', { ...keys, required: true }, 'on', undefined],
    ['matches its pattern', number, '1234', undefined],
    ['matches its pattern with its flags', number, 'Q', undefined],
    ['matches its pattern as a whole', number, '12345', 'fieldInvalid'],
    ['matches each alternative of its pattern as a whole', number, 'q1234', 'fieldInvalid'],
    ['need not match its pattern if it is empty', number, '', undefined],
  ])('%s', (_sentence, field, value, mistake) => {
    const errors = mistake ? { [`field.${field.name}`]: `${mistake} ${field.label}` } : {}
    expect(check({ name: 'Ada', [`field.${field.name}`]: value }, [field])).toEqual(errors)
  })

  it('gives the same result every time, even with a stateful pattern', () => {
    const sticky = { ...number, pattern: /\d{4}/gy }
    for (let time = 0; time < 3; time++)
      expect(check({ name: 'Ada', 'field.number': '1234' }, [sticky])).toEqual({})
  })
})

it('the registration form shows all errors at once, and keeps the input', () => {
  const fields: RegistrationField[] = [
    { name: 'team', label: 'Team', required: true },
    { name: 'phone', label: 'Phone', type: 'tel', pattern: /\+\d+/ },
  ]
  const body = { name: '', 'field.team': '', 'field.phone': ' 12 ', role: 'admin', 'field.role': 'admin' }
  expect(Object.keys(check(body, fields, '/terms'))).toEqual(['name', 'field.team', 'field.phone', 'terms'])
  expect(readForm(body, { fields })).toEqual({ name: '', fields: { team: '', phone: '12' }, terms: false })
})

describe('a pending registration fits into a cookie with', () => {
  it.each([
    ['short deep link, short ID token', 30, 900],
    ['short deep link, long ID token', 30, 4000],
    ['long deep link, short ID token', 1000, 900],
    ['long deep link, usual ID token', 1000, 1300],
    ['long deep link, long ID token', 1000, 4000],
  ])('%s', async (_what, pathLength, tokenLength) => {
    const seal = new Seal(['a secret for tests that is longer than 32 characters'], 'tests')
    const pendingRegistrations = new PendingRegistrations(cookieCore(seal))
    const returnTo = '/'.padEnd(pathLength, 'x')
    const app = express()
    app.get('/keep', async (_req, res) => {
      const identity = {
        issuer: 'https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0',
        subject: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
        email: 'katherine.johnson@northwind.example',
        emailTrusted: true,
        name: 'Katherine Coleman Goble Johnson',
        logoutHint: 'x'.repeat(tokenLength),
        askedAt: 1_790_000_000_000,
        authenticatedAt: 1_790_000_000,
        acr: 'urn:mace:incommon:iap:silver',
      }
      pendingRegistrations.begin(res, {
        provider: { id: randomUUID(), portal: 'default', slug: 'entra', version: 1 },
        identity,
        returnTo,
      })
      res.end()
    })
    app.get('/find', (req, res) => {
      res.json(pendingRegistrations.find(req, 'default'))
    })
    const { headers } = await request(app).get('/keep')
    const [cookie = ''] = (headers['set-cookie'] as unknown as string[])[0]!.split(';')
    // RFC 6265bis, 5.6, limits name and value together.
    expect(cookie.length).toBeLessThanOrEqual(4096)
    const found = await request(app).get('/find').set('cookie', cookie)
    expect(found.body).toMatchObject({ returnTo, identity: { email: 'katherine.johnson@northwind.example' } })
  })
})
