import type { Request, RequestHandler } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import { asyncHandler, setPrivateHeaders } from '../web/handler.ts'

/**
 * Who may connect a provider may let anybody in as anybody. So: default deny, whatever is asked for and by whatever method, and
 * nothing tells a page that is there from one that is not. A check that fails has not said yes.
 */
export function administratorsOnly(authorize: (req: Request) => unknown): RequestHandler {
  return asyncHandler(async (req, res, next) => {
    setPrivateHeaders(res)
    if ((await asked(authorize, req)) !== true)
      throw new PortalSsoError('page_unknown', '`authorize` did not say `true`')
    next()
  })
}

async function asked(authorize: (req: Request) => unknown, req: Request): Promise<unknown> {
  try {
    return await authorize(req)
  } catch (error) {
    throw new PortalSsoError('page_unknown', '`authorize` failed', { cause: error })
  }
}
