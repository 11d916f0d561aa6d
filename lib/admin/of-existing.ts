import type { Request, RequestHandler, Response } from 'express'
import type { Provider } from '../providers/provider.ts'
import { handle } from '../web/handle.ts'
import type { AdminParts } from './parts.ts'

type Act = (req: Request, res: Response, provider: Provider) => Promise<void>

/** Below `/:slug`: acts on that provider of the request's portal; where there is none, it is no page of ours. */
export function createOfExisting({ portalOf, providers }: AdminParts): (act: Act) => RequestHandler {
  return (act) =>
    handle(async (req, res, next) => {
      const provider = await providers.find(String(req.params.slug), portalOf(req))
      if (!provider) return next()
      await act(req, res, provider)
    })
}
