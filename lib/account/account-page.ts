import type { RequestHandler } from 'express'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { sessionDigest } from '../sessions/sessions-table.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Locale } from '../web/locale.ts'
import type { Pages } from '../web/pages.ts'
import type { Account } from './account.ts'

/** Outcome of the previous action. It comes from the query string, so only these words are accepted. */
const notices = ['confirmed', 'ended', 'gone', 'known', 'last', 'linked', 'unlinked'] as const
export type Notice = (typeof notices)[number]

/** The page lists no more; one button ends all of them. */
const maxListedSessions = 50

interface AccountPageModules {
  readonly account: Account
  readonly pages: Pages
  readonly sessions: Sessions
  readonly providersTable: ProvidersTable
}

export function accountPage(
  { homePath, portalOf, urls }: Core,
  { account, pages, sessions, providersTable }: AccountPageModules,
): RequestHandler {
  return asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const user = req.user as User
    const userId = String(user.id)
    const { lang, t } = pages.locale(req)
    const time = timeFormat(lang)
    const notice = notices.find((each) => each === req.query.notice)
    const providers = await providersTable.list(portal)
    const listed = await sessions.table.list({ portal, userId }, maxListedSessions)
    const linked = await account.listMethods(portal, userId)

    await pages.show(req, res, 'account', {
      notice,
      tone: notice === 'last' ? 'bad' : 'good',
      user: { name: user.name, email: user.email },
      base: urls.path('/account/security'),
      homeHref: homePath,
      logoutHref: urls.path('/logout'),
      methods: linked.map(({ linkedAt, lastUsedAt, ...method }) => {
        return { ...method, linked: time(linkedAt), lastUsed: time(lastUsedAt) }
      }),
      linkable: providers
        .filter(({ enabled }) => enabled)
        .map(({ slug, displayName }) => {
          return { slug, displayName, linked: linked.some(({ provider }) => provider === slug) }
        })
        // Providers that the user has not linked yet come first.
        .sort((a, b) => Number(a.linked) - Number(b.linked)),
      sessions: listed
        .map(({ id, browser, os, location, startedAt, lastSeenAt, provider }) => ({
          id,
          here: id === sessionDigest(req.sessionID),
          device:
            (browser && os ? t('account.device', { browser, os }) : (browser ?? os)) ??
            t('account.unknownDevice'),
          location,
          started: time(startedAt),
          lastSeen: time(lastSeenAt),
          provider: providers.find(({ slug }) => slug === provider)?.displayName ?? provider,
        }))
        .sort((a, b) => Number(b.here) - Number(a.here)),
    })
  })
}

interface DisplayedTime {
  /** ISO 8601, for machines */
  at: string
  /** in the reader's language, with the time zone, because the server does not know theirs */
  text: string
}

function timeFormat(lang: Locale['lang']): (at: string) => DisplayedTime {
  const format = new Intl.DateTimeFormat(lang, {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: 'numeric',
    minute: '2-digit',
    timeZone: 'UTC',
    timeZoneName: 'short',
  })
  return (at) => ({ at, text: format.format(new Date(at)) })
}
