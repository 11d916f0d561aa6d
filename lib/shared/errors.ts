import { type AdminText, Phrase } from './phrase.ts'

/** HTTP status of every problem that a user can see. The texts are in `views/locales`. */
export const problemStatus = {
  provider_not_found: 404,
  response_malformed: 400,
  response_invalid: 400,
  subject_constant: 502,
  provider_unavailable: 502,
  provider_denied: 403,
  provider_error: 502,
  organization_not_admitted: 403,
  account_not_assigned: 403,
  consent_missing: 403,
  consent_declined: 403,
  consent_refused: 403,
  provider_changed: 409,
  attempt_expired: 400,
  identity_taken: 409,
  method_removed: 403,
  linking_failed: 503,
  signed_out_during_sign_in: 403,
  email_unverified: 403,
  user_inactive: 403,
  registration_closed: 403,
  registration_expired: 400,
  link_expired: 410,
  classic_login_disabled: 403,
  cross_site_request: 403,
  navigation_required: 403,
  not_signed_in: 401,
  reauthentication_required: 401,
  authentication_stale: 403,
  authentication_unproven: 403,
  authentication_too_weak: 403,
  not_found: 404,
  session_unavailable: 503,
  database_unavailable: 503,
  insecure_connection: 500,
  request_invalid: 400,
  too_many_requests: 429,
  misconfigured: 500,
  internal: 500,
} as const

/** The problem of a refused or failed request. `docs/errors.md` describes each. */
export type ProblemCode = keyof typeof problemStatus

/**
 * A refused or failed request. `code` selects the text that the user reads; `message` and `cause` appear in the operator's
 * log only. Neither may contain a token, a code or a secret.
 */
export class PortalSsoError extends Error {
  /** Selects the text that the user reads. */
  readonly code: ProblemCode
  /** HTTP status of the response: 4xx or 5xx. */
  readonly status: number

  constructor(code: ProblemCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'PortalSsoError'
    this.code = code
    this.status = problemStatus[code]
  }
}

/** A wrong option, argument or environment variable. The message says what to write instead; only administrators see it. */
export class ConfigurationError extends Error {
  /** Always `invalid_configuration`. */
  readonly code = 'invalid_configuration'

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ConfigurationError'
  }
}

/**
 * A failed check of what came from outside, as the `cause` in the operator's log. `code` names the claim, parameter or rule.
 * The message contains no token, code or secret.
 */
export class CheckError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CheckError'
    this.code = code
  }
}

/** One problem of an input. */
export interface Issue {
  /** Path of the setting, such as `emailDomains.0`. Omitted: the problem concerns the input as a whole. */
  path?: string | undefined
  /** Describes the mistake, or the value to enter instead. Never quotes a secret. */
  message: string
  /** `message` with its values apart, so that pages can translate it. Omitted: it has none. @internal */
  phrase?: Phrase
}

/** One problem of an input, by the path of its setting. */
export function issueAt(path: string | undefined, text: AdminText): Issue {
  const issue = { path, message: String(text) }
  return text instanceof Phrase ? { ...issue, phrase: text } : issue
}

/**
 * `not_found`: no such provider. `conflict`: its state does not permit the change. `invalid`: see `issues`. `test_failed`: the
 * connection test failed, see `checks` of `ProviderTestError`. `not_allowed`: a rule of the portal forbids it.
 */
export type ManagementErrorCode = 'not_found' | 'conflict' | 'invalid' | 'test_failed' | 'not_allowed'

/** An administrator's request that cannot be carried out. Nothing was changed, unless the message says so. */
export class ManagementError extends Error {
  /** The kind of the problem. */
  readonly code: ManagementErrorCode
  /** Problems by setting. Forms show each beside its field, the command line beside its option. */
  readonly issues: readonly Issue[]

  constructor(code: ManagementErrorCode, problem: string | readonly Issue[], options?: ErrorOptions)
  /** @internal */
  constructor(code: ManagementErrorCode, problem: AdminText | readonly Issue[], options?: ErrorOptions)
  constructor(code: ManagementErrorCode, problem: AdminText | readonly Issue[], options?: ErrorOptions) {
    const issues =
      typeof problem === 'string' || problem instanceof Phrase ? [issueAt(undefined, problem)] : problem
    const lines = issues.map(({ path, message }) => (path === undefined ? message : `${path}: ${message}`))
    super(lines.join('; '), options)
    this.name = 'ManagementError'
    this.code = code
    this.issues = issues
  }
}

/** Thrown by `UserDirectory.create` if another user has the address, such as from a registration at the same moment. */
export class EmailTakenError extends Error {
  /** Always `email_taken`. */
  readonly code = 'email_taken'

  constructor(options?: ErrorOptions) {
    super('the e-mail address belongs to a user already', options)
    this.name = 'EmailTakenError'
  }
}

/** openid-client's message around a more specific cause. */
const genericMessage = 'something went wrong'

const maxCauses = 5

/** @returns the messages of an error and its causes in one line, without other properties: they may hold tokens */
export function describeError(error: unknown): string {
  const messages: string[] = []
  for (let at = error, depth = 0; at && depth < maxCauses; depth++) {
    const { name, message, code, cause } = at as {
      [member in 'name' | 'message' | 'code' | 'cause']?: unknown
    }
    if (at instanceof Response) messages.push(`status ${at.status}`)
    if (typeof message !== 'string') break
    const text = stripSql(message)
    const needsCode = typeof code === 'string' && !(at instanceof CheckError) && !text.includes(code)
    const suffix = needsCode ? ` (${code})` : ''
    // V8 quotes the text that it could not parse, which may be a token.
    if (message !== genericMessage || !cause)
      messages.push(name === 'SyntaxError' ? 'not valid JSON' : text + suffix)
    at = cause
  }
  return messages.join(': ') || String(error)
}

const connectionErrorCodes =
  /^(?:timeout|ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|PROTOCOL_|08|53300|57P)/
/** Classes of the package `redis`, whose errors have no code. */
const redisErrors =
  /^(?:ClientOffline|ConnectionTimeout|DisconnectsClient|ReconnectStrategy|RootNodesUnavailable|SocketClosedUnexpectedly|SocketTimeout|Timeout|Aggregate)Error$/
const databaseMessages =
  /^(?:Connection (?:terminated|ended)|timeout expired|Query read timeout|Unable to acquire a connection|Client has encountered a connection error|Can't add new command when connection is in closed state)/i

/** True if a database or Redis could not be reached or did not respond in time. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Object)) return false
  const { code, name, message } = error as { [field in 'code' | 'name' | 'message']?: unknown }
  return (
    name === 'KnexTimeoutError' ||
    connectionErrorCodes.test(String(code)) ||
    redisErrors.test(error.constructor.name) ||
    databaseMessages.test(stripSql(String(message)))
  )
}

/** The database responds, but is overloaded, full or read-only. */
const databaseFailures =
  /^(?:53|25006|ER_OPTION_PREVENTS_STATEMENT|ER_READ_ONLY_MODE|SQLITE_(?:BUSY|IOERR|CANTOPEN|FULL|READONLY))/

/** Turns any error into a problem. Errors of others are distinguished only as far as it helps the user. */
export function toProblem(error: unknown): PortalSsoError {
  if (error instanceof PortalSsoError) return error
  if (error instanceof ConfigurationError)
    return new PortalSsoError('misconfigured', 'the application', { cause: error })
  // Express refused to read the body or the URL: too large, not decodable, aborted. Checked before database failures, because an
  // aborted request has the same code as a lost database connection.
  const status = (error as { status?: unknown } | null)?.status
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new PortalSsoError('request_invalid', 'the request', { cause: error })
  if (isConnectionError(error) || databaseFailures.test(String((error as { code?: unknown } | null)?.code)))
    return new PortalSsoError('database_unavailable', 'the database', { cause: error })
  return new PortalSsoError('internal', 'an unexpected error', { cause: error })
}

/** Removes the SQL statement that Knex puts in front of a database error: its values are personal data. */
export function stripSql(message: string): string {
  return message.replace(/^(?:select|insert into|update|delete from|with) [\s\S]* - /, '')
}
