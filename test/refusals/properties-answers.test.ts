import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Request } from 'express'
import fc from 'fast-check'
import { readAuthorizationResponse } from '../../lib/oidc/authorization-response.ts'
import { PortalSsoError } from '../../lib/shared/errors.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import {
  applyEdits,
  areValid,
  arriving,
  type Claims,
  type Edits,
  hostileEdits,
} from '../support/hostile-claims.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { effort, textOf } from '../support/properties.ts'
import { Visitor } from '../support/visitor.ts'

const script = 'reflected"\'><img src=x onerror=alert(1)>'
const callback = '/login/acme/callback'

/** Placeholder for the state of an attempt of this browser. */
const realState = '{the real state}'

const name = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('code', 'error', 'state', 'iss') },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      ...['id_token', 'response', 'session_state', 'error_description', 'portal_sso_reposted', 'returnTo'],
      ...['__proto__', 'constructor', 'code[]', 'state[x]', 'CODE', '', script],
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
)
const value = fc.oneof(
  fc.constantFrom(
    'access_denied',
    'server_error',
    'invalid_grant',
    'abc',
    '1',
    script,
    `${script}\r\nset-cookie: a=b`,
  ),
  textOf([
    '<',
    '>',
    '"',
    "'",
    '&',
    ';',
    '%',
    '\r\n',
    '\u0000',
    '/',
    '//evil.example',
    'ü',
    'eyJ',
    '.',
    '{{',
    '<%',
  ]),
  fc.string({ unit: 'binary', maxLength: 2000 }),
)
const state = fc.oneof({ weight: 2, arbitrary: fc.constant(realState) }, { weight: 1, arbitrary: value })
const pair = name.chain((each) =>
  (each === 'state' ? state : value).map((to): [string, string] => [each, to]),
)
const query = fc.array(pair, { maxLength: 6 }).map((pairs) => pairs.map(encode).join('&'))
const likely = fc
  .tuple(state, fc.constantFrom('code', 'error'), value)
  .map(([to, kind, text]) => [encode(['state', to]), encode([kind, text])].join('&'))
const noise = textOf([
  '&',
  '=',
  '%',
  '%zz',
  '%00',
  '%ff',
  '+',
  ';',
  '#',
  '?',
  'code=',
  'error=',
  'state=',
  '[',
  ']',
])
const parameters = fc.oneof(
  likely,
  query,
  fc.tuple(likely, noise).map((both) => both.join('&')),
  noise,
)

function encode(both: [string, string]): string {
  return both.map((text) => encodeURIComponent(text.replace(/\p{Cs}/gu, '\ufffd'))).join('=')
}

describe('any request to the callback', () => {
  const url = fc.tuple(
    fc.constantFrom(callback, `http://[${callback}`, `http://x:99999${callback}`, '//'),
    parameters,
  )
  const body = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(name, fc.anything()),
    fc.constantFrom(undefined, null, 'text'),
  )

  it('is an authorization response with a state and either a code or an error, or is refused with a PortalSsoError', () => {
    const seen = { read: 0, refused: 0 }
    const requests = fc.oneof(
      url.map(([path, text]) => ({ method: 'GET', originalUrl: `${path}?${text}` })),
      body.map((each) => ({ method: 'POST', originalUrl: callback, body: each })),
    )
    const property = fc.property(requests, (req) => {
      try {
        const answer = readAuthorizationResponse(req as unknown as Request)
        seen.read++
        expect(answer.state).not.toBe('')
        expect(answer.parameters.has('code')).not.toBe(answer.parameters.has('error'))
        expect(new Set(answer.parameters.keys()).size).toBe([...answer.parameters].length)
      } catch (error) {
        if (!(error instanceof PortalSsoError)) throw error
        seen.refused++
        expect(error.code).toBe('response_malformed')
      }
    })
    fc.assert(property, effort(5))
    expect(seen.read).toBeGreaterThan(0)
    expect(seen.refused).toBeGreaterThan(0)
  })
})

describe('a portal with several providers', () => {
  const lanes = 4
  let providers: FaultyProvider[]
  let portal: TestPortal
  const agent = new Agent({ keepAlive: true })

  const people = ['ada', 'grace']
  const person = (sub: string) => ({ sub, email: `${sub}@example.com`, email_verified: true, name: sub })

  beforeAll(async () => {
    providers = await Promise.all(Array.from({ length: lanes }, () => startFaultyProvider()))
    portal = await startPortal({ rateLimits: false })
    for (const [at, provider] of providers.entries())
      await portal.connect(provider, { slug: at === 0 ? 'acme' : `acme-${at}`, displayName: `Acme ${at}` })
    for (const sub of people) {
      await portal.sso.users.create({ email: `${sub}@example.com`, name: sub, fields: {} })
      for (const at of providers.keys()) expect(await signIn(at, person(sub))).toBe(`${sub}@example.com`)
    }
  })
  afterAll(async () => {
    agent.destroy()
    await portal.close()
    await Promise.all(providers.map((provider) => provider.close()))
  })

  /** @returns the address of the signed-in user, if any */
  async function signIn(lane: number, claims: Claims, edits: Edits = []): Promise<string | undefined> {
    const provider = providers[lane]!
    provider.person = claims as typeof provider.person
    provider.faults.claims = Object.fromEntries(edits)
    const slug = lane === 0 ? 'acme' : `acme-${lane}`
    const seen = await new Visitor().open(`${portal.url}/login/${slug}?returnTo=/portal`)
    expect([200, 400, 403]).toContain(seen.status)
    if (seen.url !== `${portal.url}/portal`) return undefined
    return (JSON.parse(seen.body) as { user: { email: string } }).user.email
  }

  describe('for any authorization response', () => {
    const method = fc.constantFrom('GET', 'GET', 'POST')
    const target = fc.constantFrom(callback, callback, callback, `http://x:99999${callback}`, `${callback}/`)
    const type = fc.constantFrom(
      ...Array<string>(5).fill('application/x-www-form-urlencoded'),
      ...['application/x-www-form-urlencoded; charset=utf-7', 'application/json', 'multipart/form-data', ''],
    )

    it('signs nobody in without a valid code, and shows its parameters only as text', async () => {
      const before = await signedIn()
      const property = fc.asyncProperty(method, target, type, parameters, async (...given) => {
        const [subcommand, path, contentType, text] = given
        const { state: own, cookie } = await begin()
        const sent = text.replaceAll(encodeURIComponent(realState), own)
        const seen =
          subcommand === 'GET'
            ? await send(subcommand, `${path}?${sent.replace(/[^\u0021-\u00ff]/gu, visible)}`, cookie)
            : await send(subcommand, path, cookie, contentType, sent)
        expect([200, 400, 403, 415, 502]).toContain(seen.status)
        expect(seen.headers['content-type']).toBe('text/html; charset=utf-8')
        expect(seen.headers['content-security-policy']).toContain("default-src 'none'")
        expect(String(seen.headers['set-cookie'] ?? '')).not.toMatch(/(^|,)portal-sso=|(^|,)a=b/)
        expect(seen.headers.location).toBeUndefined()
        expect(seen.body).not.toContain('<img src=x')
        if (seen.status !== 200) expect(seen.body).not.toContain('reflected')
        else if (isWellEscaped(sent)) expect(repostedFields(seen.body)).toEqual(formFields(sent))
      })
      await fc.assert(property, effort(1 / 4))
      expect(await signedIn()).toBe(before)
    })

    async function begin(): Promise<{ state: string; cookie: string }> {
      const visitor = new Visitor()
      const { location } = await visitor.get(`${portal.url}/login/acme`)
      const [[cookieName, sealed]] = [...visitor.cookies.get(portal.url)!] as [[string, string]]
      return { state: new URL(location!).searchParams.get('state')!, cookie: `${cookieName}=${sealed}` }
    }

    /** Sends the path unchanged: `fetch` would normalise it. */
    async function send(subcommand: string, path: string, cookie: string, contentType?: string, text = '') {
      const { hostname, port } = new URL(portal.url)
      const headers = { accept: 'text/html', cookie, ...(contentType && { 'content-type': contentType }) }
      const asked = request({ agent, hostname, port, method: subcommand, path, headers }).end(text)
      const [answer] = (await once(asked, 'response')) as [import('node:http').IncomingMessage]
      const chunks: Buffer[] = []
      for await (const chunk of answer) chunks.push(chunk as Buffer)
      return { status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(chunks).toString() }
    }

    const visible = (letter: string) => encodeURIComponent(/\p{Cs}/u.test(letter) ? '?' : letter)

    /** Express versions decode invalid escapes differently, and browsers never send them. */
    function isWellEscaped(text: string): boolean {
      try {
        decodeURIComponent(text)
        return true
      } catch {
        return false
      }
    }

    // Express drops fields without a name, and `__proto__`.
    const formFields = (text: string) =>
      [...new URLSearchParams(text)].filter(([field]) => field !== '' && field !== '__proto__').sort()

    function repostedFields(html: string): [string, string][] {
      const fields = [...html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)]
      const all = fields.map(([, each = '', to = '']): [string, string] => [
        unescapeHtml(each),
        unescapeHtml(to),
      ])
      expect(all.pop()).toEqual(['portal_sso_reposted', '1'])
      return all.sort()
    }

    const unescapeHtml = (text: string) =>
      text.replace(/&#(\d+);|&(amp|lt|gt|quot);/g, (_, code, entity) =>
        code ? String.fromCharCode(code) : { amp: '&', lt: '<', gt: '>', quot: '"' }[entity as 'amp'],
      )

    const signedIn = async () => (await portal.knex('sso_events').where({ kind: 'signed-in' })).length
  })

  describe('for any claims that a provider signs', () => {
    const ada = person('ada')

    /** The address of the user whom these claims must sign in, by the specification and the portal's documentation. */
    function expectedUser(lane: number, edits: Edits, links: ReadonlySet<string>): string | undefined {
      const { issuer, clientId } = providers[lane]!
      const now = Math.floor(Date.now() / 1000)
      const base = { ...ada, iss: issuer, aud: clientId, iat: now, exp: now + 300, nonce: 'the nonce' }
      const claims = arriving(applyEdits(base, edits) as object)
      const expected = { iss: issuer, clientId, nonce: base.nonce, now, tolerance: 30 }
      if (!areValid(claims, expected)) return undefined
      const linked = people.find((sub) => sub === claims.sub)
      const { email, email_verified } = claims
      // The portal requests UserInfo of a new identity if a claim is missing that decides. UserInfo describes Ada, who is linked.
      if (!linked && (email === undefined || email_verified === undefined)) return undefined
      const verified = email_verified === true || email_verified === 'true'
      const holder = people.find((sub) => verified && isSameAddress(email, `${sub}@example.com`))
      // The address may have a new owner, if its user has another account of the issuer.
      if (!linked && links.has(`${issuer} ${holder}`)) return undefined
      const found = linked ?? holder
      return found && `${found}@example.com`
    }

    const isSameAddress = (given: unknown, email: string) =>
      typeof given === 'string' && given.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase()) === email

    it('signs in the user whom valid claims identify, and never another one', async () => {
      const seen = { in: 0, out: 0 }
      const all = fc.tuple(
        ...providers.map(({ issuer, clientId }) =>
          hostileEdits({ ...ada, iss: issuer, aud: clientId, azp: clientId }, person('grace')),
        ),
      )
      const property = fc.asyncProperty(all, async (tokens) => {
        const linked = await portal.knex('sso_identities').select('issuer', 'subject')
        const links = new Set(linked.map(({ issuer, subject }) => `${issuer} ${subject}`))
        const expected = tokens.map((edits, lane) => expectedUser(lane, edits, links))
        const found = await Promise.all(tokens.map((edits, lane) => signIn(lane, ada, edits)))
        // The next sign-ins must not use links that these have created.
        await portal.knex('sso_identities').whereNotIn('subject', people).delete()
        await portal.knex('sso_blocked_identities').delete()
        expect(found).toEqual(expected)
        for (const email of found) seen[email ? 'in' : 'out']++
      })
      await fc.assert(property, effort(1 / 16))
      expect(seen.in).toBeGreaterThan(0)
      expect(seen.out).toBeGreaterThan(0)
    })
  })
})
