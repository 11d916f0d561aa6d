import * as client from 'openid-client'
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

/** Has somebody told which endpoints are asked. */
export function watched(
  configuration: client.Configuration,
  observe: Observe | undefined,
): client.Configuration {
  const ask = observe && configuration[client.customFetch]
  const { token_endpoint } = configuration.serverMetadata()
  if (!ask || token_endpoint === undefined) return configuration
  const tokenUrl = new URL(token_endpoint).href
  configuration[client.customFetch] = async (url, options) => {
    const isToken = url === tokenUrl
    observe({ asked: isToken ? 'token' : 'other' })
    const response = await ask(url, options)
    if (isToken) observe({ tokenStatus: response.status })
    return response
  }
  return configuration
}
