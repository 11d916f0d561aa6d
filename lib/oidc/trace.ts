import type { SecretEncoding } from '../providers/provider.ts'
import type { ProviderMetadata } from './discovery.ts'
import type { Claims } from './identity.ts'
import type { FetchWrapper } from './provider-client.ts'

/** What a rehearsal is told of an answer while it is judged, one by one and in this order. Nothing of it is a token. */
export type TraceEvent =
  /** `other`: the keys; after the ID token, UserInfo */
  | { asked: 'token' | 'other' }
  | { tokenStatus: number }
  /** how the provider reads the client secret */
  | { encoding: SecretEncoding }
  /** of the ID token, which passed every check of openid-client's and of its form */
  | { idClaims: Claims }
  /** `undefined`: there was no need to ask, or nowhere */
  | { userInfo: Claims | undefined }
  /** as it was thrown, not to be shown; `quoted` makes what a provider said fit for the operator */
  | { failure: unknown; quoted: (said: string) => string }

export type Trace = (seen: TraceEvent) => void

/** Has somebody told which endpoints are asked. */
export function traceEndpoints({ token_endpoint }: ProviderMetadata, trace: Trace): FetchWrapper {
  const tokenUrl = new URL(token_endpoint).href
  return (ask) => async (url, options) => {
    const isToken = url === tokenUrl
    trace({ asked: isToken ? 'token' : 'other' })
    const response = await ask(url, options)
    if (isToken) trace({ tokenStatus: response.status })
    return response
  }
}
