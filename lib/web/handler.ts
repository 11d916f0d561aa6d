import type { NextFunction, Request, RequestHandler, Response } from 'express'

/** Express 4 does not hear a rejected promise: every asynchronous handler of ours goes through here. */
export function asyncHandler(
  act: (req: Request, res: Response, next: NextFunction) => Promise<void>,
): RequestHandler {
  return (req, res, next) => {
    act(req, res, next).catch(next)
  }
}

/**
 * What every answer of ours says, redirects and errors too: that no cache keeps it, that its address, which may hold a code
 * or a deep link, is told to no other site (Referrer Policy; RFC 9700, 4.2.4), and that it is what its type says.
 */
export function setPrivateHeaders(res: Response): void {
  res.set({
    'cache-control': 'no-store',
    'referrer-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
  })
}
