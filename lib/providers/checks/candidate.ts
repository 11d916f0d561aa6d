import type { Credentials } from '../client-authentication.ts'
import type { ProviderSettings } from '../provider.ts'

/** What is tested: the settings of a provider, saved or not. */
export type Candidate = Pick<
  ProviderSettings,
  | 'issuer'
  | 'clientId'
  | 'clientSecret'
  | 'secondClientSecret'
  | 'secretEncoding'
  | 'clientAuthentication'
  | 'signingAlgorithm'
  | 'proxy'
  | 'certificateAuthority'
> & {
  preset: string
  /** the key that signs at the moment; none before the provider was connected */
  signingKey?: Credentials['signingKey']
  /** where answers go; some providers look at it before they look at the client */
  redirectUri?: string | undefined
}
