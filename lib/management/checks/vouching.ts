import { describeVouching, type TrustSettings } from '../../oidc/vouches.ts'
import type { Check } from '../../providers/provider.ts'
import { ok, warning } from './candidate.ts'

/** Shows which addresses of the provider are trusted. */
export function checkVouching(settings: TrustSettings): Check {
  const { description, warning: found } = describeVouching(settings)
  const message = `it vouches for ${description}`
  return found ? warning('vouching', `${message}; ${found.reason}`, found.hint) : ok('vouching', message)
}
