import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createAddressRules } from '../../lib/oidc/address-rules.ts'
import type { Resolve } from '../../lib/oidc/connector.ts'
import {
  createHttpClients,
  type HttpClients,
  isUnreachable,
  type OutboundSettings,
  UnreachableError,
} from '../../lib/oidc/http-client.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal } from '../support/portal.ts'
import { selfSigned } from '../support/self-signed.ts'
import { Visitor } from '../support/visitor.ts'

/** The requests that the local server received, each with its destination address. */
let requests: { path: string; at: string | undefined }[]
let connections: Socket[]
let answer: http.RequestListener
let server: http.Server
let port: number
const open: HttpClients[] = []

beforeAll(async () => {
  // Listens on all of 127.0.0.0/8.
  server = http.createServer((req, res) => {
    requests.push({ path: req.url!, at: req.socket.localAddress })
    answer(req, res)
  })
  server.on('connection', (socket) => connections.push(socket))
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
})
beforeEach(() => {
  requests = []
  connections = []
  answer = (_req, res) => res.end('fine')
})
afterEach(async () => {
  jest.restoreAllMocks()
  for (const outbound of open.splice(0)) await outbound.close()
})

const loopback = ['127.0.0.0/8']

function outboundWith(settings: Partial<OutboundSettings> = {}, resolve?: Resolve): HttpClients {
  const all = { timeoutSeconds: 5, allowedAddresses: loopback, concurrency: 32, ...settings }
  const outbound = createHttpClients(all, resolve)
  open.push(outbound)
  return outbound
}

const options = {
  method: 'GET',
  headers: {} as Record<string, string>,
  body: undefined,
  redirect: 'manual' as const,
}
const get = (outbound: HttpClients, path = '/', host = '127.0.0.1') =>
  outbound.fetch(`http://${host}:${port}${path}`, options)
const read = async (answered: Promise<Response>) => await (await answered).text()

/** Resolves any name to the first list of addresses, then to the second, and so on. */
function resolvesTo(...answers: string[][]): Resolve & { calls: number } {
  const resolve = async () => {
    const urls = answers[Math.min(resolve.calls++, answers.length - 1)]!
    return urls.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  }
  resolve.calls = 0
  return resolve
}

const refusedAddress = expect.objectContaining({
  cause: expect.objectContaining({ message: expect.stringContaining('is not public') }),
})

describe('an address is refused because it is', () => {
  const rules = createAddressRules([])
  it.each([
    ['this machine', '127.0.0.1'],
    ['this machine', '127.255.255.254'],
    ['this machine in IPv6', '::1'],
    ['this machine, mapped to IPv6', '::ffff:127.0.0.1'],
    ['this machine, mapped to IPv6, in hex', '::ffff:7f00:1'],
    ['this machine, IPv4-compatible', '::127.0.0.1'],
    ['any address of this machine', '0.0.0.0'],
    ['any address of this machine in IPv6', '::'],
    ['private (RFC 1918)', '10.0.0.1'],
    ['private (RFC 1918)', '172.16.0.1'],
    ['private (RFC 1918)', '172.31.255.255'],
    ['private (RFC 1918)', '192.168.1.1'],
    ['private, mapped to IPv6', '::ffff:10.0.0.1'],
    ['private, behind NAT64 (RFC 6052)', '64:ff9b::10.0.0.1'],
    ['behind a local NAT64 (RFC 8215)', '64:ff9b:1::808:808'],
    ['private in IPv6 (RFC 4193)', 'fd12:3456::1'],
    ['site-local', 'fec0::1'],
    ['link-local', '169.254.10.10'],
    ['link-local in IPv6', 'fe80::1'],
    ['the metadata service of AWS, Google and Azure', '169.254.169.254'],
    ['the metadata service of AWS in IPv6', 'fd00:ec2::254'],
    ['the metadata service of Alibaba', '100.100.100.200'],
    ['the metadata service of Oracle', '192.0.0.192'],
    ['the platform inside of Azure', '168.63.129.16'],
    ['shared by a carrier (RFC 6598)', '100.64.0.1'],
    ['for benchmarks (RFC 2544)', '198.18.0.1'],
    ['for documentation (RFC 5737)', '192.0.2.1'],
    ['for documentation (RFC 3849)', '2001:db8::1'],
    ['of a tunnel (6to4)', '2002:7f00:1::'],
    ['of a tunnel (Teredo)', '2001::1'],
    ['of an old tunnel (RFC 4291, 2.5.5.1)', '::a00:1'],
    ['unassigned', '4000::1'],
    ['multicast', '224.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['reserved', '240.0.0.1'],
    ['not an address', 'nonsense'],
    ['not an address', ''],
  ])('%s: %s', (_what, address) => {
    expect(rules(address)).toBe(false)
  })

  it.each(['8.8.8.8', '20.190.151.7', '2606:4700::1111', '64:ff9b::8.8.8.8', '::ffff:8.8.8.8'])(
    'but %s is public',
    (address) => {
      expect(rules(address)).toBe(true)
    },
  )

  it.each([
    ['10.20.0.0/16', '10.20.30.40', '10.21.0.1'],
    ['127.0.0.1', '127.0.0.1', '127.0.0.2'],
    ['10.20.0.0/16', '::ffff:10.20.0.1', '::ffff:10.30.0.1'],
    ['fd12::/16', 'fd12::1', 'fd13::1'],
    ['::1', '::1', '127.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1', '10.0.0.2'],
  ])('if %s is allowed, %s is allowed and %s is not', (allowed, inside, outside) => {
    const some = createAddressRules([allowed])
    expect([some(inside), some(outside), some('8.8.8.8')]).toEqual([true, false, true])
  })
})

describe('the private network cannot be reached (SSRF)', () => {
  it.each([
    'http://127.0.0.1',
    'http://localhost',
    'http://127.0.0.2',
    'https://127.0.0.1',
    'https://127.1',
    'https://2130706433',
    'https://0x7f000001',
    'https://0177.0.0.1',
    'https://0.0.0.0',
    'https://[::1]',
    'https://[::ffff:127.0.0.1]',
    'https://[::ffff:7f00:1]',
    'https://127.0.0.1.',
    'https://%31%32%37.0.0.1',
    'https://①②⑦.0.0.1',
    'https://localhost',
    'http://[::1]',
  ])('by the URL %s', async (origin) => {
    const outbound = outboundWith({ allowedAddresses: [] })
    await expect(outbound.fetch(`${origin}:${port}/`, options)).rejects.toEqual(refusedAddress)
    expect(connections).toEqual([])
  })

  it('by a name that resolves to it', async () => {
    const outbound = outboundWith({ allowedAddresses: [] }, resolvesTo(['127.0.0.1', '10.0.0.1', '::1']))
    await expect(outbound.fetch(`https://public.example:${port}/`, options)).rejects.toEqual(refusedAddress)
    expect(connections).toEqual([])
  })

  it('by a name that resolves to it a moment later (DNS rebinding)', async () => {
    const resolve = resolvesTo(['127.0.0.2'], ['127.0.0.1'])
    const outbound = outboundWith({ allowedAddresses: ['127.0.0.2'] }, resolve)
    answer = (_req, res) => res.setHeader('connection', 'close').end('fine')
    // Plain http is allowed for loopback names only.
    expect(await read(get(outbound, '/one', 'localhost'))).toBe('fine')
    expect(resolve.calls).toBe(1)
    await expect(get(outbound, '/two', 'localhost')).rejects.toEqual(refusedAddress)
    expect(requests).toEqual([{ path: '/one', at: '127.0.0.2' }])
    expect(connections).toHaveLength(1)
  })

  it('by a name with allowed and forbidden addresses: only an allowed one is used', async () => {
    const outbound = outboundWith(
      { allowedAddresses: ['127.0.0.3'] },
      resolvesTo(['127.0.0.1', '10.0.0.1', '127.0.0.3', '::1']),
    )
    expect(await read(get(outbound, '/', 'localhost'))).toBe('fine')
    expect(requests).toEqual([{ path: '/', at: '127.0.0.3' }])
  })

  it('in plain http, except on this machine, whatever its name resolves to', async () => {
    const anywhere = outboundWith({ allowedAddresses: ['0.0.0.0/0'] }, resolvesTo(['93.184.216.34']))
    for (const name of ['localhost', 'north.localhost'])
      await expect(get(anywhere, '/', name)).rejects.toEqual(refusedAddress)
    for (const address of [
      'http://example.com/',
      'http://localhost.example.com/',
      'ftp://127.0.0.1/',
      'file:///etc/passwd',
      'data:,x',
    ])
      await expect(anywhere.fetch(address, options)).rejects.toThrow('is not https')
  })

  // Attacker: a provider whose metadata names a mail server, which would read the request's body as commands.
  it.each([25, 465, 587, 6667])('on the port %i of another protocol', async (blocked) => {
    const outbound = outboundWith()
    await expect(outbound.fetch(`http://127.0.0.1:${blocked}/`, options)).rejects.toMatchObject({
      name: 'UnreachableError',
      cause: { message: `the port ${blocked} is for another protocol` },
    })
  })

  it('with a user name and password in the URL', async () => {
    await expect(get(outboundWith(), '/', 'user:password@127.0.0.1')).rejects.toThrow('is not https')
  })
})

describe('TLS is verified', () => {
  afterEach(() => {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
  })

  it('even if the environment disables it', async () => {
    let reached = 0
    const secure = https.createServer(selfSigned('provider.example'), (_req, res) => {
      reached += 1
      res.end('trusted')
    })
    secure.on('tlsClientError', () => {})
    secure.listen(0, '127.0.0.1')
    await once(secure, 'listening')
    const address = `https://provider.example:${(secure.address() as AddressInfo).port}/`
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    const outbound = outboundWith({}, resolvesTo(['127.0.0.1']))
    const failure: unknown = await outbound.fetch(address, options).catch((error: unknown) => error)
    expect(failure).toMatchObject({ cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } })
    expect(reached).toBe(0)
    secure.close()
  })
})

describe('a response', () => {
  it.each<[what: string, send: http.RequestListener]>([
    ['never arrives', () => {}],
    [
      'trickles in',
      (_req, res) => {
        const drip = setInterval(() => res.write(' '), 50)
        res.once('close', () => clearInterval(drip))
      },
    ],
    ['breaks off', (_req, res) => res.writeHead(200, { 'content-length': 100 }).end('half') && res.destroy()],
    ['is not HTTP', (_req, res) => res.socket!.end('GIF89a')],
    ['has endless headers', (_req, res) => res.setHeader('x', 'y'.repeat(200_000)).end()],
  ])('that %s is aborted in time', async (_what, send) => {
    answer = send
    const failure: unknown = await get(outboundWith({ timeoutSeconds: 1 })).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(UnreachableError)
    expect(isUnreachable(failure)).toBe(true)
  })

  it.each<[what: string, headers: http.OutgoingHttpHeaders, body: Buffer]>([
    ['plain', {}, Buffer.alloc(1024 * 1024 + 1)],
    ['compressed', { 'content-encoding': 'gzip' }, gzipSync(Buffer.alloc(50 * 1024 * 1024))],
    [
      'compressed with Brotli',
      { 'content-encoding': 'br' },
      brotliCompressSync(Buffer.alloc(50 * 1024 * 1024)),
    ],
  ])('of more than a megabyte is refused, %s', async (_what, headers, body) => {
    answer = (_req, res) => res.writeHead(200, headers).end(body)
    const failure: unknown = await get(outboundWith()).catch((error: unknown) => error)
    expect(failure).toMatchObject({ message: 'the response is larger than 1048576 bytes' })
    expect(isUnreachable(failure)).toBe(false)
  })

  it.each([
    ['gzip', gzipSync('fine')],
    ['X-GZIP', gzipSync('fine')],
    ['deflate', deflateSync('fine')],
    ['br', brotliCompressSync('fine')],
    ['identity', Buffer.from('fine')],
  ])('that is compressed (%s) without being asked for is decoded', async (encoding, body) => {
    answer = ({ headers }, res) => {
      expect(headers).not.toHaveProperty('accept-encoding')
      res.writeHead(200, { 'content-encoding': encoding }).end(body)
    }
    const response = await get(outboundWith())
    expect([await response.text(), response.headers.get('content-encoding')]).toEqual(['fine', null])
  })

  it('whose compression is broken counts as a failure of the provider', async () => {
    answer = (_req, res) => res.writeHead(200, { 'content-encoding': 'gzip' }).end('not compressed')
    await expect(get(outboundWith())).rejects.toThrow(UnreachableError)
  })

  it.each([204, 205, 304])('with the status %i has no body', async (status) => {
    answer = (_req, res) => res.writeHead(status, { 'content-encoding': 'gzip' }).end()
    const response = await get(outboundWith())
    expect([response.status, response.body]).toEqual([status, null])
  })

  it('keeps each of several headers with one name, and any byte in them', async () => {
    answer = (_req, res) => res.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], 'x-name': 'Zoë' }).end()
    const { headers } = await get(outboundWith())
    expect([headers.getSetCookie(), headers.get('x-name')]).toEqual([['a=1', 'b=2'], 'Zoë'])
  })

  it('may have any reason phrase, such as a translated one', async () => {
    answer = (_req, res) => res.socket!.end('HTTP/1.1 200 Trouvé\r\ncontent-length: 4\r\n\r\nfine', 'latin1')
    const response = await get(outboundWith())
    expect(await response.text()).toBe('fine')
  })

  it('of exactly one megabyte, compressed, is read', async () => {
    answer = (_req, res) =>
      res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(1024 * 1024)))
    const { headers, status } = await get(outboundWith())
    expect([status, headers.get('content-encoding')]).toEqual([200, null])
  })
})

describe('a request', () => {
  it('names its user agent, unless the caller does, and posts a form', async () => {
    const received: unknown[] = []
    answer = (req, res) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => {
        received.push([req.headers['user-agent'], Buffer.concat(chunks).toString()])
        res.end()
      })
    }
    const outbound = outboundWith()
    await get(outbound)
    const headers = { 'user-agent': 'mine', 'content-type': 'application/x-www-form-urlencoded' }
    const body = new URLSearchParams({ code: 'a b&c' })
    await outbound.fetch(`http://127.0.0.1:${port}/`, { ...options, method: 'POST', headers, body })
    expect(received).toEqual([
      ['express-portal-sso', ''],
      ['mine', 'code=a+b%26c'],
    ])
  })
})

describe('a redirect', () => {
  const moved = (outbound: HttpClients) =>
    outbound.fetchFollowingRedirects(`http://127.0.0.1:${port}/0`, options)
  const redirecting =
    (to: (path: string) => string | undefined): http.RequestListener =>
    (req, res) => {
      const location = to(req.url!)
      if (location === undefined) res.end('there')
      else res.writeHead(302, { location }).end()
    }

  it('is not followed for a request that carries a secret', async () => {
    answer = redirecting(() => '/elsewhere')
    expect((await get(outboundWith())).status).toBe(302)
    expect(requests).toHaveLength(1)
  })

  it('is followed three times for public documents, within their origin', async () => {
    answer = redirecting((path) => (path === '/3' ? undefined : String(Number(path.slice(1)) + 1)))
    expect(await read(moved(outboundWith()))).toBe('there')
    answer = redirecting((path) => `/${Number(path.slice(1)) + 1}`)
    await expect(moved(outboundWith())).rejects.toThrow('redirects too often')
  })

  it.each([
    ['another host', () => `http://localhost:${port}/`],
    ['another port', () => 'http://127.0.0.1:1/'],
    ['another scheme', () => `https://127.0.0.1:${port}/`],
    ['another host without a scheme', () => `//127.0.0.2:${port}/`],
    ['a file', () => 'file:///etc/passwd'],
    ['the metadata service', () => 'http://169.254.169.254/latest/meta-data/'],
    ['an invalid URL', () => 'http://['],
  ])('to %s is refused, and not requested', async (_where, location) => {
    answer = redirecting(() => location())
    await expect(moved(outboundWith({ allowedAddresses: ['127.0.0.1'] }))).rejects.toThrow('redirects to')
    expect(requests).toHaveLength(1)
  })
})

describe('a busy or unreachable provider', () => {
  it('is requested over the same connections', async () => {
    const outbound = outboundWith()
    for (let n = 0; n < 20; n++) await read(get(outbound))
    expect(requests).toHaveLength(20)
    // A request may start before the previous connection is marked as free.
    expect(connections.length).toBeLessThanOrEqual(3)
  })

  it('never gets more concurrent requests than allowed', async () => {
    let now = 0
    let most = 0
    answer = (_req, res) => {
      most = Math.max(most, ++now)
      setTimeout(() => {
        now -= 1
        res.end('fine')
      }, 20)
    }
    const outbound = outboundWith({ concurrency: 3 })
    const answers = await Promise.all(Array.from({ length: 30 }, () => read(get(outbound))))
    expect(answers).toEqual(Array(30).fill('fine'))
    expect(most).toBe(3)
  })

  it('responds to its own client while a hostile provider that names its endpoint holds all connections', async () => {
    const outbound = outboundWith({ concurrency: 2 })
    answer = (req, res) => (req.url === '/slow' ? undefined : res.end('fine'))
    const ask = (owner: string, path: string) =>
      outbound.clientFor(owner).fetch(`http://127.0.0.1:${port}${path}`, options)
    const held = Array.from({ length: 5 }, () => ask('hostile', '/slow').catch(() => {}))
    expect(await read(ask('good', '/token'))).toBe('fine')
    server.closeAllConnections()
    await Promise.all(held)
  })

  it('gets no request for ten seconds after five failures in a row, then one', async () => {
    const outbound = outboundWith()
    answer = (_req, res) => res.destroy()
    for (let n = 0; n < 5; n++) await expect(get(outbound, '/token')).rejects.toBeInstanceOf(UnreachableError)
    const failures = requests.length
    answer = (_req, res) => res.end('fine')
    for (let n = 0; n < 5; n++) await expect(get(outbound, '/token')).rejects.toBeInstanceOf(UnreachableError)
    expect(requests).toHaveLength(failures)
    // Its other endpoints are not affected.
    expect(await read(get(outbound, '/jwks'))).toBe('fine')

    const now = Date.now()
    jest.spyOn(Date, 'now').mockImplementation(() => now + 10_001)
    answer = (_req, res) => res.destroy()
    await expect(get(outbound, '/token')).rejects.toBeInstanceOf(UnreachableError)
    const tried = requests.length
    expect(tried).toBeGreaterThan(failures + 1)
    await expect(get(outbound, '/token')).rejects.toBeInstanceOf(UnreachableError)
    expect(requests).toHaveLength(tried)

    jest.spyOn(Date, 'now').mockImplementation(() => now + 20_002)
    answer = (_req, res) => res.end('fine')
    expect(await read(get(outbound, '/token'))).toBe('fine')
    expect(await read(get(outbound, '/token'))).toBe('fine')
  })

  it('still gets requests after it hangs up on large ones, which anyone can cause with a made-up code', async () => {
    const outbound = outboundWith()
    answer = (_req, res) => res.destroy()
    const body = new URLSearchParams({ code: 'x'.repeat(4096) })
    const post = () => outbound.fetch(`http://127.0.0.1:${port}/token`, { ...options, method: 'POST', body })
    for (let n = 0; n < 20; n++) await expect(post()).rejects.toBeInstanceOf(UnreachableError)
    answer = (_req, res) => res.end('fine')
    expect(await read(get(outbound, '/token'))).toBe('fine')
  })

  it('is not blocked by another provider that names its endpoint and makes the portal abort requests', async () => {
    const outbound = outboundWith()
    answer = () => {}
    const hostile = () =>
      outbound
        .clientFor('hostile')
        .fetch(`http://127.0.0.1:${port}/token`, { ...options, signal: AbortSignal.timeout(50) })
    for (let n = 0; n < 5; n++) await expect(hostile()).rejects.toBeInstanceOf(UnreachableError)
    answer = (_req, res) => res.end('fine')
    await expect(hostile()).rejects.toBeInstanceOf(UnreachableError)
    expect(await read(outbound.clientFor('good').fetch(`http://127.0.0.1:${port}/token`, options))).toBe(
      'fine',
    )
  })

  it('is not blocked by more requests than it can answer in time', async () => {
    const outbound = outboundWith({ timeoutSeconds: 1, concurrency: 1 })
    // Send the first response at once, so that at least one is in time on a busy machine.
    answer = (_req, res) => setTimeout(() => res.end('fine'), requests.length === 1 ? 0 : 150)
    const flood = await Promise.allSettled(Array.from({ length: 20 }, () => get(outbound, '/token')))
    const late = flood.filter(({ status }) => status === 'rejected').length
    expect(late).toBeGreaterThan(5)
    expect(late).toBeLessThan(20)
    expect(await read(get(outbound, '/token'))).toBe('fine')
  })

  it('is not blocked by error responses', async () => {
    const outbound = outboundWith()
    answer = (_req, res) => res.writeHead(400).end('no')
    for (let n = 0; n < 20; n++) expect((await get(outbound, '/token')).status).toBe(400)
    expect(requests).toHaveLength(20)
  })

  it('with a name server that never responds occupies only one thread', async () => {
    let lookups = 0
    const never: Resolve = () => {
      lookups += 1
      return new Promise(() => {})
    }
    const outbound = outboundWith({ timeoutSeconds: 1 }, never)
    await Promise.allSettled(Array.from({ length: 20 }, () => get(outbound, '/', 'localhost')))
    expect(lookups).toBe(1)
  })
})

describe('a portal in production', () => {
  const baseUrl = 'https://portal.example.com'

  it('refuses a provider in its own network, and explains how to allow one', async () => {
    const provider = await startFaultyProvider()
    const portal = await startPortal({ baseUrl, outbound: {} })
    await expect(portal.connect(provider)).rejects.toThrow(/127\.0\.0\.1 .*`outbound\.allowedAddresses`/)
    expect(provider.requests).toEqual([])
    expect(await portal.sso.providers.list()).toEqual([])
    await portal.close()
    await provider.close()
  })

  it.each(['token_endpoint', 'jwks_uri', 'userinfo_endpoint'])(
    'sends no request to a private address that a provider names as its %s',
    async (endpoint) => {
      const provider = await startFaultyProvider()
      const portal = await startPortal({ baseUrl, outbound: { allowedAddresses: ['127.0.0.1'] } })
      await portal.connect(provider)
      // A hostile provider changes its metadata after the connection test.
      provider.faults.discovery = { [endpoint]: `http://127.0.0.2:${port}/inside` }
      provider.faults.claimsInUserinfoOnly = true
      const visitor = new Visitor({ 'x-forwarded-proto': 'https' })
      const start = await visitor.get(`${portal.url}/login/acme`)
      const { location } = await visitor.get(start.location!)
      const seen = await visitor.get(location!.replace(baseUrl, portal.url))
      // A failed UserInfo request gives no address, and this portal sends no codes.
      expect(seen.status).toBe(endpoint === 'userinfo_endpoint' ? 403 : 502)
      expect(String(portal.logs.at(-1)!.fields.cause)).toContain('127.0.0.2 is not public')
      expect(requests).toEqual([])
      await portal.close()
      await provider.close()
    },
  )
})
