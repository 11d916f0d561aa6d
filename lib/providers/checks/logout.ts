import type { ProviderMetadata } from '../discover.ts'
import type { Check } from '../provider.ts'
import { ok } from './verdict.ts'

/** Never a fault: signing out here works without either. */
export function checkLogout(metadata: ProviderMetadata): Check[] {
  return [
    ok(
      'logout',
      metadata.end_session_endpoint === undefined
        ? 'signing out ends the portal session only: the provider announces no usable end_session_endpoint'
        : 'signing out leads on to the provider, which ends its own session too',
    ),
    ok(
      'back-channel',
      metadata.backchannel_logout_supported === true
        ? 'the provider can say when its own session ends (back-channel logout)'
        : `the provider does not announce back-channel logout${
            metadata.frontchannel_logout_supported === true
              ? ', but front-channel logout, which you can switch on here'
              : ''
          }`,
    ),
  ]
}
