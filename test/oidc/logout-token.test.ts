import { beforeAll, describe, expect, it } from '@jest/globals'
import {
  CompactSign,
  type CryptoKey,
  compactVerify,
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
} from 'jose'
import { LogoutTokenError, readLogoutToken } from '../../lib/oidc/logout-token.ts'
import { CheckError } from '../../lib/shared/errors.ts'
import { logoutEvent } from '../support/logout-token.ts'

// The refusals over HTTP explain each clause. These tests check each limit, to the second and to the character.
const now = 1_800_000_000
const provider = {
  preset: 'generic',
  issuer: 'https://id.example',
  tenants: [] as string[],
  clientId: 'portal',
  signingAlgorithm: 'RS256',
} as const
const validClaims = {
  iss: provider.issuer,
  aud: provider.clientId,
  iat: now,
  exp: now + 120,
  jti: 'a token',
  sub: 'ada',
  sid: 'session-1',
  events: { [logoutEvent]: {} },
}

let key: CryptoKey
let keys: ReturnType<typeof createLocalJWKSet>
let fetched: number

beforeAll(async () => {
  const pair = await generateKeyPair('RS256', { extractable: true })
  key = pair.privateKey
  keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'a key', alg: 'RS256' }] })
})

async function signed(payload: Uint8Array | string, header: object = {}): Promise<string> {
  const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload
  return await new CompactSign(bytes).setProtectedHeader({ alg: 'RS256', kid: 'a key', ...header }).sign(key)
}

const token = (claims: object = {}, header: object = {}) =>
  signed(JSON.stringify({ ...validClaims, ...claims }), header)

async function read(text: string) {
  fetched = 0
  const verify = async () => {
    fetched++
    const verified = compactVerify(text, keys, { algorithms: ['RS256'] })
    return await verified.then(
      ({ payload }) => payload,
      (cause) => {
        throw new CheckError('signature', 'no key', { cause })
      },
    )
  }
  return await readLogoutToken(text, provider, verify, now)
}

/** Compares the whole message, because the operator sees nothing else. */
async function expectRefusal(text: string, message: string): Promise<Error> {
  const error: unknown = await read(text).catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(LogoutTokenError)
  expect(error).toMatchObject({ name: 'LogoutTokenError', message })
  return error as Error
}

describe('a logout token is accepted', () => {
  it('and names a session to end', async () => {
    const ends = { sid: 'session-1', subject: 'ada' }
    expect(await read(await token())).toEqual({ id: 'a token', issuer: validClaims.iss, ends })
    expect(fetched).toBe(1)
  })

  it('without a subject, and without a session', async () => {
    expect((await read(await token({ sub: undefined }))).ends).toEqual({ sid: 'session-1' })
    expect((await read(await token({ sid: undefined }))).ends).toEqual({ subject: 'ada' })
  })

  it.each<[object]>([
    [{ iat: now + 30 }],
    [{ iat: now - 330 }],
    [{ exp: now - 29 }],
    [{ exp: undefined }],
    [{ exp: null }],
    [{ exp: undefined, iat: now - 330 }],
    [{ nbf: now + 30 }],
    [{ aud: ['portal'] }],
    [{ azp: 'portal' }],
    [{ aud: ['portal', 'api'], azp: 'portal' }],
    [{ sub: 'x'.repeat(255) }],
    [{ nbf: null, azp: '' }],
    [{ sub: '' }],
    [{ sid: null }],
    [{ sid: 'x'.repeat(15_000) }],
    [{ events: { [logoutEvent]: { more: 1 }, other: {} } }],
  ])('with the claims %j', async (claims) => {
    expect((await read(await token(claims))).id).toBe('a token')
  })

  it.each(['logout+jwt', 'Logout+JWT', 'application/logout+jwt', 'JWT', 'application/jwt'])(
    'with the type %s',
    async (typ) => {
      expect((await read(await token({}, { typ }))).id).toBe('a token')
    },
  )
})

describe('a logout token is refused', () => {
  it.each<[object, string]>([
    [{ iss: 'https://id.example/' }, 'its issuer (iss) is not the provider'],
    [{ aud: 'Portal' }, 'its audience is not this client (aud)'],
    [{ aud: ['a', 'b'] }, 'its audience is not this client (aud)'],
    [{ aud: ['portal', 'api'] }, 'it has other audiences too (aud), but no authorized party (azp)'],
    [{ azp: 'api' }, 'it was issued to another client (azp)'],
    [{ aud: ['portal', 'api'], azp: 'api' }, 'it was issued to another client (azp)'],
    [{ iat: now + 31 }, 'it was issued in the future (iat)'],
    [{ iat: now - 331 }, 'it was issued too long ago (iat)'],
    [{ iat: undefined }, 'it has no valid time of issue (iat)'],
    [{ iat: String(now) }, 'it has no valid time of issue (iat)'],
    [{ exp: now - 30 }, 'it has expired (exp)'],
    [{ exp: undefined, iat: undefined }, 'it has no valid time of issue (iat)'],
    [{ exp: undefined, iat: now - 331 }, 'it was issued too long ago (iat)'],
    [{ exp: String(now) }, 'it has no valid expiry time (exp)'],
    [{ nbf: now + 31 }, 'it is not valid yet (nbf)'],
    [{ nbf: 'x' }, 'it is not valid yet (nbf)'],
    [{ sub: 42 }, 'its sub is not 1 to 255 ASCII characters'],
    [{ sub: 'x'.repeat(256) }, 'its sub is not 1 to 255 ASCII characters'],
    [{ sid: 42 }, 'its sid is not a string'],
    [{ sub: null, sid: '' }, 'it names neither a subject (sub) nor a session (sid)'],
    [{ sub: undefined, sid: undefined }, 'it names neither a subject (sub) nor a session (sid)'],
    [{ events: undefined }, 'its events are not a JSON object'],
    [{ events: null }, 'its events are not a JSON object'],
    [{ events: [logoutEvent] }, 'its events are not a JSON object'],
    [{ events: logoutEvent }, 'its events are not a JSON object'],
    [{ events: {} }, 'its events contain no valid logout event'],
    [{ events: { [logoutEvent]: null } }, 'its events contain no valid logout event'],
    [{ events: { [logoutEvent]: true } }, 'its events contain no valid logout event'],
    ...['', null, false, []].map((nonce): [object, string] => [
      { nonce },
      'it has a nonce, which only an ID token may have',
    ]),
    [{ jti: undefined }, 'it has no id (jti)'],
    [{ jti: '' }, 'it has no id (jti)'],
    [{ jti: null }, 'it has no id (jti)'],
    [{ iss: null }, 'its issuer (iss) is not the provider'],
    [{ iss: '' }, 'its issuer (iss) is not the provider'],
    [{ aud: null }, 'its audience is not this client (aud)'],
    [{ aud: '' }, 'its audience is not this client (aud)'],
    [{ aud: [] }, 'its audience is not this client (aud)'],
    [{ iat: null }, 'it has no valid time of issue (iat)'],
    [
      { aud: ['portal', 'api'], azp: null },
      'it has other audiences too (aud), but no authorized party (azp)',
    ],
    [{ jti: 42 }, 'it has no id (jti)'],
  ])('with the claims %j', async (claims, message) => {
    await expectRefusal(await token(claims), message)
  })

  it('with an infinite time (1e999)', async () => {
    for (const name of ['iat', 'exp'])
      await expectRefusal(
        await signed(JSON.stringify({ ...validClaims, [name]: 0 }).replace(`"${name}":0`, `"${name}":1e999`)),
        { iat: 'it has no valid time of issue (iat)', exp: 'it has no valid expiry time (exp)' }[name]!,
      )
  })

  it.each([
    ['another algorithm', { alg: 'RS384' }, 'its alg is not the registered RS256'],
    ['no algorithm', { alg: undefined }, 'its alg is not the registered RS256'],
    ['extensions', { crit: ['x'] }, 'it has unsupported critical extensions (crit)'],
    ['invalid extensions', { crit: null }, 'it has unsupported critical extensions (crit)'],
    ['the type of another token', { typ: 'at+jwt' }, 'its typ is for another kind of token'],
    [
      'a type that contains the right one',
      { typ: 'x/application/jwt' },
      'its typ is for another kind of token',
    ],
    [
      'a type with the right one in parts',
      { typ: 'logout+application/jwt' },
      'its typ is for another kind of token',
    ],
    ['an empty type', { typ: '' }, 'its typ is for another kind of token'],
    ['a type that is not a string', { typ: ['jwt'] }, 'its typ is for another kind of token'],
  ])('with %s in its header, before any key is fetched', async (_what, header, message) => {
    const [, payload, signature] = (await token()).split('.')
    const encoded = Buffer.from(JSON.stringify({ alg: 'RS256', kid: 'a key', ...header })).toString(
      'base64url',
    )
    await expectRefusal(`${encoded}.${payload}.${signature}`, message)
    expect(fetched).toBe(0)
  })

  it('with a malformed header, with the reason as its cause', async () => {
    for (const header of ['e30e', 'W10']) {
      const { cause } = await expectRefusal(`${header}.e30.AAAA`, 'its header cannot be read')
      expect(cause).toHaveProperty('message')
    }
  })

  it.each([
    '',
    'a.b',
    'a.b.c.d',
    '.b.c',
    'a..c',
    'a.b.',
    'a.b.c\n',
    ' a.b.c',
    'a.b.c=',
    'a+.b.c',
    'a.b/.c',
    'a.b.c.d.e',
  ])('in the encoding %j', async (text) => {
    await expectRefusal(text, 'it is not a JWS in three parts')
  })

  it('with a signature of another key, with the reason as its cause', async () => {
    const [header, payload] = (await token()).split('.')
    const [, , another] = (await token({ sub: 'grace' })).split('.')
    const { cause } = await expectRefusal(
      `${header}.${payload}.${another}`,
      'it is not signed with a key of the provider',
    )
    expect(cause).toMatchObject({ code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
    await expectRefusal(
      await token({}, { kid: 'another key' }),
      'it is not signed with a key of the provider',
    )
  })

  it.each(['null', '[]', '"text"', '42', 'true'])('with the payload %s', async (payload) => {
    await expectRefusal(await signed(payload), 'its payload is not a JSON object')
  })

  it('with a malformed payload, with the reason as its cause', async () => {
    for (const payload of ['text', Buffer.from('{"sub":"\xff"}', 'latin1')]) {
      const { cause } = await expectRefusal(await signed(payload), 'its payload cannot be read')
      expect(cause).toHaveProperty('message')
    }
  })
})

it('a key set that cannot be fetched is not an error of the token', async () => {
  const failing = () => Promise.reject(new Error('the provider is away'))
  await expect(readLogoutToken(await token(), provider, failing, now)).rejects.toThrow('the provider is away')
})
