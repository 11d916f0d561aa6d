import type { Request } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { Identity } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { addressOf, type User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'

/** A user who has just proven their address: the provider vouches for it, or the user entered a code. */
export interface ProvenUser {
  user: User
  provider: Provider
  identity: Identity
  /** id of the row of the session in which the user proved it */
  keptSession?: string | undefined
}

interface ReclaimModules {
  readonly events: EventLog
  readonly sessions: Sessions
  readonly users: Users
  readonly endsOtherSessions: boolean
}

/**
 * Pre-hijacking: an attacker registers the address of a person who has no account yet, and keeps the password, a session or a
 * sign-in method of their own. The first proof of the address ends all of that before the owner signs in.
 */
export class AccountReclaim {
  readonly #modules: ReclaimModules

  constructor(modules: ReclaimModules) {
    this.#modules = modules
  }

  /**
   * Runs in an order that a crash cannot shorten: the next sign-in starts again until the proof is stored.
   *
   * @param storeProof creates the link, or marks it as proven
   * @throws PortalSsoError `linking_failed` if the host's `onLinked` fails: nothing was stored then
   */
  async reclaim(req: Request, proven: ProvenUser, storeProof: () => Promise<void>): Promise<void> {
    const { users, endsOtherSessions } = this.#modules
    const { user, provider, identity } = proven
    const { portal, slug } = provider
    const { issuer, subject, email } = identity
    const isFirst = !(await users.identities.hasProvenLink(portal, String(user.id), addressOf(user)))
    const linked = { provider: slug, identity: { issuer, subject, email }, firstLink: isFirst }
    await users.onLinked(user, linked, portal)
    if (!isFirst || !endsOtherSessions) return await storeProof()
    await this.#endUnproven(req, proven)
    await storeProof()
    // A password that was checked before the host deleted it may have started a session since.
    await this.#endUnproven(req, proven)
  }

  async #endUnproven(req: Request, { user, provider, identity, keptSession }: ProvenUser): Promise<void> {
    const { events, sessions, users } = this.#modules
    const { portal, slug } = provider
    const userId = String(user.id)
    const email = addressOf(user)
    const identities = await users.identities.unlinkUnproven(portal, userId, email, identity)
    // Without their links, sessions that were started with them have no proof either.
    const ended = await sessions.endAll({ portal, userId, unprovenEmail: email, except: keptSession })
    const detail = { identities, sessions: ended.get(userId) ?? 0 }
    if (detail.identities + detail.sessions === 0) return
    const by = { portal, userId, provider: slug, clientAddress: req.ip }
    await events.record({ kind: 'account-reclaimed', ...by, detail })
  }
}
