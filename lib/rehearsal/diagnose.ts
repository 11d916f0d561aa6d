import * as client from 'openid-client'
import { explain, type PortalSsoError } from '../errors.ts'
import { loggable } from '../loggable.ts'
import { isUnreachable } from '../providers/outbound-http.ts'
import type { Provider } from '../providers/provider.ts'
import { asJson } from './claims-shown.ts'
import { ofAnotherTenant, remedyFor } from './remedies.ts'
import type { Step } from './steps.ts'
import type { Witness } from './witness.ts'

export interface Diagnosis {
  /** where it failed */
  step: Step
  /** the first step that is not known to have passed; the failed one, or one before it */
  unproven: Step
  /** how what was compared was, so that a typing mistake is seen at once */
  finding: string | undefined
  /** in the operator's words */
  cause: string
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
export function diagnose(error: PortalSsoError, provider: Provider, witness: Witness): Diagnosis {
  const said = witness.failure ? explain(witness.failure.error) : ''
  const { step, unproven = step } = locate(error, said, witness)
  const finding = findingOf(provider, witness)
  return {
    step,
    unproven,
    finding: finding && loggable(finding),
    // Without our own code, which tells an administrator nothing.
    cause: loggable(error.cause === undefined ? error.message : `${error.message}: ${explain(error.cause)}`),
    remedy: remedyFor(step, error, said, witness),
  }
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
  // Of a row for many tenants: told from the token before anything of it was looked at.
  if (ofAnotherTenant.test(said)) return { step: 'issuer', unproven: 'algorithm' }
  const claim = claims[claimIn(said) ?? '']
  if (!claim) return { step: 'algorithm' }
  // Whether all are there, and of which type, is looked at before any is compared.
  return /claim (?:missing|type)/.test(said) ? { step: claim, unproven: 'times' } : { step: claim }
}

function claimIn(said: string): string | undefined {
  return /"(exp|nbf|iat|iss|aud|azp|nonce|sub)"/.exec(said)?.[1]
}

function findingOf(provider: Provider, { failure, tokenStatus = 200 }: Witness): string | undefined {
  if (!failure) return undefined
  const { error, quoted } = failure
  if (error instanceof client.AuthorizationResponseError)
    return error.error_description && `The provider says ${quoted(error.error_description)}`
  if (tokenStatus !== 200) return `The token endpoint answered with status ${tokenStatus}.`
  const cause = (error as { cause?: { cause?: unknown } } | null)?.cause?.cause
  const { claims: token, header } = (cause ?? {}) as Record<string, Record<string, unknown> | undefined>
  if (typeof header?.alg === 'string')
    return `The ID token says ${shown(header.alg)}, the settings say ${shown(provider.signingAlgorithm)}.`
  const name = claimIn(explain(error)) ?? ''
  // Never of a nonce: that is a secret of the attempt.
  if (token?.[name] === undefined || !comparable.includes(name)) return undefined
  const expected = { iss: provider.issuer, aud: provider.clientId }[name]
  return `The ID token says ${shown(token[name])}${expected ? `, the settings say ${shown(expected)}` : ''}.`
}

const comparable = ['iss', 'aud', 'azp', 'exp', 'nbf', 'iat']

function shown(value: unknown): string {
  return asJson(value).slice(0, 300)
}
