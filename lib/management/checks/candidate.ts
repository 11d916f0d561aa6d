import type { Credentials } from '../../oidc/client-methods.ts'
import { describeVouching, type TrustSettings } from '../../oidc/vouches.ts'
import type { Check } from '../../providers/provider.ts'
import type { ProviderSettings } from '../../providers/settings.ts'
import { type AdminText, asPhrase, Phrase, phrase } from '../../shared/phrase.ts'

function check(result: Check['result'], name: string, message: AdminText, hint?: AdminText): Check {
  const phrases = {
    ...(message instanceof Phrase && { message }),
    ...(hint instanceof Phrase && { hint }),
  }
  return {
    name,
    result,
    message: String(message),
    ...(hint !== undefined && { hint: String(hint) }),
    ...(Object.keys(phrases).length > 0 && { phrases }),
  }
}

export const ok = (name: string, message: AdminText) => check('ok', name, message)

const problem = (result: 'warning' | 'failed') => (name: string, message: AdminText, hint: AdminText) =>
  check(result, name, message, hint)

/** A problem that may not prevent sign-ins. */
export const warning = problem('warning')

/** No problem by itself: the provider lacks something optional, or this server cannot test it. */
export const absent = (name: string, message: AdminText) => check('absent', name, message)

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
  const { description: addresses, warning: found } = describeVouching(settings)
  if (!found) return ok('vouching', phrase('it vouches for {{addresses}}', { addresses }))
  const reason = asPhrase(found.reason)
  return warning(
    'vouching',
    phrase('it vouches for {{addresses}}; {{reason}}', { addresses, reason }),
    found.hint,
  )
}
