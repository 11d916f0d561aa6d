import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeProtectedHeader } from 'jose'
import type { TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { linesOf, testSignIn } from '../support/test-sign-in.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider({ usual: { requiresDpop: true } })
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  portal = await startPortalWithAda(provider)
  await portal.connect(provider, { slug: 'bound', dpop: true })
})
afterAll(() => portal.close())
beforeEach(() => {
  visitor = new Visitor()
  portal.logs.length = 0
})

const signIn = async (slug: string) => await visitor.open(`${portal.url}/login/${slug}?returnTo=/portal`)
const proofs = (path = '/token') =>
  provider.requests.filter((each) => each.path === path).map(({ headers }) => headers.dpop)
const keyOf = (proof: unknown) => JSON.stringify(decodeProtectedHeader(String(proof)).jwk)

describe('a client that requires tokens bound to a key (DPoP)', () => {
  it('works, with a key that lives for one sign-in', async () => {
    expect((await signIn('bound')).status).toBe(200)
    visitor = new Visitor()
    expect((await signIn('bound')).status).toBe(200)
    const keys = proofs().map(keyOf)
    expect(keys).toHaveLength(2)
    expect(new Set(keys).size).toBe(2)
  })

  it('works where UserInfo has the address: the same key proves the possession of the access token', async () => {
    provider.faults.claimsInUserinfoOnly = true
    provider.person = { sub: 'ada-of-userinfo', email: 'ada@example.com', email_verified: true }
    const { status, body } = await signIn('bound')
    expect([status, body]).toEqual([200, expect.stringContaining('ada@example.com')])
    const [userinfo] = provider.requests.filter(({ path }) => path === '/userinfo')
    expect(userinfo?.headers.authorization).toMatch(/^DPoP /)
    expect(proofs('/userinfo').map(keyOf)).toEqual(proofs().map(keyOf))
  })

  it('works with the nonces of the token endpoint and of UserInfo: each request is repeated once', async () => {
    provider.faults.requiresDpop = 'nonce'
    provider.faults.claimsInUserinfoOnly = true
    expect((await signIn('bound')).status).toBe(200)
    expect(proofs()).toHaveLength(2)
  })

  it('receives no second copy of the code if it refuses the nonce again', async () => {
    provider.faults.tokenError = { body: { error: 'use_dpop_nonce' } }
    expect((await signIn('bound')).status).toBe(400)
    expect(proofs()).toHaveLength(2)
  })

  it('works where the provider ignores the proof and issues a bearer token', async () => {
    delete provider.faults.requiresDpop
    provider.faults.tokenAnswer = { token_type: 'Bearer' }
    provider.faults.claimsInUserinfoOnly = true
    expect((await signIn('bound')).status).toBe(200)
  })

  it('refuses a sign-in without a proof, which does not blame the user', async () => {
    expect((await signIn('acme')).status).toBe(502)
    expect(portal.logs.map(({ fields }) => [fields.code, fields.cause])).toEqual([
      ['provider_error', expect.stringContaining('DPoP proof is missing')],
    ])
    expect(proofs()).toEqual([undefined])
  })

  it('makes the test sign-in name the setting', async () => {
    const report = await testSignIn({ portal, visitor }, 'acme')
    const [failed] = linesOf(report).filter(({ result }) => result === 'failed')
    expect(failed?.text).toContain('Turn on “Tokens bound to a key (DPoP)” in the settings')
  })
})
