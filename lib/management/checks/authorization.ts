import {
  calculatePKCECodeChallenge,
  type ResponseBodyError,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client'
import { type ClientMethod, secretForms } from '../../oidc/client-methods.ts'
import type { ProviderMetadata } from '../../oidc/discovery.ts'
import { type HttpClient, isUnreachable } from '../../oidc/http-client.ts'
import { requestPusher } from '../../oidc/provider-client.ts'
import { quoteRedacted, redact } from '../../oidc/provider-error.ts'
import type { Check } from '../../providers/provider.ts'
import { describeError } from '../../shared/errors.ts'
import { type AdminText, asPhrase, phrase } from '../../shared/phrase.ts'
import { absent, ok, type TestInput, warning } from './candidate.ts'

export interface CheckedAuthorization {
  check: Check
  /** true if the provider knows the client and its redirect URI; false if it does not say */
  isClientKnown: boolean
  /** why the provider accepts no request of this client at all */
  unusable?: Problem | undefined
}

export interface Problem {
  cause: AdminText
  hint: AdminText
}

const name = 'authorization'

// OpenID Connect Core 3.1.2.6. The provider validated the request before it looked for a user.
const needsUser = ['login_required', 'interaction_required', 'consent_required', 'account_selection_required']

/** RFC 6749, 4.1.2.1: the provider failed. */
const failures = ['server_error', 'temporarily_unavailable']

/** Statuses of firewalls, gateways and rate limits. They say nothing about the client. */
const notFromProvider = [401, 403, 407, 429]

/**
 * Requests an authorization once, with `prompt=none` and without a user. A provider that accepts the client, its redirect URI and
 * its scopes responds that a user has to sign in. The result is never `failed`, because a provider may treat browsers differently.
 *
 * @param method of the client; given if it must push its requests (RFC 9126)
 */
export async function checkAuthorization(
  metadata: ProviderMetadata,
  { redirectUri, ...input }: TestInput,
  outbound: HttpClient,
  method?: ClientMethod,
): Promise<Partial<CheckedAuthorization>> {
  if (redirectUri === undefined) return {}
  const [state, nonce] = [randomState(), randomNonce()]
  const secrets = [state, nonce, ...secretForms(input.clientId, input)]
  const url = new URL(metadata.authorization_endpoint)
  const parameters = {
    ...input.authorizationParameters,
    response_type: 'code',
    client_id: input.clientId,
    redirect_uri: redirectUri,
    scope: 'openid email profile',
    state,
    nonce,
    code_challenge: await calculatePKCECodeChallenge(randomPKCECodeVerifier()),
    code_challenge_method: 'S256',
    prompt: 'none',
  }
  for (const [parameter, value] of Object.entries(parameters)) url.searchParams.set(parameter, value)
  const push = method && requestPusher({ ...method, clientId: input.clientId }, input, metadata, outbound)
  const pushed = await push?.(url.href, '').catch((error: Error) => error)
  if (pushed instanceof Error) return readPushError(pushed, redirectUri, secrets)
  try {
    const headers = { accept: 'text/html,application/xhtml+xml' }
    // Never follows a redirect: only the browser of a user may visit where the provider leads.
    const request = { method: 'GET', headers, body: undefined, redirect: 'manual' } as const
    const response = await outbound.fetch(pushed ?? url.href, request)
    const { authorization_endpoint: endpoint } = metadata
    return await readAnswer(response, { redirectUri, endpoint }, secrets)
  } catch (error) {
    return untested(
      phrase('not tested: this server cannot reach the authorization endpoint ({{error}})', {
        error: describeError(error),
      }),
    )
  }
}

const untested = (message: AdminText): CheckedAuthorization => ({
  check: absent(name, message),
  isClientKnown: false,
})

/** RFC 9126, 2.3: the provider checks a pushed request as it checks one that a browser brings. */
function readPushError(error: Error, redirectUri: string, secrets: readonly string[]): CheckedAuthorization {
  if (isUnreachable(error))
    return untested(
      phrase('not tested: the authorization request cannot be pushed ({{error}})', {
        error: describeError(error),
      }),
    )
  const { status, error: code, error_description: description } = error as Partial<ResponseBodyError>
  const text = typeof description === 'string' ? `${code}: ${description}` : code
  const answer =
    text === undefined ? describeError(error) : `status ${status}, ${quoteRedacted(text, secrets)}`
  return refused(redact(answer, secrets), redirectUri)
}

async function readAnswer(
  response: Response,
  { redirectUri, endpoint }: { redirectUri: string; endpoint: string },
  secrets: readonly string[],
): Promise<CheckedAuthorization> {
  const { status } = response
  const quote = (text: string) => quoteRedacted(text, secrets)
  const location = response.headers.get('location')
  if (status >= 300 && status < 400 && location !== null && URL.canParse(location, endpoint)) {
    const target = new URL(location, endpoint)
    const isClientKnown = `${target.origin}${target.pathname}` === redirectUri
    const { error, error_description: description } = Object.fromEntries(target.searchParams)
    if (isClientKnown && (error === undefined || needsUser.includes(error)))
      return {
        check: ok(
          name,
          phrase('the sign-in page accepts the client, the redirect URI and the scopes ({{response}})', {
            response: error ?? 'code',
          }),
        ),
        isClientKnown,
      }
    if (error === undefined)
      return untested(phrase('not tested: the provider redirects to a page of its own'))
    if (failures.includes(error))
      return untested(phrase('not tested: the provider responded with {{error}}', { error }))
    const text = [error, description].filter(Boolean).join(': ')
    return { ...refused(quote(text), redirectUri), isClientKnown }
  }
  const body = await response.text()
  const oauthError = readOauthError(body)
  if (oauthError !== undefined && status >= 400)
    return refused(`status ${status}, ${quote(oauthError)}`, redirectUri)
  if (status < 400 || status >= 500 || notFromProvider.includes(status))
    return untested(
      phrase(
        'not tested: the authorization endpoint responded with {{status}}, which says nothing about the client',
        { status },
      ),
    )
  const text = textOfPage(body)
  return refused(`status ${status}${text && `, ${quote(text)}`}`, redirectUri)
}

function readOauthError(body: string): string | undefined {
  try {
    const { error, error_description: description } = JSON.parse(body) as Record<string, unknown>
    return typeof error === 'string'
      ? [error, description].filter((each) => typeof each === 'string').join(': ')
      : undefined
  } catch {
    return undefined
  }
}

/** The visible text of an error page. Attacker: a provider whose page makes a pattern slow; so each step is linear. */
function textOfPage(html: string): string {
  return html
    .slice(0, maxPageLength)
    .split(/<\/(?:script|style|head|title|svg|template)\b/i)
    .map((part) => part.replace(/<(?:script|style|head|title|svg|template)\b.*$/is, ' '))
    .join(' <')
    .replace(/<[^<>]*>?/g, ' ')
    .replace(/&nbsp;|&#160;/g, ' ')
    .replace(/&#39;|&#x27;|&apos;|&rsquo;/g, '’')
    .replace(/&quot;|&#34;/g, '”')
    .replace(/\s+/g, ' ')
    .trim()
}

const maxPageLength = 50_000

/** Words in the error messages of providers. The first match names the cause. */
const causes: readonly [pattern: RegExp, cause: string, hint?: string, unusable?: true][] = [
  [/redirect[\s_-]?ur[il]|reply url|callback/i, phrase('the redirect URI is not registered at the provider')],
  [
    /pushed|\bPAR\b|request_uri/i,
    phrase('the client must push its authorization requests (PAR)'),
    phrase(
      'turn on pushed authorization requests in the settings, or turn off their requirement for this client at the provider',
    ),
  ],
  [
    /flow|response_type|grant_type|unauthorized_client/i,
    phrase('the client may not use the authorization code flow'),
    phrase('enable the authorization code flow (at Keycloak: Standard flow) for this client at the provider'),
  ],
  [
    /scope/i,
    phrase('the client may not request the scopes openid, email and profile'),
    phrase('allow this client the scopes openid, email and profile at the provider'),
  ],
  [
    /disabled|inactive|suspended/i,
    phrase('the client is disabled'),
    phrase('enable this client at the provider'),
    true,
  ],
  [
    /not found|not exist|unknown|not registered|invalid[ _]client|client_id/i,
    phrase('the client ID is unknown to the provider'),
    phrase('compare the client ID with the one at the provider'),
    true,
  ],
]

/** @param answer redacted */
function refused(answer: string, redirectUri: string): CheckedAuthorization {
  const [, cause, hint, unusable] = causes.find(([pattern]) => pattern.test(answer)) ?? [
    undefined,
    phrase('its sign-in page refuses the request'),
    phrase('compare the client ID and the settings of the client at the provider'),
  ]
  const message = phrase('users cannot sign in: {{cause}} ({{answer}})', { cause: asPhrase(cause), answer })
  const register = phrase('the redirect URI to register is {{redirectUri}}', { redirectUri })
  const advice = hint ? phrase('{{hint}}; {{more}}', { hint: asPhrase(hint), more: register }) : register
  const check = warning(name, message, advice)
  return { check, isClientKnown: false, unusable: unusable && hint ? { cause, hint } : undefined }
}
