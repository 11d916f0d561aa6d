import type { NextFunction, Request, RequestHandler, Response } from 'express'

/** Passes rejections to `next`: Express 4 ignores the promise of a handler. */
export function asyncHandler(
  handle: (req: Request, res: Response, next: NextFunction) => Promise<void>,
): RequestHandler {
  return (req, res, next) => {
    handle(req, res, next).catch(next)
  }
}

/** Middleware as one, because each layer of a router costs CPU. */
export function inSequence(...handlers: readonly RequestHandler[]): RequestHandler {
  return (req, res, next) => {
    let at = 0
    const step = (error?: unknown) => {
      const handle = handlers[at++]
      if (error || !handle) return next(error)
      try {
        handle(req, res, step)
      } catch (thrown) {
        next(thrown)
      }
    }
    step()
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

/** Headers of files whose URL changes with their content. */
export function setAssetHeaders(res: Response): void {
  // Not `public`: some hosts refresh the session cookie with each response, and a shared cache would hand it to others.
  res.setHeader('cache-control', 'private, max-age=31536000, immutable')
}

export const withPrivateHeaders: RequestHandler = (_req, res, next) => {
  setPrivateHeaders(res)
  next()
}
