import type * as client from 'openid-client'
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

/** Asks the same; somebody is told of it. */
export function watching(
  tokenEndpoint: string,
  observe: Observe,
): (ask: client.CustomFetch) => client.CustomFetch {
  const tokenUrl = new URL(tokenEndpoint).href
  return (ask) => async (url, options) => {
    const isToken = url === tokenUrl
    observe({ asked: isToken ? 'token' : 'other' })
    const response = await ask(url, options)
    if (isToken) observe({ tokenStatus: response.status })
    return response
  }
}
