import type { Request } from 'express'
import { Strategy } from 'passport-strategy'
import type { User } from '../users/user-directory.ts'
import { signedInOf } from './signed-in.ts'

/** Passport's own would wipe out what a host's Passport keeps under the same key; this one leaves foreign values alone. */
export class PortalSessionStrategy extends Strategy {
  private readonly userOf: (req: Request) => Promise<User | undefined>

  constructor(userOf: (req: Request) => Promise<User | undefined>) {
    super()
    this.userOf = userOf
  }

  override authenticate(req: Request): void {
    const ours = signedInOf(req) !== undefined
    this.userOf(req)
      .then((user) => {
        // A host's own deserializer may have put somebody there whom we refuse.
        if (ours) req.user = user
        this.pass()
      })
      // Also hears what is thrown further down the road: nothing may become a rejection that nobody hears.
      .catch((error: unknown) => this.error(error as Error))
  }
}
