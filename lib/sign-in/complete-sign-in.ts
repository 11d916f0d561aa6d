import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { Identity } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import { isActive, type User } from '../users/user-directory.ts'
import type { LastProvider, SignedOutMarker } from './browser-hints.ts'
import type { NotifySignInMethodChange } from './notify-sign-in-method.ts'
import type { OfferAccountLink } from './pending-registration.ts'

export interface Linking {
  provider: Provider
  identity: Identity
  userId: string
  /** found by the Entra account, see `findEntraUser` */
  relinked?: boolean | undefined
}

/**
 * Links an identity to a user who was proved to be its owner.
 *
 * @param gone a user that it is still linked to but who exists no more
 * @returns false: it was linked to that user already, as after a double click, and there is nothing to tell anybody
 * @throws PortalSsoError when it was linked to somebody else meanwhile: of two the first one has it
 */
export async function link(
  identities: IdentitiesTable,
  { provider, identity, userId, relinked }: Linking,
  gone: string | undefined,
): Promise<boolean> {
  const { id: providerId, portal } = provider
  const { issuer, subject, email, entra } = identity
  const linked = { portal, userId, providerId, issuer, subject, email, entra, relinked }
  const { userId: linkedTo, made } = await identities.link(linked, gone)
  if (linkedTo !== userId)
    throw new PortalSsoError('attempt_gone', 'the identity was linked to another user meanwhile')
  return made
}

export interface SignInResult {
  provider: Provider
  identity: Identity
  user: User
  /** how the identity and the user came together */
  how: 'known' | 'relinked' | 'linked' | 'registered'
  gone?: string | undefined
  returnTo?: string | undefined
  /** see `Attempt` */
  proving?: string | undefined
}

export interface CompleteSignInParts {
  sessions: Sessions
  identities: IdentitiesTable
  events: EventLog
  lastUsed: LastProvider
  homePath: string
  /** takes away a registration that waits in this browser, so that the next person does not find it */
  clearPendingRegistration: (res: Response) => void
  offerAccountLink: OfferAccountLink
  signedOutMarker: SignedOutMarker
  table: ProvidersTable
  notifySignInMethodChange: NotifySignInMethodChange
}

/** Links where that is due, starts the session and sends the person on. */
export type CompleteSignIn = (req: Request, res: Response, admission: SignInResult) => Promise<void>

export function createCompleteSignIn(parts: CompleteSignInParts): CompleteSignIn {
  const { sessions, identities, events, lastUsed, homePath, clearPendingRegistration } = parts
  const { offerAccountLink, signedOutMarker, table, notifySignInMethodChange } = parts

  /**
   * Links are taken back and providers disabled with the sessions of who came by them, and a provider ends what runs: the session
   * that begins just now was not among these. Its row is there by now, so that whoever comes later finds it.
   */
  async function confirmOrEnd(req: Request, { provider, identity, user, how }: SignInResult) {
    const { portal, slug, id, version } = provider
    try {
      const now = await table.find(portal, slug)
      // Undoing relinked links changes the provider before it deletes them. A link created after that removes itself here.
      if (how === 'relinked' && !(now?.id === id && now.version === version))
        await identities.unlinkRelinked(portal, identity)
      if (!(now?.id === id && now.enabled))
        throw new PortalSsoError('provider_changed', 'the provider was disabled meanwhile')
      const used = { ...identity, userId: String(user.id), providerId: id }
      if (!(await identities.touch(portal, used)))
        throw new PortalSsoError('provider_changed', 'the link was taken back meanwhile')
      if (await sessions.logoutTokens.wasSignedOut(provider, identity))
        throw new PortalSsoError('signed_out_meanwhile', 'the provider ended its session meanwhile')
    } catch (error) {
      await sessions.end(req)
      throw error
    }
  }

  return async (req, res, admission) => {
    const { provider, identity, user, how, gone, returnTo, proving } = admission
    const { portal } = provider
    // A directory without types may have numbers for ids, which a database may keep as another text (SQLite: `7.0`).
    const userId = String(user.id)
    const linking = { provider, identity, userId, relinked: how === 'relinked' }
    const about = { portal, userId, provider: provider.slug, clientAddress: req.ip }
    if (how !== 'known' && (await link(identities, linking, gone))) {
      await events.record({ kind: how === 'relinked' ? 'identity-relinked' : how, ...about })
      if (how === 'linked') notifySignInMethodChange(req, { user, provider, what: 'linked' })
    }
    const offer = await offerAccountLink(req, res, { portal, user, proving })
    if (offer === undefined) clearPendingRegistration(res)
    // A directory may make users who wait for somebody's approval.
    if (!isActive(user)) throw new PortalSsoError('user_inactive', 'the user is not active (yet)')

    await sessions.start(req, { user, provider, ...identity })
    await confirmOrEnd(req, admission)
    await events.record({ kind: 'signed-in', ...about })
    lastUsed.set(res, provider.slug)
    signedOutMarker.clear(req, res)
    res.redirect(303, offer ?? returnTo ?? homePath)
  }
}
