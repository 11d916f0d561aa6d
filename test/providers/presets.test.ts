import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type ProviderInput, readInput } from '../../lib/management/provider-input.ts'
import type { Preset } from '../../lib/providers/presets/preset.ts'
import { presetOf, presets } from '../../lib/providers/presets/presets.ts'
import { effort, textOf } from '../support/properties.ts'

const root = path.resolve(import.meta.dirname, '../..')
const folder = path.join(root, 'lib/providers/presets')

const guid = '4c1b2a3d-0000-4000-8000-00000000abcd'

const input = (preset: string, answers: Record<string, string> = {}): ProviderInput => ({
  slug: 'acme',
  preset,
  answers,
  clientId: 'portal',
  clientSecret: 'secret',
})
const issuerOf = (preset: string, answers?: Record<string, string>) =>
  readInput(input(preset, answers)).settings.issuer

describe('the presets', () => {
  it('include every file of their folder', () => {
    const shared = ['answers', 'preset', 'presets']
    const files = fs.readdirSync(folder).map((file) => path.basename(file, '.ts'))
    const own = files.filter((file) => !shared.includes(file))
    expect(presets.map(({ name }) => name).sort()).toEqual(own.sort())
  })

  it('begin with the most common one and end with the generic one', () => {
    expect(presets.map(({ name }) => name)).toEqual([
      'entra',
      'google',
      'okta',
      'auth0',
      'keycloak',
      'gitlab',
      'ping',
      'onelogin',
      'jumpcloud',
      'adfs',
      'cognito',
      'authentik',
      'zitadel',
      'ory',
      'salesforce',
      'generic',
    ])
  })

  it.each(presets.map((preset): [string, Preset] => [preset.name, preset]))(
    'include %s with a guide, an existing logo or none, and questions whose names can be flags',
    (name, { logo, asks, settings }) => {
      expect(fs.existsSync(path.join(root, 'docs/providers', `${name}.md`))).toBe(true)
      const styles = fs.readFileSync(path.join(root, 'views/assets/portal-sso.css'), 'utf8')
      if (logo !== undefined) expect(styles).toContain(`.logo-${logo} {`)
      for (const question of asks) expect(question.name).toMatch(/^[a-z]+$/)
      // A question makes sense only if its answer becomes part of the settings.
      expect(settings !== undefined).toBe(asks.length > 0)
    },
  )

  it('are listed in the docs, each with its guide', () => {
    const listed = fs.readFileSync(path.join(root, 'docs/providers/README.md'), 'utf8')
    for (const { name } of presets) expect(listed).toContain(`| [\`${name}\`](${name}.md) |`)
  })

  it('accept their own examples', () => {
    for (const { asks } of presets)
      for (const { name, example, read } of asks)
        expect([name, read(example!)]).toEqual([name, { answer: example }])
  })
})

describe('the issuer', () => {
  it.each<[string, Record<string, string>, string]>([
    ['google', {}, 'https://accounts.google.com'],
    ['google', { workspace: 'example.com' }, 'https://accounts.google.com'],
    ['okta', { domain: 'example.okta.com' }, 'https://example.okta.com'],
    ['okta', { domain: 'example.okta.com', server: '' }, 'https://example.okta.com'],
    ['okta', { domain: 'id.example.com', server: 'default' }, 'https://id.example.com/oauth2/default'],
    ['okta', { domain: ' https://Example.OktaPreview.com/ ' }, 'https://example.oktapreview.com'],
    ['auth0', { domain: 'acme.eu.auth0.com' }, 'https://acme.eu.auth0.com/'],
    ['auth0', { domain: 'https://login.example.com//' }, 'https://login.example.com/'],
    ['keycloak', { address: 'https://id.example.com', realm: 'acme' }, 'https://id.example.com/realms/acme'],
    [
      'keycloak',
      { address: 'ID.example.com:8443/auth/', realm: 'Acme_2.0' },
      'https://id.example.com:8443/auth/realms/Acme_2.0',
    ],
    ['keycloak', { address: 'http://localhost:8080', realm: 'acme' }, 'http://localhost:8080/realms/acme'],
    ['gitlab', {}, 'https://gitlab.com'],
    ['gitlab', { address: 'https://gitlab.example.com:443/' }, 'https://gitlab.example.com'],
    ['gitlab', { address: 'example.com/gitlab' }, 'https://example.com/gitlab'],
    ['ping', { environment: guid.toUpperCase() }, `https://auth.pingone.com/${guid}/as`],
    ['ping', { environment: guid, region: 'EU' }, `https://auth.pingone.eu/${guid}/as`],
    ['ping', { environment: guid, region: 'com.au' }, `https://auth.pingone.com.au/${guid}/as`],
    ['onelogin', { subdomain: 'acme' }, 'https://acme.onelogin.com/oidc/2'],
    ['onelogin', { subdomain: '123' }, 'https://123.onelogin.com/oidc/2'],
    ['onelogin', { subdomain: 'https://Acme.OneLogin.com/' }, 'https://acme.onelogin.com/oidc/2'],
    ['jumpcloud', {}, 'https://oauth.id.jumpcloud.com/'],
    ['jumpcloud', { region: 'us' }, 'https://oauth.id.jumpcloud.com/'],
    ['jumpcloud', { region: 'eu' }, 'https://oauth.id.eu.jumpcloud.com/'],
    ['adfs', { domain: 'https://FS.example.com/' }, 'https://fs.example.com/adfs'],
    [
      'cognito',
      { pool: 'eu-central-1_AbCdEfGhI' },
      'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI',
    ],
    [
      'cognito',
      { pool: 'us-gov-west-1_AbCdEfGhI' },
      'https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_AbCdEfGhI',
    ],
    [
      'authentik',
      { address: 'id.example.com/auth/', application: 'my-portal' },
      'https://id.example.com/auth/application/o/my-portal/',
    ],
    ['zitadel', { domain: 'id.example.com' }, 'https://id.example.com'],
    ['ory', { domain: 'acme-abc123.projects.oryapis.com' }, 'https://acme-abc123.projects.oryapis.com'],
    ['salesforce', { domain: 'acme.my.salesforce.com' }, 'https://acme.my.salesforce.com'],
  ])('of %s with %j is %s', (preset, answers, issuer) => {
    expect(issuerOf(preset, answers)).toBe(issuer)
  })

  it('from the administrator replaces the issuer of the preset', () => {
    const { settings } = readInput({ ...input('gitlab'), issuer: 'https://id.example.com' })
    expect(settings.issuer).toBe('https://id.example.com')
  })

  it('is required if the preset asks no questions', () => {
    expect(() => issuerOf('generic')).toThrow(/issuer/)
  })
})

/** Answers that lead to another host or cannot be a host, path or name. */
const hostile = [
  'evil.example/x#',
  'evil.example?',
  'evil.example/..',
  'a@b',
  'okta.com@evil.example',
  'https://user:word@evil.example',
  'evil.example:8443:1',
  'evil.example\n.okta.com',
  'evil.example\\.okta.com',
  'javascript:alert(1)',
  'ftp://evil.example',
  '-evil.example',
  'ex%61mple.com',
  '$(id).example.com',
  '/',
]

const wrongIn = (read: object) => String((read as { wrong?: unknown }).wrong)

describe('an invalid answer', () => {
  // A realm may have such a name.
  it.each(['evil example.com', 'ёxample.com'])('such as %j is refused for every host', (answer) => {
    const asked = presets
      .flatMap(({ asks }) => asks)
      .filter(({ name }) => !['tenant', 'realm'].includes(name))
    expect(asked.length).toBeGreaterThan(7)
    for (const { name, read } of asked)
      expect([name, wrongIn(read(answer))]).toEqual([name, expect.stringMatching(/^enter /)])
  })

  it.each(hostile)('such as %j is refused for every question', (answer) => {
    const asked = presets.flatMap(({ asks }) => asks).filter(({ name }) => name !== 'tenant')
    expect(asked.length).toBeGreaterThan(8)
    for (const { name, read } of asked)
      expect([name, wrongIn(read(answer))]).toEqual([name, expect.stringMatching(/^enter /)])
  })

  it.each<[string, Record<string, string>, RegExp]>([
    ['okta', {}, /^domain: enter the Okta domain, /],
    ['okta', { domain: '  ' }, /^domain: enter the Okta domain, /],
    ['okta', { domain: 'example-admin.okta.com' }, /^domain: enter the domain without `-admin`/],
    [
      'okta',
      { domain: 'example.okta.com:8443' },
      /^domain: enter only a domain, such as `example\.okta\.com`/,
    ],
    ['okta', { domain: 'evil..example' }, /^domain: enter only a domain/],
    ['okta', { domain: 'xn--127.okta.com' }, /^domain: enter only a domain/],
    ['okta', { domain: '127.0.0.1' }, /^domain: enter only a domain/],
    ['okta', { domain: 'localhost' }, /^domain: enter only a domain/],
    ['okta', { domain: 'example.okta.com', server: '../v1' }, /^server: enter the ID/],
    ['okta', { domain: `${'a'.repeat(60)}.`.repeat(5).concat('com') }, /^domain: enter only a domain/],
    ['auth0', { domain: 'acme.auth0.com/login' }, /^domain: enter only a domain/],
    [
      'keycloak',
      { address: 'https://id.example.com/realms/acme', realm: 'acme' },
      /^address: enter only the part/,
    ],
    [
      'keycloak',
      { address: 'https://id.example.com/admin/master/console', realm: 'acme' },
      /^address: enter only/,
    ],
    ['keycloak', { address: 'https://id.example.com', realm: '..' }, /^realm: enter the name/],
    ['keycloak', { address: 'https://id.example.com', realm: 'a/../b' }, /^realm: enter the name/],
    ['keycloak', { address: 'https://id.example.com', realm: 'acme?x' }, /^realm: enter the name/],
    ['keycloak', { address: 'https://id.example.com:99999', realm: 'acme' }, /^address: enter a URL/],
    ['gitlab', { address: 'evil..example' }, /^address: enter a URL/],
    ['gitlab', { address: 'https://gitlab.example.com/users?x=1' }, /^address: enter a URL/],
    ['ping', { environment: 'acme' }, /^environment: enter the Environment ID, a GUID/],
    ['ping', { environment: guid, region: 'com/evil' }, /^region: enter one of com, ca, eu/],
    ['onelogin', { subdomain: 'https://https://acme' }, /^subdomain: enter the part before/],
    ['onelogin', { subdomain: 'evil.example' }, /^subdomain: enter the part before/],
    ['onelogin', { subdomain: 'a.b.onelogin.com' }, /^subdomain: enter the part before/],
    ['jumpcloud', { region: 'evil.example' }, /^region: enter one of us, eu, in/],
    ['adfs', { domain: 'fs.example.com/adfs' }, /^domain: enter only a domain/],
    ['cognito', { pool: 'AbCdEfGhI' }, /^pool: enter the user pool ID with its region/],
    ['cognito', { pool: 'evil.example/x_AbCdEfGhI' }, /^pool: enter the user pool ID/],
    [
      'authentik',
      { address: 'https://id.example.com/application/o/portal', application: 'portal' },
      /^address: enter only the part before `\/application\/`/,
    ],
    ['authentik', { address: 'https://id.example.com', application: '../x' }, /^application: enter the slug/],
    ['salesforce', { domain: 'login.salesforce.com' }, /^domain: enter the domain of your own organisation/],
    ['salesforce', { domain: 'acme.lightning.force.com' }, /^domain: enter the domain that ends with/],
    ['google', { workspace: 'ada@example.com' }, /^workspace: enter only a domain/],
    ['google', { tenant: guid }, /^tenant: the preset google does not ask for it/],
  ])('for %s, %j, is refused with a message that says what to enter', (preset, answers, sentence) => {
    expect(() => issuerOf(preset, answers)).toThrow(sentence)
  })

  it('with plain http and a remote host is refused later, by the check of the issuer', () => {
    expect(issuerOf('gitlab', { address: 'http://gitlab.example.com' })).toBe('http://gitlab.example.com')
  })
})

describe('for all answers, the issuer', () => {
  const answer = textOf([
    ...[
      'https://',
      'http://',
      '//',
      '/',
      '\\',
      '@',
      ':',
      ':443',
      '#',
      '?',
      '%2f',
      '%00',
      '..',
      '.',
      '-',
      ' ',
      '\n',
    ],
    ...[
      'evil.example',
      'okta.com',
      'acme',
      '.onelogin.com',
      '-admin',
      'realms',
      '127.0.0.1',
      '[::1]',
      'xn--',
      'eu-central-1_AbCdEfGhI',
      guid,
      'eu',
    ],
  ])
  // Presets that ask for no address must always lead to the vendor's own host.
  const hosts: Record<string, RegExp> = {
    google: /^accounts\.google\.com$/,
    ping: /^auth\.pingone\.(com|ca|eu|com\.au|sg|asia)$/,
    onelogin: /^[a-z0-9-]+\.onelogin\.com$/,
    cognito: /^cognito-idp\.[a-z0-9-]+\.amazonaws\.com$/,
    jumpcloud: /^oauth\.id\.((eu|in)\.)?jumpcloud\.com$/,
  }

  it.each(presets.filter(({ name }) => !['entra', 'generic'].includes(name)).map(({ name }) => name))(
    'of %s is a normalized URL at its own host, without user, query or fragment',
    (name) => {
      const { asks, settings } = presetOf(name)!
      const answers = fc.record(Object.fromEntries(asks.map((question) => [question.name, answer])))
      let built = 0
      fc.assert(
        fc.property(answers, (given) => {
          const read = asks.map((question) => ({ question, outcome: question.read(given[question.name]!) }))
          const good = read.flatMap(({ question, outcome }) =>
            'answer' in outcome ? [[question.name, outcome.answer] as const] : [],
          )
          const incomplete = read.some(
            ({ question, outcome }) => question.required !== false && 'wrong' in outcome,
          )
          if (incomplete) return
          built++
          const { issuer } = settings!(Object.fromEntries(good))
          const url = new URL(issuer!)
          expect([issuer, `${issuer}/`]).toContain(url.href)
          expect([url.username, url.password, url.search, url.hash]).toEqual(['', '', '', ''])
          expect(url.host).toMatch(hosts[name] ?? /^[a-z0-9.-]+(:\d+)?$/)
        }),
        {
          ...effort(),
          examples: [[Object.fromEntries(asks.map(({ name: each, example }) => [each, example!]))]],
        },
      )
      expect(built).toBeGreaterThan(0)
    },
  )
})

describe('the settings of a preset', () => {
  it('limit the trusted domains and the account choice to a Google Workspace domain', () => {
    const { settings } = readInput(input('google', { workspace: 'Example.com' }))
    expect(settings).toMatchObject({
      emailDomains: ['example.com'],
      authorizationParameters: { hd: 'example.com' },
      prompt: 'select_account',
    })
    expect(readInput(input('google')).settings.emailDomains).toEqual([])
  })

  it('end the logout in the portal for JumpCloud, which does not redirect back', () => {
    expect(readInput(input('jumpcloud')).settings).toMatchObject({ logout: 'portal' })
  })

  it('are overridden by the settings of the administrator', () => {
    const { settings } = readInput({ ...input('google'), prompt: 'login', displayName: 'Our Google' })
    expect(settings).toMatchObject({ prompt: 'login', displayName: 'Our Google' })
  })

  it.each(presets.map(({ name }) => name))('never include trust in email addresses: %s', (name) => {
    const { defaults = {} } = presetOf(name)!
    expect(defaults).not.toHaveProperty('trustsEmail')
  })
})
