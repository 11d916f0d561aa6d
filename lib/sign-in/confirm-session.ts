import type { Request } from 'express'
import type { Knex } from 'knex'
import type { Identity } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'

export interface StartedSession {
  provider: Provider
  identity: Identity
  userId: string
  /** linked a moment ago because another link has the same Entra account */
  relinked: boolean
}

interface ConfirmationModules {
  readonly identities: IdentitiesTable
  readonly sessions: Sessions
  readonly providersTable: ProvidersTable
}

/**
 * Ends a session that has just started if its provider, its link or its session at the provider ended in the meantime. The
 * session's row exists by now, so anything that happens later finds it.
 */
export class SessionConfirmation {
  readonly #knex: Knex
  readonly #modules: ConfirmationModules

  constructor(knex: Knex, modules: ConfirmationModules) {
    this.#knex = knex
    this.#modules = modules
  }

  async confirmOrEnd(req: Request, session: StartedSession): Promise<void> {
    try {
      // Too old for the stored logout notices: the provider may have ended its session.
      const isConfirmed =
        this.#modules.sessions.logoutTokens.covers(session.identity) && (await this.#confirm(session))
      if (!isConfirmed) throw await this.#findReason(session)
    } catch (error) {
      await this.#modules.sessions.end(req)
      throw error
    }
  }

  /** Checks all conditions in one statement, and records the use of the link. */
  async #confirm(session: StartedSession): Promise<boolean> {
    const { provider, identity, userId, relinked } = session
    const { id, portal, slug, version } = provider
    const { issuer, subject, entra } = identity
    const now = new Date().toISOString()
    // Both are set at once, and never replaced.
    const account = entra && {
      tenant_id: this.#knex.raw('coalesce(tenant_id, ?)', [entra.tenantId]),
      object_id: this.#knex.raw('coalesce(object_id, ?)', [entra.objectId]),
    }
    const enabledRow = this.#knex('sso_providers')
      .select('id')
      .where({ id, portal, slug, version, enabled: true })
      .whereNull('removed_at')
      .whereRaw('(retire_at is null or retire_at > ?)', [now])
    const link = this.#knex('sso_identities')
      .where({ portal, issuer, subject, user_id: userId })
      .whereExists(enabledRow)
      .whereNotExists(this.#modules.sessions.logoutTokens.noticesFor(provider, identity))
    if (relinked) link.whereExists(this.#earlierLinks(session))
    return (await link.update({ last_used_at: now, provider_id: id, ...account })) === 1
  }

  /** The links that a relinking is based on: unless one is left, the user has removed the account in the meantime. */
  #earlierLinks({ provider: { portal }, identity, userId }: StartedSession): Knex.QueryBuilder {
    const { issuer, subject, entra } = identity
    return this.#knex('sso_identities as earlier')
      .select('earlier.id')
      .where({ 'earlier.portal': portal, 'earlier.issuer': issuer, 'earlier.user_id': userId })
      .where({ 'earlier.tenant_id': entra?.tenantId ?? '', 'earlier.object_id': entra?.objectId ?? '' })
      .whereNot('earlier.subject', subject)
  }

  async #findReason(session: StartedSession): Promise<PortalSsoError> {
    const { provider, identity, userId, relinked } = session
    const { identities, providersTable } = this.#modules
    const { portal, slug, id, version } = provider
    const current = await providersTable.find(portal, slug)
    const isUnchanged = current?.id === id && current.version === version
    const isLinked =
      (await identities.findUserId(portal, identity)) === userId &&
      (!relinked || (await this.#earlierLinks(session).first()) !== undefined)
    // The account is removed, or relinking undone, before its links are deleted. A link created after that removes itself here.
    if (relinked && !(isUnchanged && isLinked)) await identities.unlinkRelinked(portal, identity)
    if (!isUnchanged || !current.enabled)
      return new PortalSsoError('provider_changed', 'the provider was changed during the sign-in')
    if (!isLinked) return new PortalSsoError('provider_changed', 'the link was deleted during the sign-in')
    return new PortalSsoError(
      'signed_out_during_sign_in',
      'the provider ended its session during the sign-in',
    )
  }
}
