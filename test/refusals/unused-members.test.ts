import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Faults } from '../support/faulty-provider.ts'
import type { TestPortal } from '../support/portal.ts'
import { signIn, startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

// The portal validates only what it uses. Anything else may be null, empty, of another type, or unknown.

const provider = await useProvider()
let portal: TestPortal

beforeAll(async () => {
  portal = await startPortalWithAda(provider)
})
afterAll(() => portal.close())
// A new identity, so that all claims and UserInfo are read.
beforeEach(async () => void (await portal.knex('sso_identities').delete()))

const empty: unknown[] = [null, '', []]
const anything: unknown[] = [...empty, 'x', 42, -1, true, {}, [{}], { toString: 1 }]

/** @returns the values with which Ada is not signed in */
async function refusedValues(values: unknown[], faultsFor: (value: unknown) => Faults): Promise<unknown[]> {
  const refused: unknown[] = []
  for (const value of values) {
    provider.reset()
    Object.assign(provider.faults, faultsFor(value))
    const visitor = new Visitor()
    const seen = await signIn({ portal, visitor }, 'acme')
    if (seen.status !== 200 || !seen.url.endsWith('/portal')) refused.push(value)
  }
  return refused
}

const inUserInfo = { claimsInUserinfoOnly: true } as const

describe('accepted: any value of a member of the token response that is not used (RFC 6749 5.1)', () => {
  it.each([
    'expires_in',
    'refresh_token',
    'scope',
    'id_token_type',
    'error',
    'constructor',
    'authorization_details',
  ])('%s', async (name) => {
    expect(await refusedValues(anything, (value) => ({ tokenAnswer: { [name]: value } }))).toEqual([])
  })
})

describe('accepted: any value of a claim that is not used, or only if it is valid (Core 2, 5.1)', () => {
  const unused = ['auth_time', 'acr', 'amr', 'at_hash', 'c_hash', 's_hash', 'jti', 'sid', 'iat_ms', 'roles']
  const profile = [
    'name',
    'given_name',
    'family_name',
    'picture',
    'locale',
    'address',
    'updated_at',
    'zoneinfo',
  ]

  it.each([...unused, ...profile])('%s of the ID token', async (name) => {
    expect(await refusedValues(anything, (value) => ({ claims: { [name]: value } }))).toEqual([])
  })

  it.each(profile)('%s of UserInfo', async (name) => {
    const faults = (value: unknown) => ({ ...inUserInfo, userinfoClaims: { [name]: value } })
    expect(await refusedValues(anything, faults)).toEqual([])
  })
})

describe('accepted: null and empty claims, which count as absent (Core 5.3.2)', () => {
  it.each(['azp', 'nbf', 'email', 'email_verified'])('%s of the ID token', async (name) => {
    expect(await refusedValues(empty, (value) => ({ claims: { [name]: value } }))).toEqual([])
  })
})

describe('refused: null and empty claims that are required (Core 2, 5.3.2)', () => {
  it.each(['iss', 'sub', 'aud', 'exp', 'iat', 'nonce'])('%s of the ID token', async (name) => {
    expect(await refusedValues(empty, (value) => ({ claims: { [name]: value } }))).toEqual(empty)
  })

  it('azp of an ID token with several audiences (Core 3.1.3.7)', async () => {
    const aud = [provider.clientId, 'another']
    expect(await refusedValues(empty, (azp) => ({ claims: { aud, azp } }))).toEqual(empty)
  })

  it.each(['sub', 'email', 'email_verified'])('%s of UserInfo, where the ID token has none', async (name) => {
    const faults = (value: unknown) => ({ ...inUserInfo, userinfoClaims: { [name]: value } })
    expect(await refusedValues(empty, faults)).toEqual(empty)
  })
})

/** Also reads the metadata and the keys again. */
async function refusedMetadata(values: unknown[], faultsFor: (value: unknown) => Faults): Promise<unknown[]> {
  const refused: unknown[] = []
  for (const value of values) {
    await portal.sso.providers.enable('acme')
    refused.push(...(await refusedValues([value], faultsFor)))
  }
  return refused
}

describe('accepted: any value of an optional member of the discovery document (Discovery 3)', () => {
  it.each([
    'acr_values_supported',
    'backchannel_logout_session_supported',
    'backchannel_logout_supported',
    'check_session_iframe',
    'claim_types_supported',
    'claims_locales_supported',
    'claims_parameter_supported',
    'claims_supported',
    'code_challenge_methods_supported',
    'display_values_supported',
    'end_session_endpoint',
    'frontchannel_logout_supported',
    'grant_types_supported',
    'id_token_encryption_alg_values_supported',
    'introspection_endpoint',
    'mtls_endpoint_aliases',
    'op_policy_uri',
    'op_tos_uri',
    'prompt_values_supported',
    'pushed_authorization_request_endpoint',
    'registration_endpoint',
    'request_object_signing_alg_values_supported',
    'request_parameter_supported',
    'request_uri_parameter_supported',
    'require_request_uri_registration',
    'response_modes_supported',
    'response_types_supported',
    'revocation_endpoint',
    'scopes_supported',
    'service_documentation',
    'subject_types_supported',
    'token_endpoint_auth_methods_supported',
    'token_endpoint_auth_signing_alg_values_supported',
    'ui_locales_supported',
    'userinfo_endpoint',
    'userinfo_signing_alg_values_supported',
    'unknown_member',
  ])('%s', async (name) => {
    expect(await refusedMetadata(anything, (value) => ({ discovery: { [name]: value } }))).toEqual([])
  })

  const otherTypes = anything.filter((value) => value !== true && !Array.isArray(value))

  it('id_token_signing_alg_values_supported, unless it is a list', async () => {
    const faults = (value: unknown) => ({ discovery: { id_token_signing_alg_values_supported: value } })
    expect(await refusedMetadata(otherTypes, faults)).toEqual([])
  })

  it('authorization_response_iss_parameter_supported, unless it is true (RFC 9207 2.4)', async () => {
    const announced = (value: unknown) => ({ authorization_response_iss_parameter_supported: value })
    const faults = (value: unknown) => ({ discovery: announced(value), omitIss: true as const })
    expect(await refusedMetadata([...otherTypes, false], faults)).toEqual([])
  })
})

describe('accepted: any value of a member of a key that is not used (RFC 7517 4)', () => {
  const withMember = (name: string) => (value: unknown) => ({
    jwks: (keys: Record<string, unknown>[]) => keys.map((key) => ({ ...key, [name]: value })),
  })

  it.each(['ext', 'x5c', 'x5t', 'x5t#S256', 'x5u', 'iat', 'exp', 'nbf', 'status', 'issuer', 'unknown'])(
    '%s',
    async (name) => {
      expect(await refusedMetadata(anything, withMember(name))).toEqual([])
    },
  )

  it.each(['use', 'key_ops', 'alg'])('%s that is null or empty', async (name) => {
    expect(await refusedMetadata(empty, withMember(name))).toEqual([])
  })

  it('an element that is no key', async () => {
    const faults = (value: unknown) => ({ jwks: (keys: unknown[]) => [value, ...keys] })
    expect(await refusedMetadata(anything, faults)).toEqual([])
  })

  it.each(['unknown', 'keys_signature', 'jwks_uri'])('%s of the key set', async (name) => {
    const { keys } = (await (await fetch(`${provider.issuer}/jwks`)).json()) as { keys: unknown }
    const faults = (value: unknown) => ({ jwksResponse: { body: JSON.stringify({ keys, [name]: value }) } })
    expect(await refusedMetadata(anything, faults)).toEqual([])
  })
})
