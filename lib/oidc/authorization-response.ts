import type { Request } from 'express'
import { PortalSsoError } from '../shared/errors.ts'

/** What a provider sent back through the browser (OpenID Connect Core 3.1.2.5, RFC 9207): unverified. */
export interface AuthorizationResponse {
  readonly state: string
  readonly parameters: URLSearchParams
}

/**
 * RFC 6749, A.11, and no longer than any code that was ever seen. A server, or what stands before it, may hang up on what is
 * odd or large; a token endpoint that hangs up five times in a row is left alone, and so would be everybody who signs in.
 */
const codePattern = /^[\u0020-\u007e]{1,4096}$/

/**
 * Reads query or form.
 *
 * @throws PortalSsoError `answer_malformed` for duplicate parameters, and for what is neither a code nor an error
 */
export function readAuthorizationResponse(req: Request): AuthorizationResponse {
  const parameters = req.method === 'POST' ? fromForm(req.body) : fromQuery(req)
  const state = parameters.get('state')
  if (!state) throw new PortalSsoError('answer_malformed', 'the answer has no state')
  if (parameters.has('code') === parameters.has('error'))
    throw new PortalSsoError('answer_malformed', 'the answer is neither a code nor an error')
  if (parameters.has('code') && !codePattern.test(String(parameters.get('code'))))
    throw new PortalSsoError('answer_malformed', 'the code is empty, too long, or not in ASCII')
  return { state, parameters }
}

function fromQuery(req: Request): URLSearchParams {
  // Not req.query: the host chooses its parser, and that merges or nests what came twice.
  // Nor a URL: whoever asks may write a whole one, with a host or port that is none (RFC 9112, 3.2.2).
  const parameters = new URLSearchParams(req.originalUrl.replace(/^[^?]*/, ''))
  // RFC 6749, 3.1: once each. Of two, we and the next one to look might not take the same.
  for (const name of parameters.keys()) {
    if (parameters.getAll(name).length > 1) throw duplicate(name)
  }
  return parameters
}

function fromForm(body: unknown): URLSearchParams {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries((body ?? {}) as Record<string, unknown>)) {
    if (typeof value !== 'string') throw duplicate(name)
    parameters.set(name, value)
  }
  return parameters
}

function duplicate(name: string): PortalSsoError {
  return new PortalSsoError(
    'answer_malformed',
    `the parameter ${JSON.stringify(name.slice(0, 40))} came twice`,
  )
}

/**
 * Who is about to sign in, as somebody says it who may be anybody: handed on to the provider, which asks that person, and to
 * nobody else. It is often an address, so it is in no log.
 *
 * @returns `undefined` for what is no line of at most 500 characters
 */
export function readLoginHint(value: unknown): string | undefined {
  return typeof value === 'string' && /^[^\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]{1,500}$/u.test(value)
    ? value
    : undefined
}
