import type { Request, Response } from 'express'
import { isIssuerOf, possibleIssuers } from '../providers/issuer.ts'
import { type Provider, providerName } from '../providers/provider.ts'
import { type ProvidersTable, providersPerPage } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { providerMark } from '../sign-in/picker-route.ts'
import type { ValidatedSignIn } from '../sign-in/provider-strategy.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import { isSameEntraAccount, type LinkedIdentity } from '../users/identities-table.ts'
import type { User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'
import type { Core } from '../web/core.ts'

interface AccountModules {
  readonly providersTable: ProvidersTable
  readonly signIn: SignIn
  readonly users: Users
}

/** A user's own sign-in methods. It never starts a session. */
export class Account {
  readonly #core: Core
  readonly #modules: AccountModules

  constructor(core: Core, modules: AccountModules) {
    this.#core = core
    this.#modules = modules
  }

  async listMethods(portal: string, userId: string, locale: { lang: string }) {
    const linked = await this.#modules.users.identities.listOf(portal, userId)
    const providers = await this.#providersOf(portal, linked)
    const lasting = linked.filter((identity) => keepsWorking(identity, linked, providers))
    // All links of one Entra account are one method: the link that was used last stands for them.
    const shown = linked.filter((identity) => !linked.some((other) => isNewerLink(other, identity)))
    return shown.map((identity) => {
      const provider = providerOf(identity, providers)
      const displayName = provider ? providerName(provider, locale) : new URL(identity.issuer).host
      return {
        id: identity.id,
        provider: provider?.slug,
        displayName,
        ...providerMark(provider, displayName, this.#core.urls),
        email: identity.email,
        linkedAt: identity.linkedAt,
        lastUsedAt: identity.lastUsedAt,
        /** whether the user can sign in with it now */
        available: acceptingProvider(identity, providers) !== undefined,
        /** false for the last one that keeps working */
        removable: lasting.some((other) => other !== identity && !isSameEntraAccount(other, identity)),
      }
    })
  }

  /** The providers of these identities, and others of the same issuer in place of removed ones. */
  async #providersOf(portal: string, linked: readonly LinkedIdentity[]): Promise<Provider[]> {
    const { providersTable } = this.#modules
    const named = await providersTable.list(portal, { ids: linked.map(({ providerId }) => providerId) })
    const orphans = linked.filter(({ providerId }) => !named.some(({ id }) => id === providerId))
    if (orphans.length === 0) return named
    const issuers = orphans.flatMap(({ issuer }) => possibleIssuers(issuer))
    return [...named, ...(await providersTable.list(portal, { issuers, limit: providersPerPage }))]
  }

  /**
   * Removes a sign-in method unless no other one would keep working.
   *
   * @returns `last`; `gone`; or the removed method, with several subjects if it was an Entra account
   */
  async unlinkMethod(portal: string, userId: string, id: string) {
    const { users } = this.#modules
    const providers = await this.#providersOf(portal, await users.identities.listOf(portal, userId))
    const isUsable = (identity: LinkedIdentity, linked: readonly LinkedIdentity[]) =>
      keepsWorking(identity, linked, providers)
    const unlinked = await users.identities.unlink(portal, userId, id, isUsable)
    if (typeof unlinked === 'string') return unlinked
    const { identity, subjects } = unlinked
    return { issuer: identity.issuer, subjects, provider: providerOf(identity, providers) }
  }

  /**
   * Finishes an attempt to link another provider. It links nothing yet: the provider may have answered with an account that
   * another user left signed in there. A page names the account and asks.
   *
   * @param added.userId the user who started the attempt
   */
  async addSignInMethod(
    req: Request,
    res: Response,
    added: { provider: Provider; validated: ValidatedSignIn; userId: string },
  ): Promise<void> {
    const { provider, validated, userId } = added
    const { identity } = validated
    const { portal } = provider
    const { urls } = this.#core
    const { signIn, users } = this.#modules
    if (!req.user || String((req.user as User).id) !== userId)
      throw new PortalSsoError('attempt_expired', 'another user, or nobody, is signed in now')
    const linkedTo = await users.identities.findUserId(portal, identity)
    if (linkedTo === userId) return res.redirect(303, urls.path('/account/security', { notice: 'known' }))
    const holder =
      linkedTo === undefined
        ? await signIn.resolver.findEntraUser(identity, portal)
        : await users.findById(linkedTo, portal)
    if (holder && String(holder.id) !== userId)
      throw new PortalSsoError('identity_taken', 'the identity is linked to another user')
    signIn.pendingRegistrations.begin(res, {
      provider,
      identity: await validated.complete(),
      returnTo: urls.path('/account/security'),
      provedUserId: userId,
      requestedByUser: true,
    })
    res.redirect(303, urls.path('/register/link'))
  }
}

/**
 * The enabled provider that this identity last signed in with, if it still accepts the issuer. Another row does not count: it may
 * know its users by other subjects, even with the same issuer (Entra: one subject per app registration).
 */
function acceptingProvider(identity: LinkedIdentity, providers: readonly Provider[]): Provider | undefined {
  const { issuer, providerId } = identity
  return providers.find(
    (provider) => provider.enabled && provider.id === providerId && isIssuerOf(provider, issuer),
  )
}

/** A user whose only method retires, or was replaced by a new subject, would be locked out. */
function keepsWorking(
  identity: LinkedIdentity,
  linked: readonly LinkedIdentity[],
  providers: readonly Provider[],
): boolean {
  const provider = acceptingProvider(identity, providers)
  return (
    provider !== undefined &&
    provider.retireAt === undefined &&
    !linked.some((other) => replaces(other, identity))
  )
}

/** Whether it is the same account under a newer subject. The provider has issued the older one no more since. */
function replaces(newer: LinkedIdentity, older: LinkedIdentity): boolean {
  if (newer.providerId !== older.providerId || newer.lastUsedAt <= older.lastUsedAt) return false
  if (newer.entra && older.entra) return isSameEntraAccount(newer, older)
  return newer.email !== undefined && newer.email === older.email
}

function isNewerLink(newer: LinkedIdentity, older: LinkedIdentity): boolean {
  return isSameEntraAccount(newer, older) && newer.lastUsedAt > older.lastUsedAt
}

/** For display: falls back to a provider with the same issuer. */
function providerOf(identity: LinkedIdentity, providers: readonly Provider[]): Provider | undefined {
  return (
    providers.find(({ id }) => id === identity.providerId) ??
    providers.find((provider) => isIssuerOf(provider, identity.issuer))
  )
}
