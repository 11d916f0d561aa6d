import type { Request, RequestHandler, Response } from 'express'
import { PortalSsoError } from './errors.ts'
import type { PortalSessions } from './sessions/portal-session.ts'
import type { Addresses } from './web/addresses.ts'
import { handle } from './web/handle.ts'
import { keepPrivate } from './web/keep-private.ts'
import { newReference, type Pages } from './web/pages.ts'
import { safeReturnTo } from './web/return-to.ts'
import { wantsPage } from './web/wants-page.ts'

export interface GuardParts {
  addresses: Addresses
  pages: Pages
  sessions: PortalSessions
}

/** Lets signed-in users pass. Everybody else: pages lead to the picker and back here, other clients get 401. */
export function createGuard({ addresses, pages, sessions }: GuardParts): RequestHandler {
  const turnAway = handle((req, res) => (wantsPage(req) ? toPicker(req, res) : toProblem(req, res)))

  async function toPicker(req: Request, res: Response): Promise<void> {
    // Only what an address can ask for again can be returned to.
    const repeatable = req.method === 'GET' || req.method === 'HEAD'
    const returnTo = repeatable ? safeReturnTo(req.originalUrl) : undefined
    keepPrivate(res)
    res.redirect(repeatable ? 302 : 303, addresses.path('/login', { returnTo }))
  }

  async function toProblem(req: Request, res: Response): Promise<void> {
    const problem = new PortalSsoError('not_signed_in', 'nobody is signed in')
    await pages.problem(req, res, problem, { reference: newReference(), ways: [] })
  }

  return (req, res, next) => {
    sessions.identify(req, res, (error?: unknown) => {
      if (error) {
        pages.onError(error, req, res, next)
        return
      }
      // Somebody else has answered meanwhile, a time limit of the host's say.
      if (res.headersSent) return
      // The back button of a shared machine must not show what the last person saw.
      res.set('cache-control', 'no-store')
      if (req.user) next()
      else turnAway(req, res, next)
    })
  }
}
