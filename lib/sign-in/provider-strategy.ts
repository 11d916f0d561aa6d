import type { Request, Response } from 'express'
import * as client from 'openid-client'
import OpenIDConnectStrategy from 'passport-openidconnect'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import { isUnreachable } from '../oidc/http-client.ts'
import { assertIdTokenForm } from '../oidc/id-token.ts'
import { type Claims, type Identity, identityFrom, lacksEmail } from '../oidc/identity.ts'
import { clockToleranceSeconds, type ProviderClient } from '../oidc/provider-client.ts'
import { entraCode, isConsentRequired, quoteRedacted, redact } from '../oidc/provider-error.ts'
import { type Trace, traceEndpoints } from '../oidc/trace.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { reservedParameters } from '../providers/setting-values.ts'
import { describeError, PortalSsoError } from '../shared/errors.ts'
import type {
  Attempt,
  Attempts,
  CompletedAttempt,
  ReauthenticationRequirement,
  TestAttempt,
} from './attempts.ts'

export interface Begin {
  step: 'begin'
  returnTo: string | undefined
  /** have the provider ask who it is, though it may know somebody */
  otherAccount: boolean
  /** whom the provider may take it for; theirs to ask */
  loginHint?: string | undefined
  /** see `Attempt` */
  proving: string | undefined
  /** see `Attempt` */
  linking?: string | undefined
  /** see `Attempt` */
  fresh?: ReauthenticationRequirement | undefined
  /** see `Attempt` */
  rehearsal?: TestAttempt | undefined
  /** told where the browser has to go, in place of a redirect */
  onRedirectUrl?: ((address: string) => void) | undefined
}

export interface Finish {
  step: 'finish'
  answer: AuthorizationResponse
  attempt: CompletedAttempt
  /** told what was seen on the way, for a report; it changes nothing */
  trace?: Trace | undefined
}

/** What the router asks of the strategy: which half runs is the route's to say, never the parameters'. */
export type StrategyStep = Begin | Finish

interface RequestParameters {
  nonce: string
  codeChallenge: string
  fresh: ReauthenticationRequirement | undefined
}

/**
 * One provider's Passport strategy. passport-openidconnect builds the authorization request; its answer half checks no
 * signature and is never reached: openid-client judges the answer.
 *
 * TypeScript's `private`, not `#private`: Passport works on `Object.create(strategy)`, which has no private slots.
 */
export class ProviderStrategy extends OpenIDConnectStrategy {
  private readonly provider: Provider
  private readonly client: ProviderClient
  private readonly callbackUrl: string

  constructor(provider: Provider, providerClient: ProviderClient, attempts: Attempts, callbackUrl: string) {
    const { metadata } = providerClient
    super(
      {
        issuer: metadata.issuer,
        authorizationURL: metadata.authorization_endpoint,
        tokenURL: metadata.token_endpoint,
        userInfoURL: '',
        clientID: provider.clientId,
        clientSecret: '',
        // Absolute, else the base would build it from the Host header.
        callbackURL: callbackUrl,
        scope: ['email', 'profile'],
        responseMode: provider.responseMode,
        prompt: provider.prompt,
        sessionKey: 'unused',
        skipUserProfile: true,
        store: attemptStore(attempts),
      },
      (_issuer: string, _profile: unknown, done: (error: Error) => void) => done(new Error('never reached')),
    )
    this.provider = provider
    this.client = providerClient
    this.callbackUrl = callbackUrl
  }

  override authenticate(req: Request, step?: unknown): void {
    this.run(req, step as StrategyStep | undefined).catch((error: unknown) => this.error(error as Error))
  }

  private async run(req: Request, step: StrategyStep | undefined): Promise<void> {
    switch (step?.step) {
      case 'begin':
        return await this.begin(req, step)
      case 'finish':
        return await this.finish(step)
      default:
        throw new TypeError('the route says which half runs')
    }
  }

  /** Parameters of the request beside those that the base writes. */
  override authorizationParams({ nonce, codeChallenge, fresh }: RequestParameters): object {
    // A row must not be able to weaken the request, whoever wrote it.
    const extra = Object.entries(this.provider.authorizationParameters).filter(
      ([name]) => !reservedParameters.includes(name),
    )
    return {
      ...Object.fromEntries(extra),
      nonce,
      code_challenge: codeChallenge,
      code_challenge_method: 'S256',
      ...(fresh?.maxAge !== undefined && { max_age: fresh.maxAge }),
      ...(fresh?.acr && { acr_values: fresh.acr.join(' ') }),
    }
  }

  private async begin(req: Request, step: Begin): Promise<void> {
    const { returnTo, otherAccount, loginHint, proving, linking, fresh, rehearsal, onRedirectUrl } = step
    // These two would make the base take the request for an answer, and judge it.
    if (req.query.code !== undefined || req.query.error !== undefined)
      throw new PortalSsoError('request_invalid', 'an answer was sent to the start of a sign-in')
    const codeVerifier = client.randomPKCECodeVerifier()
    const nonce = client.randomNonce()
    const attempt: Attempt = {
      portal: this.provider.portal,
      providerId: this.provider.id,
      version: this.provider.version,
      nonce,
      codeVerifier,
      returnTo,
      proving,
      linking,
      fresh,
      rehearsal,
    }
    // `this` is of this request alone: Passport makes one for each.
    if (onRedirectUrl) this.redirect = onRedirectUrl
    const parameters: RequestParameters = {
      nonce,
      codeChallenge: await client.calculatePKCECodeChallenge(codeVerifier),
      fresh,
    }
    // Whoever is to choose is not told whom to be; Entra refuses a request with both.
    const chooses = otherAccount || this.provider.prompt === 'select_account'
    // A new object: Passport shares its options among all requests.
    super.authenticate(req, {
      ...parameters,
      ...(otherAccount && { prompt: this.promptForOtherAccount() }),
      // Not every provider knows `max_age`.
      ...(fresh?.maxAge !== undefined && { prompt: 'login' }),
      ...(loginHint !== undefined && !chooses && { loginHint }),
      state: attempt,
    } as OpenIDConnectStrategy.AuthenticateOptions)
  }

  /** Core 3.1.2.1: every provider knows `login`, not every one lets the person choose. */
  private promptForOtherAccount(): string {
    const known = this.client.metadata.prompt_values_supported
    const chooses = Array.isArray(known)
      ? known.includes('select_account')
      : known === undefined && presetOf(this.provider.preset)?.choosesAccount
    // A row that has everybody show who they are anew asks for more than to choose.
    return chooses && this.provider.prompt !== 'login' ? 'select_account' : 'login'
  }

  private async finish({ answer, attempt, trace }: Finish): Promise<void> {
    if (attempt.portal !== this.provider.portal || attempt.providerId !== this.provider.id)
      throw new PortalSsoError('answer_invalid', 'the attempt belongs to another provider (mix-up)')
    if (attempt.version !== this.provider.version)
      throw new PortalSsoError('provider_changed', 'the provider was changed after the attempt began')
    const identity = await this.judge(answer, attempt, trace)
    // Not a user yet: what becomes of an identity is decided later, by the portal's own rules.
    this.success(identity as unknown as Express.User)
  }

  private async judge(
    answer: AuthorizationResponse,
    { nonce, codeVerifier, startedAt: askedAt }: CompletedAttempt,
    trace: Trace | undefined,
  ): Promise<Identity> {
    // The configured address plus what came in: the Host header has no say in the redirect_uri.
    const received = new URL(`${this.callbackUrl}?${answer.parameters}`)
    try {
      const checks: client.AuthorizationCodeGrantChecks = {
        expectedState: answer.state,
        expectedNonce: nonce,
        pkceCodeVerifier: codeVerifier,
        idTokenExpected: true,
      }
      const wrapFetch = trace && traceEndpoints(this.client.metadata, trace)
      const { tokens, configuration, encoding } = await this.client.exchangeCode(received, checks, wrapFetch)
      trace?.({ encoding })
      assertIdTokenForm(String(tokens.id_token))
      const idClaims: Claims = { ...tokens.claims() }
      trace?.({ idClaims })
      const userInfo = lacksEmail(this.provider, idClaims)
        ? await this.userInfo(configuration, tokens.access_token, String(idClaims.sub))
        : undefined
      trace?.({ userInfo })
      return identityFrom(this.provider, String(tokens.id_token), idClaims, userInfo, {
        now: Date.now() / 1000,
        tolerance: clockToleranceSeconds,
        askedAt,
      })
    } catch (error) {
      const code = answer.parameters.get('code') ?? ''
      const secrets = [code, answer.state, nonce, codeVerifier, ...this.client.secrets]
      trace?.({ failure: error, quoted: (said) => quoteRedacted(said, secrets) })
      throw refusalOf(error, secrets)
    }
  }

  /** Core 5.3.2: claims of another subject must not be used. */
  private async userInfo(
    configuration: client.Configuration,
    accessToken: string,
    subject: string,
  ): Promise<Claims | undefined> {
    if (this.client.metadata.userinfo_endpoint === undefined) return undefined
    // RFC 6749, A.12. What a header cannot hold would be quoted in the error, and so in the log.
    if (!/^[\u0020-\u007e]+$/.test(accessToken)) throw new Error('the access token is not in ASCII')
    return await client.fetchUserInfo(configuration, accessToken, subject)
  }
}

/** The contract of the base class's `store`, of which the writing half is all that is used. */
function attemptStore(attempts: Attempts): OpenIDConnectStrategy.SessionStore {
  return {
    store(req, _context, state, _meta, done) {
      attempts
        .begin(req, req.res as Response, state as Attempt)
        .then((state) => done(null, state))
        // Also hears what `done` throws: the base writes the redirect in it.
        .catch((error: unknown) => done(error as Error))
    },
    verify(_req, _state, done) {
      done(new Error('never reached'))
    },
  }
}

/** Whose fault it is decides what the person reads; what exactly was wrong is for the log. */
function refusalOf(error: unknown, secrets: readonly string[]): PortalSsoError {
  if (error instanceof client.AuthorizationResponseError) {
    // RFC 6749, 4.1.2.1. Only known words are told apart: the rest is the provider's text.
    const { error: name, error_description: described } = error
    const denied = name === 'access_denied' ? 'provider_denied' : 'provider_error'
    const number = entraCode(described)
    return new PortalSsoError(
      isConsentRequired(name, described) ? 'consent_missing' : denied,
      `the provider answered with the error ${quoteRedacted(name, secrets)}${number ? ` (${number})` : ''}`,
    )
  }
  if (error instanceof client.ResponseBodyError) {
    // As unknown: only `error` has been looked at, and an object need not be able to become text.
    const described: unknown = error.error_description
    const said = typeof described === 'string' ? `${error.error}: ${described}` : error.error
    const own = /^(invalid_client|unauthorized_client|invalid_scope|unsupported_grant_type)$/.test(
      error.error,
    )
    const refused = own ? 'provider_error' : 'answer_invalid'
    return new PortalSsoError(
      isConsentRequired(error.error, described) ? 'consent_missing' : refused,
      `the token endpoint refused (status ${error.status}): ${quoteRedacted(said, secrets)}`,
    )
  }
  const code = isUnreachable(error) ? 'provider_unavailable' : 'answer_invalid'
  return new PortalSsoError(code, redact(describeError(error), secrets))
}
