import type { Request, RequestHandler, Response } from 'express'
import type { ErrorHandler } from '../events/error-handler.ts'
import type { EventHistory } from '../events/event-history.ts'
import type { ProvidersApi } from '../management/providers-api.ts'
import type { SessionsApi } from '../management/sessions-api.ts'
import type { Provider } from '../providers/provider.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import type { TestSignIns } from '../test-sign-in/test-sign-in.ts'
import type { UserDirectory } from '../users/user-directory.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import { viewHelpers } from './format.ts'

/** The modules behind the admin pages. */
export interface AdminContext {
  urls: PortalUrls
  errorHandler: ErrorHandler
  history: EventHistory
  homePath: string
  pages: Pages
  portalOf: PortalResolver
  /** middleware of every POST: refuses cross-site requests, then reads the body */
  posted: RequestHandler[]
  providers: ProvidersApi
  testSignIns: TestSignIns
  sessionsApi: SessionsApi
  users: UserDirectory
}

/** The portal and the actor of an action. Its values come from a form, so they cannot set a secret reference. */
export function actOptions(req: Request, portalOf: PortalResolver): ResolvedActOptions {
  const id = (req.user as { id?: unknown } | undefined)?.id
  const actor = typeof id === 'string' || typeof id === 'number' ? String(id) : 'admin'
  return { portal: portalOf(req), actor, source: 'form' }
}

/** One text value of a form or query. Duplicate and nested values count as empty. */
export function textOf(form: unknown, name: string): string {
  const value = (form as Record<string, unknown> | undefined)?.[name]
  return typeof value === 'string' ? value.trim() : ''
}

type ProviderHandler = (req: Request, res: Response, provider: Provider) => Promise<void>

/** Handles a route below `/:slug` with that provider of the request's portal, or passes on if there is none. */
export function withProvider(
  { portalOf, providers }: AdminContext,
  handler: ProviderHandler,
): RequestHandler {
  return asyncHandler(async (req, res, next) => {
    const provider = await providers.find(String(req.params.slug), { portal: portalOf(req) })
    if (!provider) return next()
    await handler(req, res, provider)
  })
}

/** Confirmations by the key in `?done=`. The list is fixed, so that a crafted link cannot show an attacker's text. */
const messages = {
  connected:
    'Saved as a draft. Nobody sees it yet. Enter the URLs below at the provider, then test a sign-in.',
  saved: 'Saved. Changes apply from the next sign-in. Active sessions continue.',
  tested: 'Tested just now.',
  testedSome: 'Some providers were not tested because it took too long. Test them on their own pages.',
  enabled: 'Enabled. Everyone can sign in with it now.',
  disabled: 'Disabled. It is no longer on the login page.',
  recommended: 'Recommended. It is now first on the login page.',
  notRecommended: 'No longer recommended.',
  moved: 'The order on the login page has changed.',
  rotated: 'A new key is published. It will be used in one hour, so that the provider has time to fetch it.',
  retiring: 'The end date is set. The login page shows it.',
  kept: 'The end date is removed. The provider stays enabled.',
  removed: 'Removed. You can restore it below for 30 days.',
  restored: 'Restored as a draft. Nobody sees it until you enable it.',
  sessionEnded: 'The session has ended. This takes effect on every instance within seconds.',
  sessionsEnded: 'The sessions have ended. This takes effect on every instance within seconds.',
  sessionsOver: 'This session had already ended.',
} as const

export type Message = keyof typeof messages

function messageOf(req: Request): string | undefined {
  const { done } = req.query
  return typeof done === 'string' && Object.hasOwn(messages, done) ? messages[done as Message] : undefined
}

interface AdminPage {
  /** file in `views/admin` */
  view: string
  locals: object
  /** default 200 */
  status?: number
}

export async function showAdminPage(
  { homePath, pages }: AdminContext,
  req: Request,
  res: Response,
  { view, locals, status = 200 }: AdminPage,
): Promise<void> {
  // Do not show an earlier confirmation beside an error.
  const message = status === 200 ? messageOf(req) : undefined
  const common = { lang: 'en', base: req.baseUrl, homeHref: homePath, message, problem: undefined }
  res.status(status)
  await pages.show(req, res, `admin/${view}`, { ...viewHelpers, ...common, ...locals })
}
