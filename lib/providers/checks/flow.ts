import type { ProviderMetadata } from '../discover.ts'
import type { Check } from '../provider.ts'
import { failed, ok } from './verdict.ts'

export function checkFlow(metadata: ProviderMetadata): Check {
  const types = metadata.response_types_supported
  if (!Array.isArray(types) || types.includes('code'))
    return ok('flow', 'the authorization code flow is supported')
  return failed(
    'flow',
    `the provider does not announce the response type "code", only ${types.join(', ')}`,
    'switch the authorization code flow on at the provider',
  )
}
