import type { Request, Response } from 'express'
import type { Identity } from '../oidc/identity.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { findEntraUser } from '../sign-in/decide.ts'
import type { PendingRegistrations } from '../sign-in/pending-registration.ts'
import { hueOf, monogramOf } from '../sign-in/picker-route.ts'
import { type IdentitiesTable, isSameEntraAccount, type LinkedIdentity } from '../users/identities-table.ts'
import type { User, UserDirectory } from '../users/user-directory.ts'
import type { PortalUrls } from '../web/urls.ts'

/** A way in which somebody signs in. */
export interface Method {
  /** of the identity */
  id: string
  /** slug, as far as it is known */
  provider: string | undefined
  displayName: string
  logo: string | undefined
  monogram: string
  hue: number
  email: string | undefined
  /** ISO 8601 */
  linkedAt: string
  /** ISO 8601 */
  lastUsedAt: string
  /** `off`: nobody signs in with it now */
  state: 'on' | 'off'
  /** the last one that goes on letting its person in stays */
  removable: boolean
}

export interface SignInMethods {
  of(portal: string, userId: string): Promise<Method[]>
  /**
   * Takes one away, unless no other one would go on letting its person in.
   *
   * @returns what it was; `last`; or `gone`
   */
  unlink(portal: string, userId: string, id: string): Promise<Unlinked | 'last' | 'gone'>
}

export interface Unlinked {
  issuer: string
  /** one, or all that the Entra account had */
  subjects: readonly string[]
  /** if it still exists */
  provider: Pick<Provider, 'slug' | 'displayName'> | undefined
}

export interface SignInMethodsParts {
  identities: IdentitiesTable
  table: ProvidersTable
}

export function createSignInMethods({ identities, table }: SignInMethodsParts): SignInMethods {
  return {
    async of(portal, userId) {
      const [linked, providers] = [await identities.listOf(portal, userId), await table.list(portal)]
      const lasting = linked.filter((identity) => lasts(identity, linked, providers))
      // All links of one Entra account are one method: the link that was used last stands for them.
      const shown = linked.filter((identity) => !linked.some((other) => replaces(other, identity)))
      return shown.map((identity) => {
        const provider = providerOf(identity, providers)
        const displayName = provider?.displayName ?? new URL(identity.issuer).host
        return {
          id: identity.id,
          provider: provider?.slug,
          displayName,
          logo: provider && presetOf(provider.preset)?.logo,
          monogram: monogramOf(displayName),
          hue: provider ? hueOf(provider) : 0,
          email: identity.email,
          linkedAt: identity.linkedAt,
          lastUsedAt: identity.lastUsedAt,
          state: opener(identity, providers) ? 'on' : 'off',
          removable: lasting.some((other) => other !== identity && !isSameEntraAccount(other, identity)),
        }
      })
    },
    async unlink(portal, userId, id) {
      const providers = await table.list(portal)
      const unlinked = await identities.unlink(portal, userId, id, (identity, linked) =>
        lasts(identity, linked, providers),
      )
      if (typeof unlinked === 'string') return unlinked
      const { identity, subjects } = unlinked
      return { issuer: identity.issuer, subjects, provider: providerOf(identity, providers) }
    },
  }
}

/**
 * As a sign-in is judged, and only of the provider that it came by last, which has shown that it lets its person in: one that was
 * connected anew may know everybody by other subjects, though its issuer is the same (Entra: one for each registration), and one
 * that was led to another issuer, or does not take the tenant any more, lets nobody in by what was linked before.
 */
function opener(
  { issuer, providerId }: LinkedIdentity,
  providers: readonly Provider[],
): Provider | undefined {
  return providers.find(
    (provider) => provider.enabled && provider.id === providerId && isIssuerOf(provider, issuer),
  )
}

/** Who keeps the one whose provider has a last day is locked out on that day; and who keeps one of before at once. */
function lasts(
  identity: LinkedIdentity,
  linked: readonly LinkedIdentity[],
  providers: readonly Provider[],
): boolean {
  const provider = opener(identity, providers)
  return (
    provider !== undefined &&
    provider.retireAt === undefined &&
    !linked.some((other) => isAnew(other, identity))
  )
}

/**
 * Whether it is the same account under another subject, which a provider gives out where its client was replaced: the one of before
 * has not been seen since, and is not known there any more.
 */
function isAnew(now: LinkedIdentity, before: LinkedIdentity): boolean {
  if (now.providerId !== before.providerId || now.lastUsedAt <= before.lastUsedAt) return false
  if (now.entra && before.entra) return isSameEntraAccount(now, before)
  return now.email !== undefined && now.email === before.email
}

function replaces(now: LinkedIdentity, before: LinkedIdentity): boolean {
  return isSameEntraAccount(now, before) && now.lastUsedAt > before.lastUsedAt
}

/** For its name; of one that was connected anew the issuer tells. */
function providerOf(identity: LinkedIdentity, providers: readonly Provider[]): Provider | undefined {
  return (
    providers.find(({ id }) => id === identity.providerId) ??
    providers.find((provider) => isIssuerOf(provider, identity.issuer))
  )
}

/** Ends a sign-in with another provider that somebody who is signed in wants to use from now on. It signs nobody in. */
export type EndLinking = (
  req: Request,
  res: Response,
  came: { provider: Provider; identity: Identity; linking: string },
) => Promise<void>

export interface EndLinkingParts {
  urls: PortalUrls
  identities: IdentitiesTable
  pendingRegistrations: PendingRegistrations
  users: UserDirectory
}

/**
 * Nothing is linked yet. The provider may have answered with an account that somebody else left signed in there, who would from
 * then on come in as this person: so the page that asks after every proof by a sign-in says whose it is, and waits for a yes.
 */
export function createEndLinking({
  urls,
  identities,
  pendingRegistrations,
  users,
}: EndLinkingParts): EndLinking {
  const account = urls.path('/account/security')
  return async (req, res, { provider, identity, linking }) => {
    const { id: providerId, portal, slug, version } = provider
    if (!req.user || String((req.user as User).id) !== linking)
      throw new PortalSsoError('attempt_gone', 'who began to link is not the one who is signed in here now')
    const linkedTo = await identities.findUserId(portal, identity)
    if (linkedTo === linking) return res.redirect(303, urls.path('/account/security', { said: 'known' }))
    const holder =
      linkedTo === undefined
        ? await findEntraUser(identity, portal, { identities, users })
        : await users.findById(linkedTo, portal)
    if (holder && String(holder.id) !== linking)
      throw new PortalSsoError('identity_taken', 'the identity is linked to another user')
    const asked = { identity, returnTo: account, provedUserId: linking, asked: true }
    await pendingRegistrations.begin(res, { portal, provider: slug, providerId, version, ...asked })
    res.redirect(303, urls.path('/register/link'))
  }
}
