import type { Request, Response } from 'express'
import * as client from 'openid-client'
import OpenIDConnectStrategy from 'passport-openidconnect'
import { type AuthorizationResponse, BrowserReportedError } from '../oidc/authorization-response.ts'
import { otherMethods } from '../oidc/client-methods.ts'
import { isUnreachable, statusOf } from '../oidc/http-client.ts'
import {
  assertIdTokenForm,
  type Identity,
  identityFrom,
  needsUserInfo,
  withAddress,
} from '../oidc/identity.ts'
import type { ExchangedTokens, ProviderClient } from '../oidc/provider-client.ts'
import { describeReportedError, problemOf, quoteRedacted, redact } from '../oidc/provider-error.ts'
import { type Trace, traceEndpoints } from '../oidc/trace.ts'
import { canChooseAccount } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { reservedParameters } from '../providers/setting-values.ts'
import { CheckError, describeError, PortalSsoError, type ProblemCode } from '../shared/errors.ts'
import { digest } from '../shared/seal.ts'
import { clockToleranceSeconds } from '../shared/time.ts'
import { clientKey } from '../web/rate-limit.ts'
import type { Attempt, Attempts, CompletedAttempt, Purpose, ReauthenticationRequirement } from './attempts.ts'
import { assertReauthenticated } from './reauthentication.ts'

export interface Begin {
  step: 'begin'
  purpose: Purpose
  returnTo: string | undefined
  /** makes the provider ask for the account, even if it knows one */
  otherAccount: boolean
  /** untrusted; passed to the provider and never logged */
  loginHint?: string | undefined
  reauthentication?: ReauthenticationRequirement | undefined
  /** the user's language, one of ours */
  uiLocales?: string | undefined
  /** continues an attempt that was used or has expired */
  restarted?: boolean | undefined
  /** the second attempt at a re-authentication, and what it sends: the first one has sent the other */
  retry?: 'login' | 'max_age' | undefined
  /** receives the URL of the authorization request in place of a redirect */
  onRedirectUrl?: ((url: string) => void) | undefined
}

export interface Finish {
  step: 'finish'
  response: AuthorizationResponse
  attempt: CompletedAttempt
  /** observes the checks for a report; it changes nothing */
  trace?: Trace | undefined
  /** called before the exchange fails, if the code was wrong or the token response malformed */
  onWrongCode?: (() => Promise<void>) | undefined
  /** called before the exchange fails, if the provider was to blame */
  onFault?: (() => void) | undefined
}

/** A validated authorization response. */
export interface ValidatedSignIn {
  /** without address and name: a linked identity needs neither */
  readonly identity: Identity
  /**
   * Adds the address and the name, from UserInfo if the ID token lacks a claim that decides.
   *
   * @throws PortalSsoError for claims of another subject, or a signature that is not valid
   */
  complete(): Promise<Identity>
  /** why UserInfo could not be fetched; the sign-in continues without it */
  userInfoFailure?: unknown
}

interface RequestParameters {
  nonce: string
  codeChallenge: string
  reauthentication: ReauthenticationRequirement | undefined
  /** sent in place of `max_age` */
  asksLogin: boolean
  uiLocales: string | undefined
}

/**
 * One provider's Passport strategy. passport-openidconnect builds the authorization request. openid-client validates the
 * response, because the base class checks no signature. Not `#private`: Passport works on `Object.create(strategy)`.
 */
export class ProviderStrategy extends OpenIDConnectStrategy {
  private readonly provider: Provider
  private readonly client: ProviderClient
  private readonly attempts: Pick<Attempts, 'begin'>
  private readonly callbackUrl: string

  constructor(
    provider: Provider,
    providerClient: ProviderClient,
    attempts: Pick<Attempts, 'begin'>,
    callbackUrl: string,
  ) {
    const { metadata } = providerClient
    super(
      {
        issuer: metadata.issuer,
        authorizationURL: metadata.authorization_endpoint,
        tokenURL: metadata.token_endpoint,
        userInfoURL: '',
        clientID: provider.clientId,
        clientSecret: '',
        // Absolute, else the base class would build it from the Host header.
        callbackURL: callbackUrl,
        scope: ['email', 'profile'],
        responseMode: provider.responseMode,
        sessionKey: 'unused',
        skipUserProfile: true,
        store: stateStore,
      },
      (_issuer: string, _profile: unknown, done: (error: Error) => void) => done(new Error('never reached')),
    )
    this.provider = provider
    this.client = providerClient
    this.attempts = attempts
    this.callbackUrl = callbackUrl
  }

  /** @param options a step: the route decides which half runs, never the parameters of the request */
  override authenticate(req: Request, options?: unknown): void {
    const step = options as Begin | Finish | undefined
    const onError = (error: unknown) => this.error(error as Error)
    if (step?.step === 'begin') this.begin(req, step).catch(onError)
    else if (step?.step === 'finish') this.finish(req, step).catch(onError)
    else onError(new CheckError('step', 'the route must say which half runs'))
  }

  /** Parameters of the request in addition to those of the base class. */
  override authorizationParams(parameters: RequestParameters): object {
    const { nonce, codeChallenge, reauthentication, asksLogin, uiLocales } = parameters
    // A row cannot weaken the request, even if an attacker wrote it.
    const extra = Object.entries(this.provider.authorizationParameters).filter(
      ([name]) => !reservedParameters.includes(name),
    )
    const { acr, maxAge } = combine(this.provider, reauthentication)
    return {
      ...(uiLocales !== undefined && { ui_locales: uiLocales }),
      ...Object.fromEntries(extra),
      nonce,
      code_challenge: codeChallenge,
      code_challenge_method: 'S256',
      ...(maxAge !== undefined && !asksLogin && { max_age: maxAge }),
      ...(acr.length > 0 && { acr_values: acr.join(' ') }),
    }
  }

  private async begin(req: Request, step: Begin): Promise<void> {
    const { purpose, returnTo, otherAccount, loginHint, reauthentication, restarted, retry, uiLocales } = step
    // The base class would take these two for an authorization response.
    if (req.query.code !== undefined || req.query.error !== undefined)
      throw new PortalSsoError(
        'request_invalid',
        'an authorization response was sent to the start of a sign-in',
      )
    const codeVerifier = client.randomPKCECodeVerifier()
    const nonce = client.randomNonce()
    // RFC 7636, 4.2.
    const codeChallenge = digest(codeVerifier)
    const { id: providerId, portal, version } = this.provider
    const row = { portal, providerId, version }
    let { prompt } = this.provider
    // `login` in the row demands more than a choice of accounts.
    if (otherAccount && prompt !== 'login')
      prompt = canChooseAccount(this.provider, this.client.metadata) ? 'select_account' : 'login'
    if (retry === 'login') prompt = 'login'
    else if (retry && prompt === 'login') prompt = undefined
    const asksLogin = prompt === 'login'
    const marks = {
      ...(otherAccount && { otherAccount }),
      ...(restarted && { restarted }),
      ...(asksLogin && { askedLogin: true as const }),
      ...(retry && { retried: true as const }),
    }
    const attempt: Attempt = { ...row, nonce, codeVerifier, purpose, returnTo, reauthentication, ...marks }
    const state = this.attempts.begin(req, req.res as Response, attempt)
    const { pushRequest, secrets } = this.client
    const { onRedirectUrl } = step
    // Passport makes a new `this` for each request.
    if (onRedirectUrl) this.redirect = onRedirectUrl
    // Attacker: each start of a sign-in causes a request to the provider. It counts against the rate limit of the start, and takes
    // turns with those of other client addresses, so that nobody can occupy the connections of others.
    if (onRedirectUrl && pushRequest)
      this.redirect = (url) =>
        void pushRequest(url, clientKey(req)).then(onRedirectUrl, (error: unknown) =>
          this.error(pushRefusal(error, secrets)),
        )
    // Entra refuses a request with both a hint and a choice of accounts.
    const choosesAccount = otherAccount || prompt === 'select_account'
    // A new object, because Passport shares its options among all requests.
    super.authenticate(req, {
      ...({ nonce, codeChallenge, reauthentication, asksLogin, uiLocales } satisfies RequestParameters),
      ...(prompt && { prompt }),
      ...(loginHint !== undefined && !choosesAccount && { loginHint }),
      state: { state },
    })
  }

  private async finish(req: Request, step: Finish): Promise<void> {
    const { attempt } = step
    if (attempt.portal !== this.provider.portal || attempt.providerId !== this.provider.id)
      throw new PortalSsoError('response_invalid', 'the attempt belongs to another provider (mix-up)')
    if (attempt.version !== this.provider.version)
      throw new PortalSsoError('provider_changed', 'the provider was changed after the attempt began')
    const validated = await this.validate(clientKey(req), step)
    // Not a user yet: the portal's own rules decide later what happens with an identity.
    this.success(validated as unknown as Express.User)
  }

  private async validate(
    address: string,
    { response, attempt, trace, onWrongCode, onFault }: Finish,
  ): Promise<ValidatedSignIn> {
    const { nonce, codeVerifier, startedAt: askedAt } = attempt
    // Built from the configured URL: the Host header must not influence the redirect_uri.
    const received = new URL(`${this.callbackUrl}?${response.parameters}`)
    const refusal = (error: unknown) => {
      const code = response.parameters.get('code') ?? ''
      const secrets = [code, response.state, nonce, codeVerifier, ...this.client.secrets]
      trace?.({ failure: error })
      if (isProviderFault(error)) onFault?.()
      return refusalOf(error, secrets)
    }
    try {
      const checks: client.AuthorizationCodeGrantChecks = {
        expectedState: response.state,
        expectedNonce: nonce,
        pkceCodeVerifier: codeVerifier,
        idTokenExpected: true,
      }
      const test = trace && { wrapFetch: traceEndpoints(this.client.metadata, trace), otherMethods }
      const tokens = await this.client.exchangeCode(received, checks, { address, onWrongCode, test })
      const { idToken, idClaims, method } = tokens
      trace?.({ method })
      const algorithm = assertIdTokenForm(idToken)
      trace?.({ algorithm, idClaims })
      const now = Date.now() / 1000
      const clock = { now, tolerance: clockToleranceSeconds, askedAt }
      const identity = identityFrom(this.provider, { idToken, idClaims }, clock)
      const { acr, maxAge } = this.provider
      const required = { maxAge, acr: acr.length > 0 ? acr : undefined }
      if (required.maxAge ?? required.acr) assertReauthenticated(identity, required)
      const validated: ValidatedSignIn = {
        identity,
        complete: async () =>
          await this.complete(validated, tokens, trace).catch((error: unknown) => {
            throw refusal(error)
          }),
      }
      return validated
    } catch (error) {
      throw refusal(error)
    }
  }

  private async complete(
    validated: ValidatedSignIn,
    { idClaims, fetchUserInfo }: ExchangedTokens,
    trace: Trace | undefined,
  ): Promise<Identity> {
    const { claims: userInfo, failure } = needsUserInfo(this.provider, idClaims) ? await fetchUserInfo() : {}
    validated.userInfoFailure = failure
    trace?.({ userInfo, userInfoFailure: failure })
    return withAddress(validated.identity, this.provider, { idClaims, userInfo })
  }
}

/** Of the accepted values of the row and of a guard, only those in both can satisfy both. */
function combine(
  { acr: rowAcr, maxAge: rowMaxAge = Number.POSITIVE_INFINITY }: Provider,
  { acr, maxAge = Number.POSITIVE_INFINITY }: ReauthenticationRequirement = {},
): { acr: readonly string[]; maxAge: number | undefined } {
  const common = acr?.filter((value) => rowAcr.length === 0 || rowAcr.includes(value))
  const seconds = Math.min(maxAge, rowMaxAge)
  return {
    acr: common?.length ? common : (acr ?? rowAcr),
    maxAge: Number.isFinite(seconds) ? seconds : undefined,
  }
}

/** Puts the `state` of the attempt into the request. */
const stateStore: OpenIDConnectStrategy.SessionStore = {
  store(...args) {
    const [, , attempt, , done] = args
    done(null, (attempt as { state: string }).state)
  },
  verify(_req, _state, done) {
    done(new Error('never reached'))
  },
}

/** No response, status 5xx, or keys that cannot be used. An error in the authorization response is no fault: a browser sends it. */
function isProviderFault(error: unknown): boolean {
  if (error instanceof client.AuthorizationResponseError) return false
  return isUnreachable(error) || (error instanceof CheckError && error.code === 'jwks_uri')
}

/** The user has done nothing yet, so a refusal means that a setting is wrong, here or at the provider. */
function pushRefusal(error: unknown, secrets: readonly string[]): PortalSsoError {
  const { code, message } = refusalOf(error, secrets, 'the pushed authorization request was refused')
  return new PortalSsoError(code === 'response_invalid' ? 'provider_error' : code, message)
}

/** Failed checks after which the user can do more than try again. */
const checkProblems: Readonly<Record<string, ProblemCode>> = {
  sub_constant: 'subject_constant',
  tenant: 'organization_not_admitted',
}

/** The user reads whose fault it is. The log gets the exact cause. */
function refusalOf(
  error: unknown,
  secrets: readonly string[],
  refused = 'the token endpoint refused',
): PortalSsoError {
  if (error instanceof PortalSsoError) return error
  if (error instanceof client.AuthorizationResponseError) {
    // RFC 6749, 4.1.2.1. Only known codes are distinguished: the rest is the provider's text.
    const { error: name, error_description: description } = error
    const denied = name === 'access_denied' ? 'provider_denied' : 'provider_error'
    const reported = describeReportedError(name, description, secrets)
    return new BrowserReportedError(problemOf(name, description) ?? denied, reported)
  }
  if (error instanceof client.ResponseBodyError) {
    // openid-client checked only the type of `error`.
    const description: unknown = error.error_description
    // Some providers repeat the code, which a browser can make up: it must not select the problem either.
    const text = redact(
      typeof description === 'string' ? `${error.error}: ${description}` : error.error,
      secrets,
    )
    // RFC 6749, 5.2 and RFC 9449, 5. Only `invalid_grant` can be the fault of the browser, which brought the code.
    const isConfigurationError =
      /^(invalid_client|invalid_request|invalid_dpop_proof|unauthorized_client|invalid_scope|unsupported_grant_type)$/.test(
        error.error,
      )
    const code = isConfigurationError ? 'provider_error' : 'response_invalid'
    const problem = isUnreachable(error) ? 'provider_unavailable' : problemOf(error.error, text)
    return new PortalSsoError(
      problem ?? code,
      `${refused} (status ${error.status}): ${quoteRedacted(text, [])}`,
    )
  }
  const ofCheck = error instanceof CheckError ? checkProblems[error.code] : undefined
  const status = statusOf(error)
  // RFC 6749, 5.2: with 401, the provider refuses the portal, and not the user.
  const code = ofCheck ?? (status === 401 ? 'provider_error' : 'response_invalid')
  const text = redact(describeError(error), secrets)
  return new PortalSsoError(
    isUnreachable(error) ? 'provider_unavailable' : code,
    status === undefined || text.includes(`status ${status}`) ? text : `${text} (status ${status})`,
  )
}
