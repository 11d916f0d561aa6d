import type { Request, Response } from 'express'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { type SessionInfo, sessionDigest } from '../sessions/sessions-table.ts'
import type { User } from '../users/user-directory.ts'
import type { Locale } from '../web/locale.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { SignInMethods } from './sign-in-methods.ts'

/** What was done a moment ago. In the query, so it is one of these words and nothing else. */
const notices = ['confirmed', 'ended', 'gone', 'known', 'last', 'linked', 'unlinked'] as const
export type Notice = (typeof notices)[number]

export function noticeOf(word: unknown): Notice | undefined {
  return notices.find((notice) => notice === word)
}

export type ShowAccountPage = (req: Request, res: Response, notice: Notice | undefined) => Promise<void>

export interface ShowAccountParts {
  urls: PortalUrls
  homePath: string
  methods: SignInMethods
  pages: Pages
  portalOf: PortalResolver
  sessions: Sessions
  table: ProvidersTable
}

/** sessions that are shown; all of them end by one button */
const most = 50

export function createAccountPage(parts: ShowAccountParts): ShowAccountPage {
  const { urls, homePath, methods, pages, portalOf, sessions, table } = parts

  return async (req, res, notice) => {
    const portal = portalOf(req)
    const user = req.user as User
    const userId = String(user.id)
    const { lang, t } = pages.locale(req)
    const when = timesIn(lang)
    const providers = await table.list(portal)
    const nameOf = (slug: string | undefined) =>
      providers.find((provider) => provider.slug === slug)?.displayName ?? slug
    const here = sessionDigest(req.sessionID)
    const listed = await sessions.list({ portal, userId }, most)
    const linked = await methods.of(portal, userId)

    function shown(session: SessionInfo) {
      const { id, provider, browser, os, location, startedAt, lastSeenAt } = session
      const device = browser && os ? t('account.device', { browser, os }) : (browser ?? os)
      return {
        id,
        here: id === here,
        device: device ?? t('account.unknownDevice'),
        location,
        provider: nameOf(provider),
        started: when(startedAt),
        lastSeen: when(lastSeenAt),
      }
    }

    await pages.show(req, res, 'account', {
      notice,
      tone: notice === 'last' ? 'bad' : 'good',
      user: { name: user.name, email: user.email },
      base: urls.path('/account/security'),
      homeHref: homePath,
      logoutHref: urls.path('/logout'),
      methods: linked.map((method) => ({
        ...method,
        linked: when(method.linkedAt),
        lastUsed: when(method.lastUsedAt),
      })),
      linkable: providers
        .filter(({ enabled }) => enabled)
        .map(({ slug, displayName }) => ({
          slug,
          displayName,
          linked: linked.some((method) => method.provider === slug),
        }))
        // What is new to the person first.
        .sort((a, b) => Number(a.linked) - Number(b.linked)),
      sessions: listed.map(shown).sort((a, b) => Number(b.here) - Number(a.here)),
    })
  }
}

interface When {
  /** ISO 8601, for machines */
  at: string
  /** as the reader writes it; the server does not know their time zone, so it is named */
  text: string
}

function timesIn(lang: Locale['lang']): (at: string) => When {
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
