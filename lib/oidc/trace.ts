import type { ClientMethod } from './client-methods.ts'
import type { ProviderMetadata } from './discovery.ts'
import type { Claims } from './identity.ts'
import type { FetchWrapper } from './provider-client.ts'

/** The observations of a test sign-in while it validates an authorization response, in this order. None contains a token. */
export type TraceEvent =
  /** `other`: the key set, and after the ID token UserInfo */
  | { asked: 'token' | 'other' }
  | { tokenStatus: number }
  /** the client authentication that the provider accepted; `undefined`: the one in the settings */
  | { method: ClientMethod | undefined }
  /** of the ID token, after all of its own checks passed */
  | { idClaims: Claims; algorithm: string }
  /** without claims: not needed, no UserInfo endpoint, or a failed request */
  | { userInfo: Claims | undefined; userInfoFailure: unknown }
  /** the raw error, not to be shown */
  | { failure: unknown }

export type Trace = (event: TraceEvent) => void

export function traceEndpoints({ token_endpoint }: ProviderMetadata, trace: Trace): FetchWrapper {
  return (send) => async (url, options) => {
    const isToken = url === token_endpoint
    trace({ asked: isToken ? 'token' : 'other' })
    const response = await send(url, options)
    if (isToken) trace({ tokenStatus: response.status })
    return response
  }
}
