import type { Credentials } from '../../oidc/provider-client.ts'
import type { Check, ProviderSettings } from '../../providers/provider.ts'

export const ok = (name: string, finding: string): Check => ({ name, result: 'ok', finding })

/** Nothing that stops a sign-in for certain. */
export const warning = (name: string, finding: string, remedy: string): Check => ({
  name,
  result: 'warning',
  finding,
  remedy,
})

/** With this nobody would get in: such a provider is not saved. */
export const failed = (name: string, finding: string, remedy: string): Check => ({
  name,
  result: 'failed',
  finding,
  remedy,
})

/** What is tested: the settings of a provider, saved or not. */
export type TestInput = Pick<
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
