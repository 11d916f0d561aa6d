import * as client from 'openid-client'
import type { ProviderClient } from '../providers/provider-client.ts'
import type { Claims } from './identity.ts'

/** What a rehearsal is told of an answer while it is judged, one by one and in this order. Nothing of it is a token. */
export type Seen =
  /** `other`: the keys; after the ID token, UserInfo */
  | { asked: 'token' | 'other' }
  | { tokenStatus: number }
  /** of the ID token, which passed every check of openid-client's and of its form */
  | { idClaims: Claims }
  /** `undefined`: there was no need to ask, or nowhere */
  | { userInfo: Claims | undefined }
  /** as it was thrown, not to be shown; `quoted` makes what a provider said fit for the operator */
  | { failure: unknown; quoted: (said: string) => string }

export type Observe = (seen: Seen) => void

/** The same client; somebody is told which endpoints it asks. */
export function watched(providerClient: ProviderClient, observe: Observe | undefined): ProviderClient {
  if (!observe) return providerClient
  const tokenUrl = new URL(providerClient.metadata.token_endpoint).href
  return {
    ...providerClient,
    configuration(...given) {
      const configuration = providerClient.configuration(...given)
      const ask = configuration[client.customFetch] as client.CustomFetch
      configuration[client.customFetch] = async (url, options) => {
        const isToken = url === tokenUrl
        observe({ asked: isToken ? 'token' : 'other' })
        const response = await ask(url, options)
        if (isToken) observe({ tokenStatus: response.status })
        return response
      }
      return configuration
    },
  }
}
