import type { Request, Response } from 'express'
import type { Knex } from 'knex'
import { changeRows, type Sql, selectRows } from '../database/statement.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Identity } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { CircuitBreaker } from '../shared/circuit-breaker.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { BlockedIdentitiesTable } from '../users/blocked-identities-table.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import { addressOf, isActive, type User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Attempt } from './attempts.ts'
import type { BrowserHints } from './browser-hints.ts'
import type { IdentityResolver, Proof } from './decide.ts'
import type { SignInMethodNotifications } from './notify-sign-in-method.ts'
import type { PendingRegistrations } from './pending-registration.ts'
import type { ValidatedSignIn } from './provider-strategy.ts'
import type { AccountReclaim } from './reclaim-account.ts'

interface NewLink {
  provider: Provider
  identity: Identity
  user: User
  /** how the identity and the user were matched */
  outcome: 'relinked' | 'replaced' | 'linked' | 'registered'
  proof: Proof
  /** id of the row of the session in which a signed-in user links it */
  keptSession?: string | undefined
  /** a deleted user that the identity is still linked to */
  staleUserId: string | undefined
}

type LinkResult = Omit<NewLink, 'outcome'> & { outcome: 'known' | NewLink['outcome'] }

/** A user who signs in with an identity. */
export interface SignInResult extends LinkResult {
  returnTo: string | undefined
  /** the pending registration that this sign-in was started for */
  registrationId?: string | undefined
}

interface CompletionModules {
  readonly blocked: BlockedIdentitiesTable
  readonly browserHints: BrowserHints
  readonly events: EventLog
  readonly identities: IdentitiesTable
  readonly notifications: SignInMethodNotifications
  readonly pendingRegistrations: PendingRegistrations
  readonly resolver: IdentityResolver
  readonly sessions: Sessions
  readonly providersTable: ProvidersTable
  readonly reclaim: AccountReclaim
  /** whether the portal can send codes */
  readonly canVerifyEmail: boolean
}

/** Decides what happens with an identity, and does it. */
export class SignInCompletion {
  readonly #confirmation: SessionConfirmation
  readonly #core: Core
  readonly #modules: CompletionModules

  constructor(core: Core, modules: CompletionModules) {
    this.#core = core
    this.#modules = modules
    this.#confirmation = new SessionConfirmation(core, modules)
  }

  /** For an identity that a provider has just vouched for. */
  async applyDecision(
    req: Request,
    res: Response,
    received: { provider: Provider; validated: ValidatedSignIn; attempt: Attempt },
  ): Promise<void> {
    const { canVerifyEmail, pendingRegistrations, resolver } = this.#modules
    const { provider, validated, attempt } = received
    const { purpose, returnTo } = attempt
    const resolved = await resolver.resolve(validated.identity, provider, validated)
    const { decision, staleUserId, identity } = resolved
    const registrationId = purpose.kind === 'prove-account' ? purpose.registrationId : undefined
    const result = { provider, identity, staleUserId, returnTo, registrationId }
    switch (decision.kind) {
      case 'refuse':
        throw new PortalSsoError(decision.reason, 'the portal does not admit this user')
      case 'sign-in':
        // A first proof ends sessions of others, for which the provider must still be trusted.
        if (decision.proof === 'new') await this.#assertProviderUnchanged(provider)
        return await this.completeSignIn(req, res, { ...result, ...decision, outcome: 'known' })
      case 'link': {
        // The provider may have lost the operator's trust while it answered: a link would outlive the session.
        await this.#assertProviderUnchanged(provider)
        const outcome = decision.relinked ? 'relinked' : decision.replaces ? 'replaced' : 'linked'
        return await this.completeSignIn(req, res, { ...result, ...decision, outcome })
      }
      case 'prove-account':
        await this.recordWaiting(req, provider, identity, String(decision.user.id))
        break
      case 'verify-email':
        if (!canVerifyEmail)
          throw new PortalSsoError('email_unverified', 'the provider does not vouch for the e-mail address', {
            cause: validated.userInfoFailure,
          })
        break
    }
    await this.#assertProviderUnchanged(provider)
    const mustProveAccount = decision.kind === 'prove-account'
    pendingRegistrations.begin(res, { provider, identity, returnTo, mustProveAccount })
    res.redirect(303, this.#core.urls.path('/register'))
  }

  /** For the administrator, who may know that it is the same person. */
  async recordWaiting(req: Request, provider: Provider, identity: Identity, userId: string): Promise<void> {
    const { blocked, events } = this.#modules
    const { id: providerId, portal, slug } = provider
    const by = { portal, userId, provider: slug, clientAddress: req.ip }
    if (await blocked.wait({ ...identity, portal, userId, providerId }))
      await events.record({ kind: 'identity-blocked', ...by, detail: { reason: 'waiting' } })
  }

  /** Links the identity if necessary, starts the session and redirects. */
  async completeSignIn(req: Request, res: Response, result: SignInResult): Promise<void> {
    const { browserHints, events, pendingRegistrations, sessions } = this.#modules
    const { provider, identity, user, outcome, returnTo, registrationId } = result
    const { portal, slug } = provider
    const userId = String(user.id)
    if (outcome !== 'known' || result.proof === 'new') await this.link(req, result)
    const offer =
      registrationId === undefined
        ? undefined
        : await pendingRegistrations.offerAccountLink(req, res, { portal, userId, registrationId })
    if (offer === undefined) pendingRegistrations.clear(res)
    // A directory may create users who wait for an approval.
    if (!isActive(user)) throw new PortalSsoError('user_inactive', 'the user is not active (yet)')

    await sessions.start(req, { user, provider, ...identity })
    // Written first, confirmed afterwards: a logout token or a change of the provider at the same time must win.
    const relinked = outcome === 'relinked'
    await this.#confirmation.confirmOrEnd(req, { provider, identity, userId, relinked })
    await events.record({ kind: 'signed-in', portal, userId, provider: slug, clientAddress: req.ip })
    browserHints.recordSignIn(req, res, slug)
    // Not `res.redirect`, which negotiates the type of a body that no browser shows.
    res
      .status(303)
      .location(offer ?? returnTo ?? this.#core.homePath)
      .end()
  }

  /** Links the identity if necessary. The first proof of an address ends what another person may have set up before. */
  async link(req: Request, result: LinkResult): Promise<void> {
    const { identities, reclaim } = this.#modules
    const { provider, identity, proof } = result
    if (proof !== 'new') return await this.#storeLink(req, result)
    await reclaim.reclaim(req, result, async () => {
      await this.#storeLink(req, result)
      await identities.prove(provider.portal, identity, addressOf(result.user))
    })
  }

  /**
   * Does nothing if the identity is linked to that user, as after a double click.
   *
   * @throws PortalSsoError if a concurrent request linked it to another user: the first one wins
   */
  async #storeLink(req: Request, result: LinkResult): Promise<void> {
    const { blocked, events, identities, notifications } = this.#modules
    const { provider, identity, user, outcome, proof, staleUserId } = result
    if (outcome === 'known') return
    const { id: providerId, portal, slug } = provider
    const { issuer, subject, email, entra } = identity
    // A directory without types may use numbers as ids, which a database may store as another text (SQLite: `7.0`).
    const userId = String(user.id)
    const relinked = outcome === 'relinked'
    const provenEmail = proof === 'none' ? undefined : addressOf(user)
    const link = { portal, userId, providerId, issuer, subject, email, entra, relinked, provenEmail }
    if (outcome === 'replaced') {
      if (!(await identities.replaceInWindow(link, provider)))
        throw new PortalSsoError('provider_changed', 'the identity was replaced, or relinking ended')
    } else {
      const { userId: linkedTo, made } = await identities.link(link, staleUserId)
      if (linkedTo !== userId)
        throw new PortalSsoError(
          'attempt_expired',
          'a concurrent request linked the identity to another user',
        )
      if (!made) return
    }
    await blocked.unblock(portal, userId, identity)
    const kinds = { relinked: 'identity-relinked', replaced: 'identity-replaced' } as const
    const kind = outcome === 'relinked' || outcome === 'replaced' ? kinds[outcome] : outcome
    await events.record({ kind, portal, userId, provider: slug, clientAddress: req.ip })
    if (outcome === 'linked' || outcome === 'replaced')
      notifications.notify(req, { user, provider, change: outcome })
  }

  async #assertProviderUnchanged({ id, portal, slug, version }: Provider): Promise<void> {
    const found = this.#modules.providersTable.find(portal, slug)
    const current = await this.#core.breakers.database.run(found)
    if (!current?.enabled || current.id !== id || current.version !== version)
      throw new PortalSsoError('provider_changed', 'the provider was changed while it was answering')
  }
}

export interface StartedSession {
  provider: Provider
  identity: Identity
  userId: string
  /** linked a moment ago because another link has the same Entra account */
  relinked: boolean
}

type ConfirmationModules = Pick<CompletionModules, 'identities' | 'sessions' | 'providersTable'>

/**
 * Ends a session that has just started if its provider, its link or its session at the provider ended in the meantime. The
 * session's row exists by now, so anything that happens later finds it.
 */
export class SessionConfirmation {
  readonly #database: CircuitBreaker
  readonly #knex: Knex
  readonly #modules: ConfirmationModules

  constructor({ breakers, knex }: Pick<Core, 'breakers' | 'knex'>, modules: ConfirmationModules) {
    this.#database = breakers.database
    this.#knex = knex
    this.#modules = modules
  }

  async confirmOrEnd(req: Request, session: StartedSession): Promise<void> {
    try {
      // Too old for the stored logout notices: the provider may have ended its session.
      const isConfirmed =
        this.#modules.sessions.logoutTokens.covers(session.identity) &&
        (await this.#database.run(this.#confirm(session)))
      if (!isConfirmed) throw await this.#database.run(this.#findReason(session))
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
    const { sessions } = this.#modules
    const now = new Date().toISOString()
    const notices = sessions.logoutTokens.noticesFor(provider, identity)
    const earlier = relinked ? earlierLinks(session) : undefined
    // MySQL cannot update a table that the same statement reads directly.
    const hasEarlier = earlier ? `and exists (select earlier.id from (${earlier.sql}) earlier)` : ''
    const sql = `update sso_identities set last_used_at = ?, provider_id = ? ${entra ? setEntraAccount : ''}
      where portal = ? and issuer = ? and subject = ? and user_id = ?
      and exists (${enabledRow}) and not exists (${notices.sql}) ${hasEarlier}`
    const bindings = [
      ...[now, id, ...(entra ? [entra.tenantId, entra.objectId] : [])],
      ...[portal, issuer, subject, userId],
      ...[id, portal, slug, version, now],
      ...[...notices.bindings, ...(earlier?.bindings ?? [])],
    ]
    return (await changeRows(this.#knex, { sql, bindings })) === 1
  }

  async #findReason(session: StartedSession): Promise<PortalSsoError> {
    const { provider, identity, userId, relinked } = session
    const { identities, providersTable } = this.#modules
    const { portal, slug, id, version } = provider
    const current = await providersTable.find(portal, slug)
    const isUnchanged = current?.id === id && current.version === version
    const isLinked =
      (await identities.findUserId(portal, identity)) === userId &&
      (!relinked || (await selectRows(this.#knex, earlierLinks(session))).length > 0)
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

// Both are set at once, and never replaced.
const setEntraAccount = ', tenant_id = coalesce(tenant_id, ?), object_id = coalesce(object_id, ?)'
const enabledRow = `select id from sso_providers where id = ? and portal = ? and slug = ? and version = ? and enabled = true
  and removed_at is null and (retire_at is null or retire_at > ?)`

/** The links that a relinking is based on: unless one is left, the user has removed the account in the meantime. */
function earlierLinks({ provider: { portal }, identity, userId }: StartedSession): Sql {
  const { issuer, subject, entra } = identity
  const sql = `select id from sso_identities where portal = ? and issuer = ? and user_id = ? and tenant_id = ? and object_id = ?
    and subject <> ?`
  const bindings = [portal, issuer, userId, entra?.tenantId ?? '', entra?.objectId ?? '', subject]
  return { sql, bindings }
}
