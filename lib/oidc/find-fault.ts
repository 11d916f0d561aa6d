import type { Provider, ProviderHealth } from '../providers/provider.ts'
import { CheckError } from '../shared/errors.ts'
import { type HttpClient, isUnreachable, statusOf } from './http-client.ts'
import { isGone, keyRequest, readKeySet } from './key-set.ts'
import { readMetadata } from './provider-client.ts'

export type Fault = Pick<ProviderHealth, 'endpoint' | 'fault'>

/**
 * Requests what every sign-in needs: the discovery document, the key set and, if asked to, the token endpoint, without a code. Any
 * response of the token endpoint below 500 is fine, unless the endpoint is gone.
 *
 * @returns `unclear` if the provider limits our requests, which its visitors may have caused; `undefined` if it works
 */
export async function findFault(
  provider: Provider,
  outbound: HttpClient,
  { asksToken }: { asksToken: boolean },
): Promise<Fault | 'unclear' | undefined> {
  let endpoint: Fault['endpoint'] = 'metadata'
  try {
    const metadata = await readMetadata(provider, outbound)
    endpoint = 'keys'
    const response = refuseFailure(await outbound.fetch(metadata.jwks_uri, keyRequest))
    if ((await readKeySet(response)).keys.length === 0) throw new CheckError('jwks_uri', 'there are no keys')
    if (!asksToken) return undefined
    endpoint = 'token'
    const token = refuseFailure(await outbound.fetch(metadata.token_endpoint, tokenRequest))
    return isGone(token) ? { endpoint, fault: 'unusable' } : undefined
  } catch (error) {
    const status = statusOf(error)
    if (status === 429) return 'unclear'
    if (status !== undefined && status >= 500) return { endpoint, fault: 'server-error' }
    return { endpoint, fault: isUnreachable(error) ? 'unreachable' : 'unusable' }
  }
}

/** @throws CheckError with the response as its cause, whose status says what is wrong */
function refuseFailure(response: Response): Response {
  if (response.status === 429 || response.status >= 500)
    throw new CheckError('status', `status ${response.status}`, { cause: response })
  return response
}

/** Without a code and a client: some servers respond with 500 to an unknown code, which a browser can send. */
const tokenRequest = {
  method: 'POST',
  headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
  body: new URLSearchParams({ grant_type: 'authorization_code' }),
  redirect: 'manual',
} as const
