import type { Request } from 'express'
import { PortalSsoError, type ProblemCode } from '../shared/errors.ts'

/** An unverified authorization response (OpenID Connect Core 3.1.2.5, RFC 9207), sent through the browser. */
export interface AuthorizationResponse {
  readonly state: string
  readonly parameters: URLSearchParams
}

/** An error in a response that came through the browser. It is unsigned, so anybody can send it: it must change no state. */
export class BrowserReportedError extends PortalSsoError {
  constructor(code: ProblemCode, described: string) {
    super(code, `reported by a browser, unverified: ${described}`)
  }
}

/**
 * RFC 6749, A.11, which sets no length. An attacker could send odd codes until the token endpoint hangs up five times: the circuit
 * breaker would then block the sign-ins of all users. It ignores failures of large requests.
 */
const codePattern = /^[\u0020-\u007e]+$/

/** @throws PortalSsoError `response_malformed` for duplicate parameters, and for a response that is neither a code nor an error */
export function readAuthorizationResponse(req: Request): AuthorizationResponse {
  // Not `req.query`: the host application's parser may merge or nest duplicate parameters.
  // Not `new URL`: a client may send an absolute URL with an invalid host or port (RFC 9112, 3.2.2).
  const received: Iterable<[string, unknown]> =
    req.method === 'POST'
      ? Object.entries((req.body ?? {}) as Record<string, unknown>)
      : new URLSearchParams(req.originalUrl.replace(/^[^?]*/, ''))
  const parameters = new URLSearchParams()
  for (const [name, value] of received) {
    // RFC 6749, 3.1: no parameter twice. Two readers could otherwise use different values.
    if (typeof value !== 'string' || parameters.has(name))
      throw malformed(`the parameter ${JSON.stringify(name.slice(0, 40))} was sent twice`)
    parameters.set(name, value)
  }
  const state = parameters.get('state')
  const code = parameters.get('code')
  if (!state) throw malformed('the authorization response has no state')
  if ((code === null) === !parameters.has('error'))
    throw malformed('the authorization response is neither a code nor an error')
  if (code !== null && !codePattern.test(code)) throw malformed('the code is empty or not in ASCII')
  return { state, parameters }
}

function malformed(message: string): PortalSsoError {
  return new PortalSsoError('response_malformed', message)
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
