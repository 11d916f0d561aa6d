/**
 * Answers of Entra for which an administrator, or the person, has to consent to the application first: nobody has (65001, 90008),
 * the person said no (65004), only an administrator may (90093, 90094, 900941), who was asked just now (90095).
 */
const consentCodes = new Set(['65001', '65004', '90008', '90093', '90094', '900941', '90095'])

/** The number that Entra gives an error, such as `AADSTS65001`; nothing else of a description is for anybody to see. */
export function entraCode(description: unknown): string | undefined {
  return typeof description === 'string' ? /\bAADSTS\d{5,8}\b/.exec(description)?.[0] : undefined
}

/**
 * Whether an error says that consent is missing (OpenID Connect Core 3.1.2.6). `interaction_required` is general, and with
 * another number (50076: a second factor) something else.
 */
export function lacksConsent(error: string, description: unknown): boolean {
  if (error === 'consent_required') return true
  const code = entraCode(description)
  return code === undefined ? error === 'interaction_required' : consentCodes.has(code.slice('AADSTS'.length))
}
