import { decodeJwt } from 'jose'
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
import type { SignIn } from '../sign-in/sign-in.ts'

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
  readonly sessions: Sessions
  readonly signIn: SignIn
  readonly providersTable: ProvidersTable
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
    const { signIn, providersTable } = this.#modules
    const provider = await providersTable.find(portal, slug)
    if (!provider?.enabled || provider.logout === 'portal') return undefined
    // Another provider may have the slug now, and the hint is an ID token: it is only for its own issuer.
    if (!isIssuerOf(provider, issuer)) return undefined
    const { metadata } = await signIn.connectedProviders.connect(provider).client()
    const endpoint = metadata.end_session_endpoint
    return endpoint === undefined ? undefined : { provider, endpoint: new URL(endpoint) }
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
export function logoutUrl(
  { provider, endpoint }: ProviderLogout,
  { logoutHint, returnUri, state }: { logoutHint: string | undefined; returnUri: string; state: string },
): string {
  const url = new URL(endpoint)
  url.hash = ''
  url.searchParams.set('client_id', provider.clientId)
  url.searchParams.set('post_logout_redirect_uri', returnUri)
  url.searchParams.set('state', state)
  if (!logoutHint) return url.href
  // Without it, Microsoft asks which account to sign out. It is the value of an optional claim of the ID token.
  const accountHint = readLoginHint(decodeJwt(logoutHint).login_hint)
  if (accountHint !== undefined) url.searchParams.set('logout_hint', accountHint)
  const withoutHint = url.href
  url.searchParams.set('id_token_hint', logoutHint)
  return url.href.length > maxUrlLength ? withoutHint : url.href
}
