import type { NextFunction, Request, RequestHandler, Response } from 'express'

/** Passes rejections to `next`: Express 4 ignores the promise of a handler. */
export function asyncHandler(
  handle: (req: Request, res: Response, next: NextFunction) => Promise<void>,
): RequestHandler {
  return (req, res, next) => {
    handle(req, res, next).catch(next)
  }
}

/**
 * Headers of all our responses, including redirects and errors. Our URLs may hold a code or a deep link, so they must not
 * reach a cache or another site (Referrer Policy; RFC 9700, 4.2.4).
 */
export function setPrivateHeaders(res: Response): void {
  res.setHeader('cache-control', 'no-store')
  res.setHeader('referrer-policy', 'same-origin')
  res.setHeader('x-content-type-options', 'nosniff')
}

export const withPrivateHeaders: RequestHandler = (_req, res, next) => {
  setPrivateHeaders(res)
  next()
}
