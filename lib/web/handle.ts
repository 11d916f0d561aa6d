import type { NextFunction, Request, RequestHandler, Response } from 'express'

/** Express 4 does not hear a rejected promise: every asynchronous handler of ours goes through here. */
export function handle(
  act: (req: Request, res: Response, next: NextFunction) => Promise<void>,
): RequestHandler {
  return (req, res, next) => {
    act(req, res, next).catch(next)
  }
}
