import { once } from 'node:events'
import https from 'node:https'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createHttpClients, type HttpClients } from '../../lib/oidc/http-client.ts'
import { describeError } from '../../lib/shared/errors.ts'
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { selfSigned } from '../support/self-signed.ts'
import { Visitor } from '../support/visitor.ts'

/** The provider's CA is known only to its row, and only the proxy resolves its host name. */
const name = 'id.inside.example'
const authority = selfSigned(name)
const otherAuthority = selfSigned('ca.elsewhere.example')

let provider: FaultyProvider
let proxy: ConnectProxy
let portal: TestPortal
let outbound: HttpClients

beforeAll(async () => {
  provider = await startFaultyProvider({ tls: { ...authority, name } })
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  proxy = await startConnectProxy()
  portal = await startPortal()
  outbound = createHttpClients({ timeoutSeconds: 1, allowedAddresses: ['127.0.0.1'], concurrency: 4 })
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterEach(async () => {
  await outbound.close()
  await portal.close()
  await proxy.close()
})

const networkSettings = () => ({ proxy: proxy.url, certificateAuthority: authority.cert })
const options = { method: 'GET', headers: {}, body: undefined, redirect: 'manual' as const }
const ask = (url: string, network: object) => outbound.clientFor('acme', network).fetch(url, options)
const discovery = () => `${provider.issuer}/.well-known/openid-configuration`

/** The messages of an error and of its causes. */
async function failureOf(act: Promise<unknown>): Promise<string> {
  const error: unknown = await act.then(
    () => new Error('it worked'),
    (thrown: unknown) => thrown,
  )
  return describeError(error)
}

/** Follows a redirect like a browser that knows the CA and the provider's address. */
async function redirectAtProvider(url: string): Promise<string> {
  const lookup = ((_name: string, _options: object, done: (error: null, found: object[]) => void) =>
    done(null, [{ address: '127.0.0.1', family: 4 }])) as never
  const request = https.get(url, { ca: authority.cert, lookup, agent: false })
  const [response] = await once(request, 'response')
  response.resume()
  return response.headers.location
}

async function signsIn(): Promise<boolean> {
  const user = new Visitor()
  const { location } = await user.get(`${portal.url}/login/acme`)
  await user.open(await redirectAtProvider(location!))
  return (await user.get(`${portal.url}/portal`)).status === 200
}

describe('a provider behind a proxy, with its own CA', () => {
  it('can be connected, tested and used to sign in, and the proxy sees only its host name', async () => {
    await portal.connect(provider, networkSettings())
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(await signsIn()).toBe(true)
    const { host } = new URL(provider.issuer)
    expect(new Set(proxy.asked)).toEqual(new Set([host]))
    const { authorization, 'user-agent': agent } = provider.requests.findLast(
      ({ path }) => path === '/token',
    )!.headers
    for (const secret of [authorization!, agent!, '/token', 'code_verifier'])
      expect(proxy.seen()).not.toContain(secret)
  })

  it.each([
    ['without the proxy', () => ({ proxy: undefined }), /did not respond/],
    ['without the CA', () => ({ certificateAuthority: undefined }), /self-signed certificate/],
    [
      'with another CA',
      () => ({ certificateAuthority: otherAuthority.cert }),
      /self-signed certificate|signature failure/,
    ],
    [
      'by another name',
      () => ({ issuer: provider.issuer.replace(name, 'id.elsewhere.example') }),
      /altnames|IP/,
    ],
  ])('cannot be reached %s, and is not saved', async (_how, settings, says) => {
    await expect(portal.connect(provider, { ...networkSettings(), ...settings() })).rejects.toThrow(says)
    expect(provider.requests).toEqual([])
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it('is reached immediately through a new proxy, despite failures through the old one', async () => {
    await portal.connect(provider, networkSettings())
    const first = proxy
    proxy = await startConnectProxy()
    await first.close()
    expect((await portal.sso.providers.test('acme')).ok).toBe(false)
    await portal.sso.providers.update('acme', { proxy: proxy.url })
    expect(await signsIn()).toBe(true)
    expect(proxy.asked).not.toEqual([])
  })

  it('has a CA that no other provider uses', async () => {
    const network = { certificateAuthority: authority.cert, proxy: proxy.url }
    expect((await outbound.clientFor('acme', network).fetch(discovery(), options)).status).toBe(200)
    expect(
      await failureOf(outbound.clientFor('other', { proxy: proxy.url }).fetch(discovery(), options)),
    ).toMatch(/self-signed certificate/)
  })

  it.each([
    ['407 Proxy Authentication Required', /Proxy response \(407\)/],
    ['403 Forbidden', /Proxy response \(403\)/],
    ['302 Found', /Proxy response \(302\)/],
    ['nonsense', /Invalid status code/],
    ['never', /no response within 1000 ms$/],
  ])('fails within the time limit while the proxy responds with %s', async (refuses, reason) => {
    proxy.refuses = refuses
    const failure = await failureOf(ask(discovery(), networkSettings()))
    expect(failure).toMatch(/did not respond/)
    expect(failure).toMatch(reason)
    proxy.refuses = undefined
    expect((await ask(discovery(), networkSettings())).status).toBe(200)
  })
})

describe('a proxy gives no access to forbidden addresses (SSRF):', () => {
  it.each([
    'http://127.0.0.2:1',
    'http://10.0.0.1:3128',
    'https://169.254.169.254',
    'http://[::1]:3128',
    'http://localhost:1',
  ])('not to the proxy %s, in our own network', async (address) => {
    const strict = createHttpClients({ timeoutSeconds: 1, allowedAddresses: [], concurrency: 1 })
    const failure = await failureOf(
      strict.clientFor('acme', { proxy: address }).fetch('https://id.example/', options),
    )
    expect(failure).toMatch(/is not public/)
    await strict.close()
  })

  it.each([
    'https://10.0.0.1/',
    'https://169.254.169.254/latest/meta-data/',
    'https://[::ffff:10.0.0.1]/',
    'https://0x7f000002/',
  ])('not to %s through the proxy', async (address) => {
    expect(await failureOf(ask(address, networkSettings()))).toMatch(/is not public/)
    expect(proxy.asked).toEqual([])
  })

  it.each(['https://localhost/', 'https://LOCALHOST./', 'https://a.localhost/'])(
    'not to the proxy’s own loopback as %s',
    async (address) => {
      const strict = createHttpClients({ timeoutSeconds: 1, allowedAddresses: ['127.0.0.9'], concurrency: 1 })
      expect(await failureOf(strict.clientFor('acme', networkSettings()).fetch(address, options))).toMatch(
        /is not public/,
      )
      expect(proxy.asked).toEqual([])
      await strict.close()
    },
  )

  it('not by a proxy whose name resolves to a private address', async () => {
    const resolve = async () => [{ address: '10.0.0.1', family: 4 }]
    const strict = createHttpClients({ timeoutSeconds: 1, allowedAddresses: [], concurrency: 1 }, resolve)
    const actor = strict.clientFor('acme', { proxy: 'http://proxy.example:3128' })
    expect(await failureOf(actor.fetch('https://id.example/', options))).toMatch(/10\.0\.0\.1 is not public/)
    await strict.close()
  })

  it('not in plain http', async () => {
    expect(await failureOf(ask('http://127.0.0.1:1/', networkSettings()))).toMatch(
      /is not https, and plain http is not sent through a proxy/,
    )
    expect(proxy.asked).toEqual([])
  })
})

describe('the network settings of a provider', () => {
  it.each([
    [
      'a proxy with credentials',
      { proxy: 'http://user:pass@proxy.example:3128' },
      /^proxy: write it without a user/,
    ],
    ['a proxy with a user', { proxy: 'http://user@proxy.example:3128' }, /^proxy: write it without a user/],
    [
      'a proxy with credentials behind too many slashes',
      { proxy: 'http:////user:pass@proxy.example:3128' },
      /^proxy: write it without a user/,
    ],
    [
      'a proxy with another protocol',
      { proxy: 'socks5://proxy.example' },
      /^proxy: write an address such as/,
    ],
    [
      'text that is not a certificate',
      { certificateAuthority: 'mine' },
      /^certificateAuthority: give PEM certificates/,
    ],
    [
      'a broken certificate',
      { certificateAuthority: authority.cert.replace(/\n[\w+/]{4}/, '\nAAAA') },
      /^certificateAuthority: give PEM certificates/,
    ],
    [
      'a private key beside the certificate',
      { certificateAuthority: authority.cert + authority.key },
      /^certificateAuthority: give PEM certificates/,
    ],
  ])('refuse before any request: %s', async (_what, settings, says) => {
    const error: unknown = await portal
      .connect(provider, { ...networkSettings(), ...settings })
      .catch((thrown) => thrown)
    expect((error as Error).message).toMatch(says)
    expect((error as Error).message).not.toContain('pass@')
    expect(proxy.asked).toEqual([])
  })

  it('store the proxy normalized, without control characters', async () => {
    await portal.connect(provider, { ...networkSettings(), proxy: ` ${proxy.url}/\u001b[2J\n` })
    expect(await portal.knex('sso_providers').pluck('proxy')).toEqual([proxy.url])
  })

  it('accept several certificates', async () => {
    await portal.connect(provider, {
      ...networkSettings(),
      certificateAuthority: otherAuthority.cert + authority.cert,
    })
    expect(await signsIn()).toBe(true)
  })

  it('send no stored client secret to a server that only a new certificate authority vouches for', async () => {
    await portal.connect(provider, networkSettings())
    const requestsBefore = proxy.asked.length
    const changes = { certificateAuthority: otherAuthority.cert + authority.cert, proxy: proxy.url }
    await expect(portal.sso.providers.update('acme', changes)).rejects.toThrow(
      'clientSecret: enter the client secret again, because the certificate authority changes',
    )
    expect(proxy.asked).toHaveLength(requestsBefore)
    await portal.sso.providers.update('acme', { ...changes, clientSecret: provider.clientSecret })
    expect(await signsIn()).toBe(true)
  })

  it('send no stored client secret after the certificate authority is removed', async () => {
    await portal.connect(provider, networkSettings())
    await expect(portal.sso.providers.update('acme', { certificateAuthority: null })).rejects.toThrow(
      'clientSecret: enter the client secret again, because the certificate authority changes',
    )
  })
})
