import type { Request, Response } from 'express'
import { PortalSsoError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { PortalSessions } from '../sessions/portal-session.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import { isActive, type User } from '../users/user-directory.ts'
import type { Identity } from './identity.ts'
import type { LastUsed } from './last-used.ts'
import { link } from './link.ts'
import type { SignedOutHere } from './signed-out-here.ts'
import type { TellMethods } from './tell-methods.ts'

export interface Admission {
  provider: Provider
  identity: Identity
  user: User
  /** how the identity and the user came together */
  how: 'known' | 'rebound' | 'linked' | 'registered'
  gone?: string | undefined
  returnTo?: string | undefined
  /** see `Attempt` */
  proving?: string | undefined
}

/**
 * Offers the person who has just signed in to link the registration that waits in this browser, if it is the one that the
 * attempt was begun for.
 *
 * @returns the page that asks; `undefined` when there is nothing to offer
 */
export type OfferLink = (
  req: Request,
  res: Response,
  proved: { portal: string; user: User; proving: string | undefined },
) => Promise<string | undefined>

export interface AdmitParts {
  sessions: PortalSessions
  identities: IdentitiesTable
  events: EventLog
  lastUsed: LastUsed
  /** whether its provider has taken back what it said of somebody, see `LogoutTokensTable` */
  hasEnded: (portal: string, identity: Identity) => Promise<boolean>
  homePath: string
  /** takes away a registration that waits in this browser, so that the next person does not find it */
  forgetRegistration: (res: Response) => void
  offerLink: OfferLink
  signedOutHere: SignedOutHere
  table: ProvidersTable
  tellMethods: TellMethods
}

/** Links where that is due, starts the session and sends the person on. */
export type Admit = (req: Request, res: Response, admission: Admission) => Promise<void>

export function createAdmit(parts: AdmitParts): Admit {
  const { sessions, identities, events, hasEnded, lastUsed, homePath, forgetRegistration } = parts
  const { offerLink, signedOutHere, table, tellMethods } = parts

  /** What has become of the provider's word while the session began: whoever ended all there were did not find this one. */
  async function endUnlessItHolds(req: Request, admission: Admission): Promise<void> {
    try {
      await assertLinked(admission)
      if (await hasEnded(admission.provider.portal, admission.identity))
        throw new PortalSsoError('attempt_gone', 'the provider has ended its session meanwhile')
    } catch (error) {
      await sessions.end(req)
      throw error
    }
  }

  /** Links are taken back with the sessions of who came by them: the one that begins just now was not among these. */
  async function assertLinked({ provider, identity, how }: Admission): Promise<void> {
    const { portal } = provider
    if (how === 'rebound' && (await wasChanged(provider))) await identities.unlinkRebound(portal, identity)
    if (!(await identities.touch(portal, identity)))
      throw new PortalSsoError('provider_changed', 'the link was taken back meanwhile')
  }

  /** Who takes such links back stops first that more are made, and then looks for them: one made after that takes itself back. */
  async function wasChanged({ id, portal, slug, version }: Provider): Promise<boolean> {
    const now = await table.find(portal, slug)
    return now?.id !== id || now.version !== version
  }

  return async (req, res, admission) => {
    const { provider, identity, user, how, gone, returnTo, proving } = admission
    const { portal } = provider
    if (how !== 'known')
      await link(identities, { provider, identity, userId: user.id, rebound: how === 'rebound' }, gone)
    const about = { portal, userId: user.id, provider: provider.slug, clientAddress: req.ip }
    if (how !== 'known') await events.record({ kind: how === 'rebound' ? 'identity-rebound' : how, ...about })
    if (how === 'linked') tellMethods(req, { user, provider, what: 'linked' })
    const offer = await offerLink(req, res, { portal, user, proving })
    if (offer === undefined) forgetRegistration(res)
    // A directory may make users who wait for somebody's approval.
    if (!isActive(user)) throw new PortalSsoError('user_inactive', 'the user is not active (yet)')

    await sessions.start(req, { user, provider, ...identity })
    await endUnlessItHolds(req, admission)
    await events.record({ kind: 'signed-in', ...about })
    lastUsed.set(res, provider.slug)
    signedOutHere.clear(req, res)
    res.redirect(303, offer ?? returnTo ?? homePath)
  }
}
