import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import type { LogoutNotice } from '../sessions/logout-tokens-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { SessionMatch } from '../sessions/sessions-table.ts'

/**
 * Ends what a provider said has ended, once it is believed: sessions that run, wherever they do, and those that are just about
 * to begin.
 *
 * @param match which sessions; default: those of the issuer that it names
 * @returns `false`: it has done its work before
 */
export type ApplyProviderLogout = (
  provider: Provider,
  told: Omit<LogoutNotice, 'portal'>,
  match?: SessionMatch,
) => Promise<boolean>

export interface ApplyProviderLogoutParts {
  events: EventLog
  sessions: Sessions
}

/**
 * Noted first, then the sessions: a sign-in writes its session first and looks for the note then, so that of the two one always
 * sees the other. Marked as obeyed last: a provider whose token failed here sends the same once more. Of two at once both end
 * the same sessions, which harms nobody.
 */
export function createApplyProviderLogout({
  events,
  sessions,
}: ApplyProviderLogoutParts): ApplyProviderLogout {
  return async ({ portal, slug }, message, match) => {
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
