import type { Credentials } from '../../oidc/provider-client.ts'
import type { Check, ProviderSettings } from '../../providers/provider.ts'

export const ok = (name: string, finding: string): Check => ({ name, result: 'ok', finding })

/** A problem that may not prevent sign-ins. */
export const warning = (name: string, finding: string, remedy: string): Check => ({
  name,
  result: 'warning',
  finding,
  remedy,
})

/** Nobody could sign in: such a provider is not saved. */
export const failed = (name: string, finding: string, remedy: string): Check => ({
  name,
  result: 'failed',
  finding,
  remedy,
})

/** The settings to test, saved or not. */
export type TestInput = Pick<
  ProviderSettings,
  | 'issuer'
  | 'clientId'
  | 'clientSecret'
  | 'secretEncoding'
  | 'clientAuthentication'
  | 'signingAlgorithm'
  | 'proxy'
  | 'certificateAuthority'
> & {
  preset: string
  /** returns the key that signs at the moment; absent before the provider is connected */
  signingKey?: Credentials['signingKey']
  /** some providers check it before they authenticate the client */
  redirectUri?: string | undefined
}
