import type { Request } from 'express'
import type { Store } from 'express-session'

/** The store that sessions are in: ours, or that of a host's own express-session, which only its requests know. */
export interface KnownStore {
  note(req: Request): void
  /** `undefined` as long as no request has come */
  get(): Store | undefined
}

export function createKnownStore(): KnownStore {
  let last: Store | undefined
  return {
    note(req) {
      // A request that express-session passes over has none.
      last = req.sessionStore ?? last
    },
    get: () => last,
  }
}
