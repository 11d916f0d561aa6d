import { type Request, type Response, Router } from 'express'
import type { SessionFilter } from '../management/sessions-api.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, actOptions, createShowAdmin, type Message, textOf } from './context.ts'
import { sentence } from './format.ts'

/** @param text an address or an id. @returns the id of a user, also of one who is gone from the directory but signed in still */
export type FindPerson = (text: string, portal: string) => Promise<string | undefined>

export function createFindPerson({
  sessionsApi,
  users,
}: Pick<AdminContext, 'sessionsApi' | 'users'>): FindPerson {
  return async (text, portal) => {
    const email = normaliseEmail(text)
    const byEmail = email === undefined ? undefined : await users.findByEmail(email, portal)
    if (byEmail) return byEmail.id
    // Asked first, for it refuses what is not for a database.
    if ((await sessionsApi.count({ userId: text, portal })) > 0) return text
    return (await users.findById(text, portal))?.id
  }
}

/** rows of a page: who looks for one session looks for its user */
const shown = 200

/** `/sessions`: who is signed in, by user or provider; ends one session, and all of them after a question. */
export function createSessionRoutes(parts: AdminContext): Router {
  const { portalOf, posted, providers, sessionsApi, users } = parts
  const show = createShowAdmin(parts)
  const findPerson = createFindPerson(parts)

  /** What is wrong with what was asked for is said above the form that asks. */
  async function showForm(req: Request, res: Response, problem?: string): Promise<void> {
    const slugs = (await providers.list(portalOf(req))).map(({ slug }) => slug)
    const asked = { user: textOf(req.body, 'user'), provider: textOf(req.body, 'provider') }
    await show(req, res, 'sessions', { slugs, asked, problem }, problem === undefined ? 200 : 422)
  }

  /** Comes after an act that has refused what is not for a directory. */
  async function described(whose: SessionFilter, portal: string) {
    const { userId, provider } = whose
    const person = userId === undefined ? undefined : await users.findById(userId, portal)
    const named = provider === undefined ? undefined : await providers.find(provider, portal)
    const name = named?.displayName ?? provider ?? person?.name ?? userId
    return { whose, name, person, query: queryOf(whose) }
  }

  async function showSessions(req: Request, res: Response): Promise<void> {
    const whose = whoseIn(req.query)
    if (!whose) return await showForm(req, res)
    const portal = portalOf(req)
    const [sessions, all] = await Promise.all([
      sessionsApi.list({ ...whose, portal }),
      sessionsApi.count({ ...whose, portal }),
    ])
    const more = await described(whose, portal)
    await show(req, res, 'sessions-of', { ...more, sessions: sessions.slice(0, shown), all })
  }

  async function find(req: Request, res: Response): Promise<void> {
    const whose = whoseIn(req.body)
    if (!whose) return await showForm(req, res, 'Enter either a user or a provider.')
    const portal = portalOf(req)
    const userId = whose.userId === undefined ? undefined : await findPerson(whose.userId, portal)
    if (whose.provider === undefined && userId === undefined)
      return await showForm(req, res, 'No user with this address or ID, and no active session.')
    onRedirectUrl(req, res, userId === undefined ? whose : { userId })
  }

  async function askToEnd(req: Request, res: Response, next: () => void): Promise<void> {
    const whose = whoseIn(req.query)
    if (!whose) return next()
    const portal = portalOf(req)
    const all = await sessionsApi.count({ ...whose, portal })
    const more = await described(whose, portal)
    await show(req, res, 'end-sessions', { ...more, all })
  }

  async function end(req: Request, res: Response): Promise<void> {
    const whose = whoseIn(req.body)
    if (!whose) return await showForm(req, res, 'Enter either a user or a provider.')
    const how = actOptions(req, portalOf)
    const id = textOf(req.body, 'id')
    if (id !== '')
      return onRedirectUrl(
        req,
        res,
        whose,
        (await sessionsApi.end(id, how)) ? 'sessionEnded' : 'sessionsOver',
      )
    await sessionsApi.endAll(whose, how)
    onRedirectUrl(req, res, whose, 'sessionsEnded')
  }

  /** A name that no provider has is told on the form; everything else goes its way. */
  function telling(act: (req: Request, res: Response, next: () => void) => Promise<void>) {
    return asyncHandler(async (req, res, next) => {
      try {
        await act(req, res, next)
      } catch (error) {
        if (!(error instanceof ConfigurationError)) throw error
        await showForm(req, res, sentence(error.message))
      }
    })
  }

  const router = Router()
  router.get('/sessions', telling(showSessions))
  // Posted, so that no address of a person stands in a log of addresses.
  router.post('/sessions', ...posted, telling(find))
  router.get('/sessions/end', telling(askToEnd))
  router.post('/sessions/end', ...posted, telling(end))
  return router
}

/** @returns `undefined` where it names neither, or both: nothing is ended by half an address */
function whoseIn(given: unknown): SessionFilter | undefined {
  const userId = textOf(given, 'user')
  const provider = textOf(given, 'provider')
  if ((userId === '') === (provider === '')) return undefined
  return userId === '' ? { provider } : { userId }
}

function queryOf({ userId, provider }: SessionFilter): Record<string, string> {
  return userId === undefined ? { provider: String(provider) } : { user: userId }
}

function onRedirectUrl(req: Request, res: Response, whose: SessionFilter, done?: Message): void {
  const query = new URLSearchParams({ ...queryOf(whose), ...(done && { done }) })
  res.redirect(303, `${req.baseUrl}/sessions?${query}`)
}
