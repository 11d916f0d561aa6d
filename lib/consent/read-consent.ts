import type { Request } from 'express'
import { admits, type Tenancy } from '../providers/templated-issuer.ts'
import { entraCode } from '../sign-in/consent-missing.ts'
import { quote } from '../sign-in/quote.ts'

/** What a provider's page of consent sent back through the browser: unverified, and nobody is let in by it. */
export type Consent = { state: string | undefined } & (
  | { outcome: 'granted'; tenant: string }
  | { outcome: 'refused'; reason: string }
)

/**
 * Reads `admin_consent=True&tenant=…`, or `error=…`. Microsoft sends `admin_consent=True` with errors, too: so those come first.
 *
 * @param provider the row, which says whose administrators are asked at all
 */
export function readConsent(req: Request, provider: Tenancy): Consent {
  // Not req.query: the host chooses its parser, and that merges or nests what came twice.
  const parameters = new URLSearchParams(req.originalUrl.replace(/^[^?]*/, ''))
  const only = (name: string) => (parameters.getAll(name).length === 1 ? parameters.get(name) : null)
  const state = only('state') ?? undefined
  const refused = (reason: string): Consent => ({ state, outcome: 'refused', reason })

  if (parameters.has('error')) {
    const code = entraCode(parameters.get('error_description'))
    return refused(
      `the provider answered with the error ${quote(String(parameters.get('error')), [])}${code ? ` (${code})` : ''}`,
    )
  }
  if (!/^true$/i.test(only('admin_consent') ?? ''))
    return refused('the answer does not say that anybody consented')
  const tenant = only('tenant')?.toLowerCase()
  return tenant !== undefined && admits(provider, tenant)
    ? { state, outcome: 'granted', tenant }
    : refused('the answer is of a tenant that does not come in by this row')
}
