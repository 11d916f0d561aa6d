import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { readLoginHint } from '../oidc/authorization-response.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { LogoutNotice } from '../sessions/logout-tokens-table.ts'
import type { SignedInVia } from '../sessions/session-data.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { SessionMatch } from '../sessions/sessions-table.ts'
import { withTimeout } from '../shared/time.ts'
import type { UsedAttempt } from '../sign-in/attempts.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { StateCookie } from '../web/sealed-cookie.ts'
import type { PortalUrls } from '../web/urls.ts'

/** Where a provider signs users out (OpenID Connect RP-Initiated Logout 1.0). */
export interface ProviderLogout {
  provider: Provider
  /** `end_session_endpoint`, as discovery validated it */
  endpoint: URL
}

/** A slow provider must not keep a user from signing out here. */
const discoveryTimeoutMs = 2000
// Servers refuse longer URLs, and the user would see an error page in place of a question.
const maxUrlLength = 4096

interface LogoutModules {
  readonly events: EventLog
  readonly logoutState: StateCookie
  readonly sessions: Sessions
  readonly signIn: SignIn
  readonly providersTable: ProvidersTable
  readonly urls: PortalUrls
}

/** Ends sessions here when the user signs out, or when the provider says that its session has ended. */
export class Logout {
  readonly #modules: LogoutModules

  constructor(modules: LogoutModules) {
    this.#modules = modules
  }

  /**
   * @returns where the session's provider signs the user out; `undefined` also if the provider is down, was disabled or removed, or
   * is configured for a local logout only, or if the database is unavailable
   */
  async findProviderLogout(portal: string, signedInVia: SignedInVia): Promise<ProviderLogout | undefined> {
    const search = this.#searchProviderLogout(portal, signedInVia)
    return await withTimeout(discoveryTimeoutMs, search).catch(() => undefined)
  }

  async #searchProviderLogout(
    portal: string,
    { provider: slug, issuer }: SignedInVia,
  ): Promise<ProviderLogout | undefined> {
    const { providersTable } = this.#modules
    const provider = await providersTable.find(portal, slug)
    // Another provider may have the slug now, and the hint is an ID token: it is only for its own issuer.
    if (!provider?.enabled || !isIssuerOf(provider, issuer)) return undefined
    const endpoint = await this.#endpointOf(provider)
    return endpoint && { provider, endpoint }
  }

  async #endpointOf(provider: Provider): Promise<URL | undefined> {
    if (provider.logout === 'portal') return undefined
    const { metadata } = await this.#modules.signIn.connectedProviders.connect(provider).client()
    const endpoint = metadata.end_session_endpoint
    return endpoint === undefined ? undefined : new URL(endpoint)
  }

  /**
   * Signs the user out at the provider, and from there leads back to a sign-in (`/logout/done`). Attacker: makes a browser follow
   * this URL from another site. Without a hint the provider must ask the user (RP-Initiated Logout 1.0, 2).
   *
   * @param attempt.logoutHint only for a link on our own page; without it, Hydra does not return the user
   * @returns the URL of the logout request; `undefined` if the provider has none, or its row says that sign-out ends only our session
   */
  async signOutFirst(
    req: Request,
    res: Response,
    provider: Provider,
    { logoutHint, ...attempt }: Omit<UsedAttempt, 'providerId'> & { logoutHint: string | undefined },
  ): Promise<string | undefined> {
    const { logoutState, signIn, urls } = this.#modules
    const endpoint = await this.#endpointOf(provider)
    if (!endpoint) return undefined
    const kept = signIn.attempts.begin(req, res, { ...attempt, providerId: provider.id })
    const state = logoutState.begin(res, kept)
    const returnUri = urls.loggedOut(provider.portal)
    return await logoutUrl({ provider, endpoint }, { logoutHint, returnUri, state })
  }

  /**
   * Ends what a provider says has ended. A sign-in writes its session first and looks for the notice then; this does the
   * opposite, so that one of them always sees the other. A provider may repeat a token that failed here.
   *
   * @param match which sessions; default: those that the notice names
   * @param isRecorded false: only ends sessions that exist, and leaves no notice for a sign-in in progress
   * @returns `false` if the notice was processed before
   */
  async applyProviderLogout(
    { portal, slug }: Pick<Provider, 'portal' | 'slug'>,
    message: Omit<LogoutNotice, 'portal'>,
    { match, isRecorded = true }: { match?: SessionMatch | undefined; isRecorded?: boolean } = {},
  ): Promise<boolean> {
    const { events, sessions } = this.#modules
    const notice = { ...message, portal }
    if (isRecorded && !(await sessions.logoutTokens.record(notice))) return false
    const ended = await sessions.endAll(match ?? { portal, issuer: notice.issuer, ...notice.ends })
    for (const [userId, count] of ended)
      await events.record({
        kind: 'signed-out',
        portal,
        userId,
        provider: slug,
        detail: { actor: 'provider', sessions: count },
      })
    if (isRecorded) await sessions.logoutTokens.markProcessed(notice)
    return true
  }
}

/** The URL of the logout request (section 2). */
export async function logoutUrl(
  { provider, endpoint }: ProviderLogout,
  { logoutHint, returnUri, state }: { logoutHint: string | undefined; returnUri: string; state: string },
): Promise<string> {
  const url = new URL(endpoint)
  url.hash = ''
  url.searchParams.set('client_id', provider.clientId)
  url.searchParams.set('post_logout_redirect_uri', returnUri)
  url.searchParams.set('state', state)
  if (!logoutHint) return url.href
  // Without it, Microsoft asks which account to sign out. It is the value of an optional claim of the ID token.
  const { decodeJwt } = await import('jose')
  const accountHint = readLoginHint(decodeJwt(logoutHint).login_hint)
  if (accountHint !== undefined) url.searchParams.set('logout_hint', accountHint)
  const withoutHint = url.href
  url.searchParams.set('id_token_hint', logoutHint)
  return url.href.length > maxUrlLength ? withoutHint : url.href
}
