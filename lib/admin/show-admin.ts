import type { Request, Response } from 'express'
import { messageOf } from './messages.ts'
import type { AdminParts } from './parts.ts'
import { words } from './words.ts'

/** @param view of `views/admin` */
export type ShowAdmin = (
  req: Request,
  res: Response,
  view: string,
  locals: object,
  status?: number,
) => Promise<void>

export function createShowAdmin({ homePath, pages }: Pick<AdminParts, 'homePath' | 'pages'>): ShowAdmin {
  return async (req, res, view, locals, status = 200) => {
    // What went well before is not to be read beside what went wrong now.
    const message = status === 200 ? messageOf(req) : undefined
    await pages.show(
      req,
      res,
      `admin/${view}`,
      { ...words, lang: 'en', base: req.baseUrl, homeHref: homePath, message, problem: undefined, ...locals },
      status,
    )
  }
}
