import { describe, expect, it } from '@jest/globals'
import { quote } from '../../lib/oidc/provider-error.ts'

describe('what a provider said is told to the operator', () => {
  it.each([
    'temporarily_unavailable: back soon',
    'unsupported_response_type: code is not allowed',
    'Correlation ID: 8F9D1F3E-5B0C-4D6A-9C55-0F5BB9D0A001',
    'AADSTS700025: Client is public. Trace ID: 8f9d1f3e-5b0c-4d6a-9c55-0f5bb9d0a001',
  ])('%s', (said) => {
    expect(quote(said, [])).toBe(JSON.stringify(said))
  })

  it.each([
    ['a secret of this exchange', 'bad code S3cret', 'bad code …', ['S3cret']],
    ['one as it travels', 'bad secret a%20b%2Fc', 'bad secret …', ['a b/c']],
    ['one as a form spells it', 'bad secret a+b%2Fc', 'bad secret …', ['a b/c']],
    ['one that begins like another', 'bad code abcdef', 'bad code …', ['abc', 'abcdef', 'abcd']],
    ['what ends in a telling name', '0123456789012345_temporarily_unavailable', '…', []],
    ['what ends like a trace id', 'xx8f9d1f3e-5b0c-4d6a-9c55-0f5bb9d0a001', '…', []],
    ['what begins like one', '8f9d1f3e-5b0c-4d6a-9c55-0f5bb9d0a001xx', '…', []],
    ['one of letters alone', 'code nAjeYAjrEpalPZQpBGa-XY is bad', 'code … is bad', []],
    ['what looks like one', 'token Zm9vYmFyYmF6cXV4Zm9vYmFy is bad', 'token … is bad', []],
  ])('but not %s', (_what, said, told, secrets) => {
    expect(quote(said, secrets)).toBe(JSON.stringify(told))
  })

  it('in 300 characters', () => {
    expect(quote('x '.repeat(1000), []).length).toBeLessThanOrEqual(302)
  })
})
