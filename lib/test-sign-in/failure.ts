import * as client from 'openid-client'
import { isUnreachable } from '../oidc/http-client.ts'
import type { Claims } from '../oidc/identity.ts'
import { entraErrorOf } from '../oidc/provider-error.ts'
import type { Provider } from '../providers/provider.ts'
import { describeError, type PortalSsoError, type ProblemCode } from '../shared/errors.ts'
import { type AdminText, either, type Phrase, phrase } from '../shared/phrase.ts'
import { sanitizePhrase, sanitizeText } from '../shared/sanitize-text.ts'
import { asJson } from './claims-table.ts'
import { steps, type TestRecorder, type TestStep } from './steps.ts'

/** Error codes of providers (RFC 6749, 4.1.2.1 and 5.2; OpenID Connect Core 3.1.2.6). */
const errorRemedies: Readonly<Record<string, string>> = {
  access_denied: phrase(
    'You cancelled, or your account is not assigned to this application at the provider, or consent is missing there.',
  ),
  consent_required: phrase('An administrator must consent to this application at the provider.'),
  unauthorized_client: phrase('Allow this application the authorization code flow at the provider.'),
  invalid_scope: phrase('Allow this application the scopes openid, email and profile at the provider.'),
  invalid_client: phrase(
    'The client ID or the client secret is wrong or has expired, or the provider expects another authentication method. Enter the secret again, or try another method.',
  ),
  invalid_grant: phrase(
    'The redirect URI at the provider must be exactly the one shown in the settings. Correct it, then test the sign-in again. A code works only once.',
  ),
  unsupported_grant_type: phrase('Enable the authorization code flow for this application at the provider.'),
}

/** Problems that only another configuration of the provider, or other settings, can solve. */
const problemRemedies: Partial<Record<ProblemCode, string>> = {
  subject_constant: phrase(
    'Configure the provider to send a subject of its own for each user. At Azure AD B2C, open Properties, Token compatibility settings of the user flow, and set “Subject (sub) claim” to ObjectID.',
  ),
  authentication_unproven: phrase(
    'The settings limit the age of the authentication. Configure the provider to send the claim auth_time, or remove the limit.',
  ),
  authentication_stale: phrase(
    'The settings limit the age of the authentication, but the provider did not let you authenticate again. Sign out there, then test again.',
  ),
  authentication_too_weak: phrase(
    'The settings require another authentication (acr). Set it up at the provider for your account, or correct the values.',
  ),
}

/** Requirements of the provider, by words in its messages or those of openid-client. */
const requirements: readonly (readonly [RegExp, (provider: Provider) => string])[] = [
  [
    /dpop/i,
    ({ dpop }) =>
      dpop
        ? phrase(
            'The provider refused the proof that belongs to the token (DPoP). Compare the clocks of both servers (NTP), or turn DPoP off here and at the provider.',
          )
        : phrase(
            'This client requires tokens that are bound to a key. Turn on “Tokens bound to a key (DPoP)” in the settings, or turn DPoP off at the provider.',
          ),
  ],
  [
    /pushed authorization/i,
    () =>
      phrase(
        'This client must push its requests. Turn on “Pushed authorization requests (PAR)” in the settings, or turn the requirement off at the provider.',
      ),
  ],
  [
    /mtls|mutual[ -]tls|client cert/i,
    () =>
      phrase(
        'This client requires Mutual TLS, which is not supported. Turn it off at the provider, and choose another authentication method or DPoP.',
      ),
  ],
  [
    /JWE decryption/,
    () =>
      phrase(
        'The provider encrypts the ID tokens or UserInfo responses of this client, which is not supported. Turn the encryption off at the provider.',
      ),
  ],
]

/** The error of a token whose tenant is not admitted. */
const otherTenantPattern = /\(tid\)/

function remedyFor(
  step: TestStep,
  { code }: PortalSsoError,
  message: string,
  { failure, tokenStatus }: TestRecorder,
): AdminText {
  const error = failure?.error
  const hint = entraErrorOf((error as { error_description?: unknown } | undefined)?.error_description)?.hint
  if (hint) return hint
  const remedy = problemRemedies[code]
  if (remedy) return remedy
  if (!failure && code === 'provider_error')
    return phrase(
      'The provider refused the authorization request that was pushed to it (PAR). Its message names the reason, such as the redirect URI, a scope or the client secret.',
    )
  if (otherTenantPattern.test(message))
    return phrase(
      'Test with an account of a tenant that is listed in the settings. Or add this tenant, if its people may sign in.',
    )
  const named = code === 'consent_missing' ? 'consent_required' : nameOf(error)
  if (Object.hasOwn(errorRemedies, named)) return errorRemedies[named] as string
  // RFC 6749, 5.2: the meaning of this status, whatever the body contains.
  if (tokenStatus === 401) return errorRemedies.invalid_client as string
  if (named)
    return phrase(
      'Look up this error in the provider’s documentation. It is about the settings of this application there.',
    )
  if (step === 'signature' && isUnreachable(error))
    return phrase('The provider’s key set must respond to this server within 5 s.')
  return step === 'audience' && message.includes('additional untrusted')
    ? phrase('The ID token must be issued to this application only.')
    : steps[step].remedy
}

function requirementRemedy(provider: Provider, { failure }: TestRecorder): string | undefined {
  if (!failure) return undefined
  const { error, error_description: description } = failure.error as { [name: string]: unknown }
  const text = `${describeError(failure.error)} ${error} ${description}`
  return requirements.find(([pattern]) => pattern.test(text))?.[1](provider)
}

function nameOf(error: unknown): string {
  const isNamed =
    error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError
  return isNamed ? String(error.error) : ''
}

export interface Failure {
  step: TestStep
  /** the first step that is not known to have passed: the failed one, or an earlier one */
  unproven: TestStep
  /** the compared values, which make a typing mistake obvious */
  finding: Phrase | undefined
  cause: string
  remedy: AdminText
}

/** By the claim that openid-client names in quotes. */
const claims: Readonly<Record<string, TestStep>> = {
  exp: 'times',
  nbf: 'times',
  iat: 'times',
  iss: 'issuer',
  aud: 'audience',
  azp: 'audience',
  nonce: 'nonce',
  sub: 'form',
}

/**
 * Finds the step of a sign-in that failed. It never reports a step as passed that may not have been: an ambiguous error belongs
 * to the first step that can cause it.
 *
 * @param error without secrets
 */
export function diagnose(error: PortalSsoError, provider: Provider, recorder: TestRecorder): Failure {
  const message = recorder.failure ? describeError(recorder.failure.error) : ''
  const { step, unproven = step } = locate(error, message, recorder)
  const finding = findingOf(step, provider, recorder)
  return {
    step,
    unproven,
    finding: finding && sanitizePhrase(finding),
    // Without our own error code, which does not help an administrator.
    cause: sanitizeText(
      error.cause === undefined ? error.message : `${error.message}: ${describeError(error.cause)}`,
    ),
    remedy: requirementRemedy(provider, recorder) ?? remedyFor(step, error, message, recorder),
  }
}

function locate(
  error: PortalSsoError,
  message: string,
  recorder: TestRecorder,
): { step: TestStep; unproven?: TestStep } {
  const { failure, tokenAsked, tokenStatus, keysAsked, idClaims, userInfo, userInfoAsked } = recorder
  if (!failure) return { step: /^provider_(?:unavailable|error)$/.test(error.code) ? 'provider' : 'answer' }
  if (idClaims) {
    if (/in the future$/.test(message)) return { step: 'clock' }
    const ofUserInfo = (userInfoAsked && userInfo === undefined) || /access token/.test(message)
    return { step: ofUserInfo ? 'userinfo' : 'identity' }
  }
  if (!tokenAsked) return { step: 'answer' }
  if (keysAsked) return { step: /in base64url$|\((?:typ|kid|b64)\)/.test(message) ? 'form' : 'signature' }
  const isUnreadable = /"response" body|content-type|token_type/.test(message)
  if (tokenStatus !== 200 || isUnreachable(failure.error) || isUnreadable) return { step: 'code' }
  // With many tenants, the tenant is read before anything else is validated.
  if (otherTenantPattern.test(message)) return { step: 'issuer', unproven: 'algorithm' }
  const claim = claims[claimIn(message) ?? '']
  if (!claim) return { step: 'algorithm' }
  // openid-client checks the presence and type of all claims before it compares any.
  return /claim (?:missing|type)/.test(message) ? { step: claim, unproven: 'times' } : { step: claim }
}

function claimIn(message: string): string | undefined {
  return /"(exp|nbf|iat|iss|aud|azp|nonce|sub)"/.exec(message)?.[1]
}

/** Compares only what the failed step compares: an earlier step has succeeded. */
function findingOf(
  step: TestStep,
  provider: Provider,
  { failure, tokenStatus = 200 }: TestRecorder,
): Phrase | undefined {
  if (!failure) return undefined
  const { error } = failure
  if (step === 'code' && tokenStatus !== 200)
    return phrase('The token endpoint responded with status {{status}}.', { status: tokenStatus })
  const cause = (error as { cause?: { cause?: unknown } } | null)?.cause?.cause
  const compared = (cause ?? {}) as { claims?: Claims; header?: Claims; expected?: unknown }
  const { claims: token, header, expected: algorithms } = compared
  if (step === 'algorithm' && typeof header?.alg === 'string') {
    return phrase('The ID token uses {{value}}, but the settings expect {{expected}}.', {
      value: shown(header.alg),
      expected: either([algorithms].flat().map(shown)),
    })
  }
  const name = claimIn(describeError(error)) ?? ''
  // Never the nonce, which is a secret of the attempt.
  if (claims[name] !== step || token?.[name] === undefined || !comparable.includes(name)) return undefined
  const expected = { iss: provider.issuer, aud: provider.clientId }[name]
  const value = shown(token[name])
  return expected
    ? phrase('The ID token has {{value}}, but the settings expect {{expected}}.', {
        value,
        expected: shown(expected),
      })
    : phrase('The ID token has {{value}}.', { value })
}

const comparable = ['iss', 'aud', 'azp', 'exp', 'nbf', 'iat']

function shown(value: unknown): string {
  return asJson(value).slice(0, 300)
}
