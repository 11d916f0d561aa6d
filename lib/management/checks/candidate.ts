import type { Credentials } from '../../oidc/provider-client.ts'
import type { TrustSettings } from '../../oidc/vouches.ts'
import type { Check } from '../../providers/provider.ts'
import type { ProviderSettings } from '../../providers/settings.ts'

export const ok = (name: string, message: string): Check => ({ name, result: 'ok', message })

const problem =
  (result: Check['result']) =>
  (name: string, message: string, hint: string): Check => ({ name, result, message, hint })

/** A problem that may not prevent sign-ins. */
export const warning = problem('warning')

/** A problem that prevents every sign-in: such a provider is not saved. */
export const failed = problem('failed')

/** The settings to test, saved or not. */
export type TestInput = Pick<
  ProviderSettings,
  | 'clientId'
  | 'clientSecret'
  | 'secretEncoding'
  | 'clientAuthentication'
  | 'signingAlgorithm'
  | 'pushedRequests'
  | 'dpop'
  | 'proxy'
  | 'certificateAuthority'
> &
  TrustSettings & {
    /** returns the key that signs at the moment; absent before the provider is connected */
    signingKey?: Credentials['signingKey']
    /** some providers check it before they authenticate the client */
    redirectUri?: string | undefined
  }
