import type { Request, RequestHandler, Response } from 'express'
import type { ErrorHandler } from '../events/error-handler.ts'
import type { EventHistory } from '../events/event-history.ts'
import type { ClientKeys } from '../management/client-keys.ts'
import type { Providers } from '../management/providers-api.ts'
import type { Rebinding } from '../management/rebind-identities.ts'
import type { Retirement } from '../management/retire-provider.ts'
import type { SessionsApi } from '../management/sessions-api.ts'
import type { Provider } from '../providers/provider.ts'
import type { UserDirectory } from '../users/user-directory.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import { words } from './format.ts'

/** The acts behind the pages: those that code and the CLI do, too. */
export type AdminProviders = Providers & ClientKeys & Retirement & Rebinding

export interface AdminContext {
  urls: PortalUrls
  errorHandler: ErrorHandler
  history: EventHistory
  homePath: string
  pages: Pages
  portalOf: PortalResolver
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  providers: AdminProviders
  testSignIns: {
    /** @param rehearsal.returnTo the page that the report leads back to */
    begin(
      req: Request,
      res: Response,
      rehearsal: { provider: Provider; actor: string; returnTo: string },
    ): Promise<void>
  }
  sessionsApi: SessionsApi
  users: Pick<UserDirectory, 'findByEmail' | 'findById'>
}

/** Where something is done, and by whom: the event says so. */
export function actOptions(req: Request, portalOf: PortalResolver): { portal: string; actor: string } {
  const id = (req.user as { id?: unknown } | undefined)?.id
  const actor = typeof id === 'string' || typeof id === 'number' ? String(id) : 'admin'
  return { portal: portalOf(req), actor }
}

/** A text of a form or a query; what comes twice or nested is none. */
export function textOf(form: unknown, name: string): string {
  const value = (form as Record<string, unknown> | undefined)?.[name]
  return typeof value === 'string' ? value.trim() : ''
}

type Act = (req: Request, res: Response, provider: Provider) => Promise<void>

/** Below `/:slug`: acts on that provider of the request's portal; where there is none, it is no page of ours. */
export function createWithProvider({ portalOf, providers }: AdminContext): (act: Act) => RequestHandler {
  return (act) =>
    asyncHandler(async (req, res, next) => {
      const provider = await providers.find(String(req.params.slug), portalOf(req))
      if (!provider) return next()
      await act(req, res, provider)
    })
}

/** What is said of an act on the page after it. A fixed list: an address must not be able to put words into our mouth. */
const messages = {
  connected:
    'Saved as a draft: nobody sees it yet. Enter the addresses below at the provider, then rehearse a sign-in.',
  saved: 'Saved. It counts from the next sign-in on: sessions that run go on.',
  tested: 'Tested just now.',
  testedSome: 'Tested, but not all: it took too long. Test the others on their own pages.',
  enabled: 'Enabled: everybody can sign in with it from now on.',
  disabled: 'Disabled: it is gone from the login page.',
  recommended: 'Recommended: it comes first on the login page.',
  notRecommended: 'No longer recommended.',
  moved: 'The order on the login page has changed.',
  promoted: 'The exchange has ended: the second client secret is the only one now.',
  rotated: 'A new key is published. It signs from an hour on, so that the provider has time to fetch it.',
  retiring: 'The day is set. Until then the login page says so.',
  kept: 'It stays: the day is taken back.',
  removed: 'Removed. It can be restored below until it is forgotten.',
  restored: 'Restored as a draft: nobody sees it until you enable it.',
  sessionEnded: 'The session is ended, on every instance within seconds.',
  sessionsEnded: 'They are ended, on every instance within seconds.',
  sessionsOver: 'It had ended already.',
  rebinding: 'From now on people are found again by what has stayed the same.',
  rebindingStopped: 'Nobody is found again from now on; who was stays.',
  rebindingUndone: 'All links that were made so are taken back.',
} as const

export type Message = keyof typeof messages

export function messageOf(req: Request): string | undefined {
  const { done } = req.query
  return typeof done === 'string' && Object.hasOwn(messages, done) ? messages[done as Message] : undefined
}

/** @param view of `views/admin` */
export type ShowAdmin = (
  req: Request,
  res: Response,
  view: string,
  locals: object,
  status?: number,
) => Promise<void>

export function createShowAdmin({ homePath, pages }: Pick<AdminContext, 'homePath' | 'pages'>): ShowAdmin {
  return async (req, res, view, locals, status = 200) => {
    // What went well before is not to be read beside what went wrong now.
    const message = status === 200 ? messageOf(req) : undefined
    res.status(status)
    await pages.show(req, res, `admin/${view}`, {
      ...words,
      lang: 'en',
      base: req.baseUrl,
      homeHref: homePath,
      message,
      problem: undefined,
      ...locals,
    })
  }
}
