import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { LogoutNotice } from '../sessions/logout-tokens-table.ts'
import type { SignedInVia } from '../sessions/session-data.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { SessionMatch } from '../sessions/sessions-table.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import { findProviderLogout, type ProviderLogout } from './rp-initiated-logout.ts'

interface LogoutModules {
  readonly events: EventLog
  readonly sessions: Sessions
  readonly signIn: SignIn
  readonly table: ProvidersTable
}

/** Ends sessions here when the user signs out, or when the provider says that its session has ended. */
export class Logout {
  readonly #modules: LogoutModules

  constructor(modules: LogoutModules) {
    this.#modules = modules
  }

  /** @returns where the session's provider signs the user out; `undefined` if it cannot, or must not */
  async findProviderLogout(portal: string, signedInVia: SignedInVia): Promise<ProviderLogout | undefined> {
    const { signIn, table } = this.#modules
    return await findProviderLogout({ portal, signedInVia }, table, signIn.connectedProviders)
  }

  /**
   * Ends what a provider says has ended. A sign-in writes its session first and looks for the notice then; this does the
   * opposite, so that one of them always sees the other. A provider may repeat a token that failed here.
   *
   * @param match which sessions; default: those that the notice names
   * @returns `false` if the notice was processed before
   */
  async applyProviderLogout(
    { portal, slug }: Pick<Provider, 'portal' | 'slug'>,
    message: Omit<LogoutNotice, 'portal'>,
    match?: SessionMatch,
  ): Promise<boolean> {
    const { events, sessions } = this.#modules
    const notice = { ...message, portal }
    if (!(await sessions.logoutTokens.record(notice))) return false
    const ended = await sessions.endAll(match ?? { portal, issuer: notice.issuer, ...notice.ends })
    for (const [userId, count] of ended)
      await events.record({
        kind: 'signed-out',
        portal,
        userId,
        provider: slug,
        detail: { actor: 'provider', sessions: count },
      })
    await sessions.logoutTokens.markProcessed(notice)
    return true
  }
}
