import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express'
import type { SessionFilter } from '../management/sessions-api.ts'
import { ManagementError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, actOptions, type Message, showAdminPage, textOf } from './context.ts'
import { sentence } from './format.ts'

/** Rows on a page. An administrator who looks for one session searches for its user. */
const maxRows = 200

type Handler = (context: AdminContext, req: Request, res: Response, next: NextFunction) => Promise<void>

/** `/sessions`: the active sessions of a user or a provider. Ends one of them, or all after a confirmation. */
export function sessionsRoutes(context: AdminContext): Router {
  const { posted } = context
  const router = Router()
  router.get('/sessions', withErrorsOnForm(context, showSessions))
  // A POST keeps e-mail addresses out of access logs.
  router.post('/sessions', ...posted, withErrorsOnForm(context, findSessions))
  router.get('/sessions/end', withErrorsOnForm(context, confirmEnd))
  router.post('/sessions/end', ...posted, withErrorsOnForm(context, endSessions))
  return router
}

/** Shows an error such as an unknown provider above the search form. */
function withErrorsOnForm(context: AdminContext, handler: Handler): RequestHandler {
  return asyncHandler(async (req, res, next) => {
    try {
      await handler(context, req, res, next)
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      await showForm(context, req, res, sentence(error.message))
    }
  })
}

async function showForm(context: AdminContext, req: Request, res: Response, problem?: string): Promise<void> {
  const { portalOf, providers } = context
  const slugs = (await providers.list({ portal: portalOf(req) })).map(({ slug }) => slug)
  const asked = { user: textOf(req.body, 'user'), provider: textOf(req.body, 'provider') }
  await showAdminPage(context, req, res, {
    view: 'sessions',
    locals: { slugs, asked, problem },
    status: problem === undefined ? 200 : 422,
  })
}

async function showSessions(context: AdminContext, req: Request, res: Response): Promise<void> {
  const filter = readSessionFilter(req.query)
  if (!filter) return await showForm(context, req, res)
  const { portalOf, sessionsApi } = context
  const portal = portalOf(req)
  const [sessions, all] = await Promise.all([
    sessionsApi.list(filter, { portal }),
    sessionsApi.count(filter, { portal }),
  ])
  const locals = {
    ...(await describeFilter(context, filter, portal)),
    sessions: sessions.slice(0, maxRows),
    all,
  }
  await showAdminPage(context, req, res, { view: 'sessions-of', locals })
}

async function findSessions(context: AdminContext, req: Request, res: Response): Promise<void> {
  const filter = readSessionFilter(req.body)
  if (!filter) return await showForm(context, req, res, 'Enter either a user or a provider.')
  if (filter.userId === undefined) return redirectToSessions(req, res, filter)
  const userId = await findUserId(context, filter.userId, context.portalOf(req))
  if (userId === undefined)
    return await showForm(context, req, res, 'No user with this address or ID, and no active session.')
  redirectToSessions(req, res, { userId })
}

/** @param text an e-mail address or an id, also of a user who is no longer in the directory but has a session */
async function findUserId(
  { sessionsApi, users }: AdminContext,
  text: string,
  portal: string,
): Promise<string | undefined> {
  const email = normaliseEmail(text)
  const userByEmail = email === undefined ? undefined : await users.findByEmail(email, portal)
  if (userByEmail) return userByEmail.id
  // Count before asking the directory: counting refuses text that a database cannot store.
  if ((await sessionsApi.count({ userId: text }, { portal })) > 0) return text
  return (await users.findById(text, portal))?.id
}

async function confirmEnd(
  context: AdminContext,
  req: Request,
  res: Response,
  next: NextFunction,
): Promise<void> {
  const filter = readSessionFilter(req.query)
  if (!filter) return next()
  const portal = context.portalOf(req)
  const all = await context.sessionsApi.count(filter, { portal })
  const locals = { ...(await describeFilter(context, filter, portal)), all }
  await showAdminPage(context, req, res, { view: 'end-sessions', locals })
}

async function endSessions(context: AdminContext, req: Request, res: Response): Promise<void> {
  const filter = readSessionFilter(req.body)
  if (!filter) return await showForm(context, req, res, 'Enter either a user or a provider.')
  const { portalOf, sessionsApi } = context
  const options = actOptions(req, portalOf)
  const id = textOf(req.body, 'id')
  if (id !== '') {
    const hasEnded = await sessionsApi.end(id, options)
    return redirectToSessions(req, res, filter, hasEnded ? 'sessionEnded' : 'sessionsOver')
  }
  await sessionsApi.endAll(filter, options)
  redirectToSessions(req, res, filter, 'sessionsEnded')
}

/** The locals of both pages about a filter. Call it after the sessions API, which refuses text that is no id. */
async function describeFilter({ providers, users }: AdminContext, filter: SessionFilter, portal: string) {
  const { userId, provider: slug } = filter
  const person = userId === undefined ? undefined : await users.findById(userId, portal)
  const provider = slug === undefined ? undefined : await providers.find(slug, { portal })
  const name = provider?.displayName ?? slug ?? person?.name ?? userId
  return { whose: filter, name, person, query: filterQuery(filter) }
}

/** @returns `undefined` unless exactly one of both is given, so that an incomplete URL ends no sessions */
function readSessionFilter(given: unknown): SessionFilter | undefined {
  const userId = textOf(given, 'user')
  const provider = textOf(given, 'provider')
  if ((userId === '') === (provider === '')) return undefined
  return userId === '' ? { provider } : { userId }
}

function filterQuery({ userId, provider }: SessionFilter): Record<string, string> {
  return userId === undefined ? { provider: String(provider) } : { user: userId }
}

function redirectToSessions(req: Request, res: Response, filter: SessionFilter, done?: Message): void {
  const query = new URLSearchParams({ ...filterQuery(filter), ...(done && { done }) })
  res.redirect(303, `${req.baseUrl}/sessions?${query}`)
}
