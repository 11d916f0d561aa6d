import type { Request } from 'express'
import { PortalSsoError } from '../shared/errors.ts'

/** An unverified authorization response (OpenID Connect Core 3.1.2.5, RFC 9207), sent through the browser. */
export interface AuthorizationResponse {
  readonly state: string
  readonly parameters: URLSearchParams
}

/**
 * RFC 6749, A.11, with a length that covers every known provider. An attacker could send odd or large codes until the token
 * endpoint hangs up five times: the circuit breaker would then block the sign-ins of all users.
 */
const codePattern = /^[\u0020-\u007e]{1,4096}$/

/** @throws PortalSsoError `response_malformed` for duplicate parameters, and for a response that is neither a code nor an error */
export function readAuthorizationResponse(req: Request): AuthorizationResponse {
  const parameters = req.method === 'POST' ? fromForm(req.body) : fromQuery(req)
  const state = parameters.get('state')
  if (!state) throw new PortalSsoError('response_malformed', 'the authorization response has no state')
  if (parameters.has('code') === parameters.has('error'))
    throw new PortalSsoError(
      'response_malformed',
      'the authorization response is neither a code nor an error',
    )
  if (parameters.has('code') && !codePattern.test(String(parameters.get('code'))))
    throw new PortalSsoError('response_malformed', 'the code is empty, too long, or not in ASCII')
  return { state, parameters }
}

function fromQuery(req: Request): URLSearchParams {
  // Not `req.query`: the host application's parser may merge or nest duplicate parameters.
  // Not `new URL`: a client may send an absolute URL with an invalid host or port (RFC 9112, 3.2.2).
  const parameters = new URLSearchParams(req.originalUrl.replace(/^[^?]*/, ''))
  // RFC 6749, 3.1: no parameter twice. Two readers could otherwise use different values.
  for (const name of parameters.keys()) {
    if (parameters.getAll(name).length > 1) throw duplicateParameterError(name)
  }
  return parameters
}

function fromForm(body: unknown): URLSearchParams {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries((body ?? {}) as Record<string, unknown>)) {
    if (typeof value !== 'string') throw duplicateParameterError(name)
    parameters.set(name, value)
  }
  return parameters
}

function duplicateParameterError(name: string): PortalSsoError {
  return new PortalSsoError(
    'response_malformed',
    `the parameter ${JSON.stringify(name.slice(0, 40))} was sent twice`,
  )
}

/**
 * Reads an untrusted `login_hint`. It is passed to the provider and never logged, because it is often an e-mail address.
 *
 * @returns `undefined` unless it is one line of at most 500 characters
 */
export function readLoginHint(value: unknown): string | undefined {
  return typeof value === 'string' && /^[^\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]{1,500}$/u.test(value)
    ? value
    : undefined
}
