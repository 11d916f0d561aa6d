import * as client from 'openid-client'
import { explain, type PortalSsoError } from '../errors.ts'
import { loggable } from '../loggable.ts'
import { isUnreachable } from '../providers/outbound-http.ts'
import { remedyFor } from './remedies.ts'
import type { Step } from './steps.ts'
import type { Witness } from './witness.ts'

export interface Diagnosis {
  /** where it failed */
  step: Step
  /** the first step that is not known to have passed; the failed one, or one before it */
  unproven: Step
  finding: string
  remedy: string
}

/** The claim that an error is about. openid-client names it in quotes. */
const claims: Readonly<Record<string, Step>> = {
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
 * Which step of a sign-in failed. It says of no step that it passed unless it did: where an error cannot be told apart, the
 * first step that it could belong to is taken.
 *
 * @param error what ended the sign-in, in the operator's words and without secrets
 */
export function diagnose(error: PortalSsoError, witness: Witness): Diagnosis {
  const said = witness.failure ? explain(witness.failure.error) : ''
  const { step, unproven = step } = locate(error, said, witness)
  const details = [wordsOf(error), ...detailsOf(witness)]
  return { step, unproven, finding: loggable(details.join('; ')), remedy: remedyFor(step, said, witness) }
}

function locate(error: PortalSsoError, said: string, witness: Witness): { step: Step; unproven?: Step } {
  const { failure, tokenAsked, tokenStatus, keysAsked, idClaims, userInfo, userInfoAsked } = witness
  if (!failure) return { step: error.code === 'provider_unavailable' ? 'provider' : 'answer' }
  if (idClaims) {
    if (/in the future$/.test(said)) return { step: 'clock' }
    const ofUserInfo = (userInfoAsked && userInfo === undefined) || /access token/.test(said)
    return { step: ofUserInfo ? 'userinfo' : 'identity' }
  }
  if (!tokenAsked) return { step: 'answer' }
  if (keysAsked) return { step: /in base64url$|\((?:typ|kid|b64)\)/.test(said) ? 'form' : 'signature' }
  if (
    tokenStatus !== 200 ||
    isUnreachable(failure.error) ||
    /"response" body|content-type|token_type/.test(said)
  )
    return { step: 'code' }
  const claim = claims[claimIn(said) ?? '']
  if (!claim) return { step: 'algorithm' }
  // Whether all are there, and of which type, is looked at before any is compared.
  return /claim (?:missing|type)/.test(said) ? { step: claim, unproven: 'times' } : { step: claim }
}

function claimIn(said: string): string | undefined {
  return /"(exp|nbf|iat|iss|aud|azp|nonce|sub)"/.exec(said)?.[1]
}

/** Without our own code, which tells an administrator nothing. */
function wordsOf({ message, cause }: PortalSsoError): string {
  return cause === undefined ? message : `${message}: ${explain(cause)}`
}

/** What the provider said, and of what is compared how it was: so that a typing mistake is seen at once. */
function detailsOf({ failure, tokenStatus = 200 }: Witness): string[] {
  if (!failure) return []
  const { error, quoted } = failure
  if (error instanceof client.AuthorizationResponseError)
    return error.error_description ? [`it said ${quoted(error.error_description)}`] : []
  if (tokenStatus !== 200 && !(error instanceof client.ResponseBodyError))
    return [`the token endpoint answered with status ${tokenStatus}`]
  const cause = (error as { cause?: { cause?: unknown } } | null)?.cause?.cause
  const { claims: token, header } = (cause ?? {}) as Record<string, Record<string, unknown> | undefined>
  const name = claimIn(explain(error)) ?? ''
  // Never of a nonce: that is a secret of the attempt.
  if (token && ['iss', 'aud', 'azp', 'exp', 'nbf', 'iat'].includes(name) && token[name] !== undefined)
    return [`the ID token says ${JSON.stringify(token[name]).slice(0, 300)}`]
  return typeof header?.alg === 'string'
    ? [`the ID token says ${JSON.stringify(header.alg.slice(0, 20))}`]
    : []
}
