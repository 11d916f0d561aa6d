import type { Credentials } from '../../oidc/client-methods.ts'
import { describeVouching, type TrustSettings } from '../../oidc/vouches.ts'
import type { Check } from '../../providers/provider.ts'
import type { ProviderSettings } from '../../providers/settings.ts'

export const ok = (name: string, message: string): Check => ({ name, result: 'ok', message })

const problem =
  (result: 'warning' | 'failed') =>
  (name: string, message: string, hint: string): Check => ({ name, result, message, hint })

/** A problem that may not prevent sign-ins. */
export const warning = problem('warning')

/** No problem by itself: the provider lacks something optional, or this server cannot test it. */
export const absent = (name: string, message: string): Check => ({ name, result: 'absent', message })

/** A problem that prevents every sign-in: such a provider is not saved. */
export const failed = problem('failed')

export type TestInput = ProviderSettings & {
  readonly preset: string
  /** true unless the issuer was just entered: the document must then name it, even if only its own URL was entered */
  isIssuerKnown?: boolean | undefined
  /** absent before the provider is connected */
  clientKeys?: Credentials['clientKeys']
  /** some providers check it before they authenticate the client */
  redirectUri?: string | undefined
}

/** Shows which addresses of the provider are trusted. */
export function checkVouching(settings: TrustSettings): Check {
  const { description, warning: found } = describeVouching(settings)
  const message = `it vouches for ${description}`
  return found ? warning('vouching', `${message}; ${found.reason}`, found.hint) : ok('vouching', message)
}
