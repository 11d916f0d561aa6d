import { describe, expect, it } from '@jest/globals'
import { quoteRedacted } from '../../lib/oidc/provider-error.ts'

describe('a provider’s message is quoted for the operator', () => {
  it.each([
    'temporarily_unavailable: back soon',
    'unsupported_response_type: code is not allowed',
    'Correlation ID: 8F9D1F3E-5B0C-4D6A-9C55-0F5BB9D0A001',
    'AADSTS700025: Client is public. Trace ID: 8f9d1f3e-5b0c-4d6a-9c55-0f5bb9d0a001',
  ])('%s', (message) => {
    expect(quoteRedacted(message, [])).toBe(JSON.stringify(message))
  })

  it.each([
    ['a secret of this exchange', 'bad code S3cret', 'bad code …', ['S3cret']],
    ['one in URL encoding', 'bad secret a%20b%2Fc', 'bad secret …', ['a b/c']],
    ['one in form encoding', 'bad secret a+b%2Fc', 'bad secret …', ['a b/c']],
    ['one that starts like another', 'bad code abcdef', 'bad code …', ['abc', 'abcdef', 'abcd']],
    ['a token that ends in an error name', '0123456789012345_temporarily_unavailable', '…', []],
    ['a token that ends like a trace id', 'xx8f9d1f3e-5b0c-4d6a-9c55-0f5bb9d0a001', '…', []],
    ['a token that starts like a trace id', '8f9d1f3e-5b0c-4d6a-9c55-0f5bb9d0a001xx', '…', []],
    ['a token of letters only', 'code nAjeYAjrEpalPZQpBGa-XY is bad', 'code … is bad', []],
    ['a token', 'token Zm9vYmFyYmF6cXV4Zm9vYmFy is bad', 'token … is bad', []],
  ])('without %s', (_what, message, redacted, secrets) => {
    expect(quoteRedacted(message, secrets)).toBe(JSON.stringify(redacted))
  })

  it.each(['a.', 'a-', 'A'])('at once, although it is a megabyte of %j', (text) => {
    const message = text.repeat(500_000)
    const started = performance.now()
    for (let n = 0; n < 50; n++) quoteRedacted(message, ['secret'])
    expect(performance.now() - started).toBeLessThan(1000)
  })

  it('in at most 300 characters', () => {
    expect(quoteRedacted('x '.repeat(1000), []).length).toBeLessThanOrEqual(302)
  })
})
