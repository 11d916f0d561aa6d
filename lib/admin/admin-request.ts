import type { Request, RequestHandler, Response } from 'express'
import type { ErrorHandler } from '../events/error-handler.ts'
import type { HistoryApi } from '../events/event-history.ts'
import type { IdentitiesApi } from '../management/identities-api.ts'
import type { ProvidersApi } from '../management/providers-api.ts'
import type { SessionsApi } from '../management/sessions-api.ts'
import type { Provider } from '../providers/provider.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { TestSignIns } from '../test-sign-in/test-sign-in.ts'
import type { Users } from '../users/users.ts'
import type { Core } from '../web/core.ts'
import type { MenuPage } from '../web/language-menu.ts'
import type { Locale, Say } from '../web/locale.ts'
import type { Pages } from '../web/pages.ts'
import { isSafeMethod } from '../web/request.ts'
import { queryString } from '../web/urls.ts'
import { viewHelpers } from './format.ts'

export interface AdminContext extends Pick<Core, 'clock' | 'homePath' | 'portalOf' | 'seal' | 'urls'> {
  errorHandler: ErrorHandler
  history: HistoryApi
  identities: IdentitiesApi
  pages: Pages
  /** middleware of every POST: refuses cross-site requests, then reads the body */
  posted: RequestHandler[]
  providers: ProvidersApi
  signIn: Pick<SignIn, 'canVerifyEmail'>
  testSignIns: TestSignIns
  sessionsApi: SessionsApi
  users: Users
}

export interface AdminRequest extends AdminContext {
  req: Request
  res: Response
  /** The portal and the actor. Values come from a form, so they cannot set a secret reference. */
  options: ResolvedActOptions
  locale: Locale
  say: Say
}

export type AdminHandler = (page: AdminRequest) => Promise<void>

/** Handlers by method and path, such as `GET /events`. */
export type AdminRoutes = Readonly<Record<string, AdminHandler>>

export function adminRequest(context: AdminContext, req: Request, res: Response): AdminRequest {
  const id = (req.user as { id?: unknown } | undefined)?.id
  const actor = typeof id === 'string' || typeof id === 'number' ? String(id) : 'admin'
  const locale = context.pages.locales.resolveForAdmin(req)
  const options: ResolvedActOptions = { portal: context.portalOf(req), actor, source: 'form' }
  return { ...context, req, res, options, locale, say: locale.say }
}

/** One text value of a form or query. Duplicate and nested values count as empty. */
export function textOf(form: unknown, name: string): string {
  const value = (form as Record<string, unknown> | undefined)?.[name]
  return typeof value === 'string' ? value.trim() : ''
}

export function pageUnknown(): PortalSsoError {
  return new PortalSsoError('not_found', 'there is no such page')
}

export function withProvider(
  handle: (page: AdminRequest, provider: Provider) => Promise<void>,
): AdminHandler {
  return async (page) => handle(page, await findProvider(page))
}

/** @throws PortalSsoError `not_found` */
export async function findProvider({ options, providers, req }: AdminRequest): Promise<Provider> {
  const provider = await providers.find(String(req.params.slug), options)
  if (!provider) throw pageUnknown()
  return provider
}

/** Confirmations by the key in `?done=`. The list is fixed, so that a crafted link cannot show an attacker's text. */
const messages = {
  connected: phrase('Saved as a draft. Nobody sees it yet.'),
  saved: phrase('Saved. Changes apply from the next sign-in. Active sessions continue.'),
  logoSaved: phrase('Saved. The login page shows the new logo.'),
  logoRemoved: phrase('The logo is removed.'),
  tested: phrase('Tested just now.'),
  enabled: phrase('Enabled. Everyone can sign in with it now.'),
  disabled: phrase('Disabled. It is no longer on the login page.'),
  recommended: phrase('Recommended. It is now first on the login page.'),
  notRecommended: phrase('No longer recommended.'),
  moved: phrase('The order on the login page has changed.'),
  rotated: phrase(
    'A new key is published. It will be used in one hour, so that the provider has time to fetch it.',
  ),
  retiring: phrase('The end date is set. The login page shows it.'),
  kept: phrase('The end date is removed. The provider stays enabled.'),
  removed: phrase('Removed. You can restore it below for 30 days.'),
  restored: phrase('Restored as a draft. Nobody sees it until you enable it.'),
  sessionEnded: phrase('The session has ended. This takes effect on every instance within seconds.'),
  sessionsEnded: phrase('The sessions have ended. This takes effect on every instance within seconds.'),
  accepted: phrase(
    'The new account is accepted. The earlier one is no longer linked, and its sessions have ended.',
  ),
  separate: phrase('Kept separate. This account is not linked to the user.'),
  unlinked: phrase('Unlinked. Its sessions have ended, and its e-mail address does not link it again.'),
  allowed: phrase('Allowed. The e-mail address may link this account again.'),
  sessionsOver: phrase('This session had already ended.'),
} as const

export type Message = keyof typeof messages

export function redirectTo(
  { req, res }: AdminRequest,
  path: string,
  query: Record<string, string> & { done?: Message },
): void {
  res.redirect(303, req.baseUrl + path + queryString(query))
}

export async function showPage(
  { homePath, locale, pages, req, res, say }: AdminRequest,
  view: string,
  locals: object,
  status = 200,
): Promise<void> {
  const { done } = req.query
  // Do not show an earlier confirmation beside an error.
  const isConfirmed = status === 200 && typeof done === 'string' && Object.hasOwn(messages, done)
  const message = isConfirmed ? say(messages[done as Message]) : undefined
  const languages = pages.languageLinks(locale, samePage(req), pages.locales.forAdmin)
  const common = { ...locale, languages, base: req.baseUrl, homeHref: homePath, message, problem: undefined }
  res.status(status)
  await pages.show(req, res, `admin/${view}`, { ...viewHelpers(locale), ...common, ...locals })
}

/** Keeps all parameters in the language menu: on administrators' pages, they only select what is shown. */
function samePage(req: Request): MenuPage | undefined {
  if (!isSafeMethod(req)) return undefined
  const { pathname, searchParams } = new URL(req.originalUrl, 'http://portal.invalid')
  searchParams.delete('lang')
  return { path: pathname, query: searchParams.size === 0 ? '' : `&${searchParams.toString()}` }
}
