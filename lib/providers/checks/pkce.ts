import type { ProviderMetadata } from '../discover.ts'
import type { Check } from '../provider.ts'
import { ok, warning } from './verdict.ts'

export function checkPkce(metadata: ProviderMetadata): Check {
  const methods: unknown = metadata.code_challenge_methods_supported
  if (Array.isArray(methods) && methods.includes('S256')) return ok('pkce', 'PKCE with S256 is supported')
  return warning(
    'pkce',
    'the provider does not announce PKCE with S256; it is sent all the same',
    'nothing, if a sign-in works: many providers support it without saying so',
  )
}
