import type { Request, RequestHandler } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import { asyncHandler, setPrivateHeaders } from '../web/handler.ts'

/**
 * Denies by default, for every path and method: an administrator can connect a provider that signs in anyone as anyone.
 * The 404 is the same for existing and missing pages, so that an attacker learns nothing about them.
 */
export function administratorsOnly(authorize: (req: Request) => unknown): RequestHandler {
  return asyncHandler(async (req, res, next) => {
    setPrivateHeaders(res)
    if ((await callAuthorize(authorize, req)) !== true)
      throw new PortalSsoError('not_found', '`authorize` did not return `true`')
    next()
  })
}

async function callAuthorize(authorize: (req: Request) => unknown, req: Request): Promise<unknown> {
  try {
    return await authorize(req)
  } catch (error) {
    throw new PortalSsoError('not_found', '`authorize` failed', { cause: error })
  }
}
