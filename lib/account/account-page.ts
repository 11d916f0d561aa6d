import type { Request, Response } from 'express'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { type SessionInfo, sessionDigest } from '../sessions/sessions-table.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Locale } from '../web/locale.ts'
import type { Pages } from '../web/pages.ts'
import type { SignInMethods } from './sign-in-methods.ts'

/** Outcome of the previous action. It comes from the query string, so only these words are accepted. */
const notices = ['confirmed', 'ended', 'gone', 'known', 'last', 'linked', 'unlinked'] as const
export type Notice = (typeof notices)[number]

export function readNotice(word: unknown): Notice | undefined {
  return notices.find((notice) => notice === word)
}

/** The page lists no more; one button ends all of them. */
const maxListedSessions = 50

interface AccountPageModules {
  readonly methods: SignInMethods
  readonly pages: Pages
  readonly sessions: Sessions
  readonly providersTable: ProvidersTable
}

export class AccountPage {
  readonly #core: Core
  readonly #modules: AccountPageModules

  constructor(core: Core, modules: AccountPageModules) {
    this.#core = core
    this.#modules = modules
  }

  async show(req: Request, res: Response, notice: Notice | undefined): Promise<void> {
    const { homePath, portalOf, urls } = this.#core
    const { methods, pages, sessions, providersTable } = this.#modules
    const portal = portalOf(req)
    const user = req.user as User
    const userId = String(user.id)
    const { lang } = pages.locale(req)
    const time = timeFormat(lang)
    const providers = await providersTable.list(portal)
    const nameOf = (slug: string | undefined) =>
      providers.find((provider) => provider.slug === slug)?.displayName ?? slug
    const listed = await sessions.table.list({ portal, userId }, maxListedSessions)
    const linked = await methods.list(portal, userId)

    await pages.show(req, res, 'account', {
      notice,
      tone: notice === 'last' ? 'bad' : 'good',
      user: { name: user.name, email: user.email },
      base: urls.path('/account/security'),
      homeHref: homePath,
      logoutHref: urls.path('/logout'),
      methods: linked.map((method) => ({
        ...method,
        linked: time(method.linkedAt),
        lastUsed: time(method.lastUsedAt),
      })),
      linkable: providers
        .filter(({ enabled }) => enabled)
        .map(({ slug, displayName }) => ({
          slug,
          displayName,
          linked: linked.some((method) => method.provider === slug),
        }))
        // Providers that the user has not linked yet come first.
        .sort((a, b) => Number(a.linked) - Number(b.linked)),
      sessions: listed
        .map((session) => ({
          ...this.#sessionRow(req, session, time),
          provider: nameOf(session.provider),
        }))
        .sort((a, b) => Number(b.here) - Number(a.here)),
    })
  }

  #sessionRow(req: Request, session: SessionInfo, time: (at: string) => DisplayedTime) {
    const { t } = this.#modules.pages.locale(req)
    const { id, browser, os, location, startedAt, lastSeenAt } = session
    const device = browser && os ? t('account.device', { browser, os }) : (browser ?? os)
    return {
      id,
      here: id === sessionDigest(req.sessionID),
      device: device ?? t('account.unknownDevice'),
      location,
      started: time(startedAt),
      lastSeen: time(lastSeenAt),
    }
  }
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
