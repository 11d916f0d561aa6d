import type { ProviderMetadata } from '../discover.ts'
import type { Check } from '../provider.ts'
import { ok, warning } from './verdict.ts'

/** UserInfo is asked only where the ID token holds no address. */
export function checkUserInfo(metadata: ProviderMetadata): Check {
  if (metadata.userinfo_endpoint !== undefined)
    return ok('userinfo', 'UserInfo can be asked for the e-mail address where the ID token lacks it')
  return warning(
    'userinfo',
    'the provider announces no UserInfo endpoint: the e-mail address has to be in the ID token',
    'nothing, if it is; else have the provider put it there',
  )
}
