import type { Request, Router } from 'express'
import { Router as createRouter } from 'express'

export interface AdminOptions {
  /** Who may see and change providers; everybody else gets 404. Anything but `true` is no. */
  authorize: (req: Request) => boolean | Promise<boolean>
}

export function createAdmin(_parts: object): (options: AdminOptions) => Router {
  return () => createRouter()
}
