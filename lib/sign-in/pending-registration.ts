import { randomUUID } from 'node:crypto'
import type { Request, RequestHandler, Response } from 'express'
import { type Identity, trustedEmail } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Seal } from '../shared/seal.ts'
import type { User } from '../users/user-directory.ts'
import { asyncHandler } from '../web/handler.ts'
import type { PortalResolver } from '../web/request.ts'
import { cookieName, SealedCookies } from '../web/sealed-cookie.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { Refuse } from './refuse.ts'

/** A code under way: whose it is and where it went. Its id is known to the person's sealed cookie only. */
export interface VerificationCode {
  id: string
  /** normal form */
  email: string
}

/** A person who came from a provider, but has not registered yet, or has to prove an address first. */
export interface PendingRegistration {
  id: string
  portal: string
  /** slug, id and version of the provider when it vouched: one connected anew under the same slug is another */
  provider: string
  providerId: string
  version: number
  identity: Identity
  returnTo?: string | undefined
  /** the code that the person is to enter */
  sent?: VerificationCode | undefined
  /** the address that the person proved by a code */
  proven?: string | undefined
  /** id of the user as whom its owner signed in, to show who they are here */
  provedUserId?: string | undefined
  /** that user, signed in before, asked for it: good for their yes or no, and for no registration or sign-in */
  asked?: boolean | undefined
}

export interface PendingRegistrations {
  /** In place of one that is there. */
  begin(res: Response, pending: Omit<PendingRegistration, 'id'>): Promise<void>
  keep(res: Response, pending: PendingRegistration): Promise<void>
  /** @returns the one that waits in this browser, of this portal only */
  find(req: Request, portal: string): Promise<PendingRegistration | undefined>
  clear(res: Response): void
}

/** seconds for each step */
const lifetime = 1800
// bytes. Sealing makes a third more of it: with the attempts the header has its bounds, see attempts.ts.
const longest = 2300
// What is given up for that, in this order: without the hint a logout asks once more, without the deep link the portal's home
// shows, and a name is typed in. Who it is stays.
const dispensable = ['logoutHint', 'returnTo', 'name'] as const

/**
 * In a sealed cookie, not in a session: who planted a session id into this browser would otherwise find the pending
 * registration there and finish it in his own name.
 */
export function createPendingRegistrations(seal: Seal, secure: boolean): PendingRegistrations {
  const name = cookieName('sso-registration', secure)
  const cookies = new SealedCookies<PendingRegistration>(seal, { ttlSeconds: lifetime, secure })

  async function keep(res: Response, pending: PendingRegistration): Promise<void> {
    await cookies.set(res, name, fitted(pending))
  }

  return {
    begin: (res, pending) => keep(res, { ...pending, id: randomUUID() }),
    keep,
    async find(req, portal) {
      const pending = await cookies.get(req, name)
      return pending?.portal === portal ? pending : undefined
    },
    clear: (res) => cookies.clear(res, name),
  }
}

function fitted(pending: PendingRegistration): PendingRegistration {
  let kept = pending
  for (const each of dispensable) if (byteLength(kept) > longest) kept = without(kept, each)
  return kept
}

function byteLength(pending: PendingRegistration): number {
  return Buffer.byteLength(JSON.stringify(pending))
}

function without(pending: PendingRegistration, part: (typeof dispensable)[number]): PendingRegistration {
  if (part === 'returnTo') return { ...pending, returnTo: undefined }
  return { ...pending, identity: { ...pending.identity, [part]: part === 'logoutHint' ? '' : undefined } }
}

/**
 * How the account at the provider is named to a person: on every page that may connect it, for on a shared machine it may be
 * somebody else's. Never by an address alone, which may be a claim that was made to look like the reader's own.
 */
export function accountLabel({ identity }: PendingRegistration) {
  const { name, email, emailTrusted, subject } = identity
  return { name: name ?? subject, email, emailTrusted }
}

/** The address to register with, once it is certain. */
export function addressOf({ identity, proven }: PendingRegistration): string | undefined {
  return trustedEmail(identity, proven)
}

/** Hands a person over to the registration: who is new, or has to prove an address first. */
export type StartRegistration = (
  req: Request,
  res: Response,
  person: { provider: Provider; identity: Identity; returnTo: string | undefined },
) => Promise<void>

/** Takes a person over from the sign-in: who they are goes into a sealed cookie, they to the step that is due. */
export function createStartRegistration(
  pendingRegistrations: PendingRegistrations,
  urls: PortalUrls,
): StartRegistration {
  return async (_req, res, { provider, identity, returnTo }) => {
    const { id: providerId, portal, slug, version } = provider
    await pendingRegistrations.begin(res, { portal, provider: slug, providerId, version, identity, returnTo })
    res.redirect(303, urls.path('/register'))
  }
}

/**
 * There is a user by now: made in another tab, or by a faster registration. Through the provider once more, which costs the
 * person no click: so a pending registration, whoever got hold of it, never signs anybody in as a user who exists.
 */
export type RestartSignIn = (res: Response, pending: PendingRegistration) => void

export function createRestartSignIn(
  pendingRegistrations: PendingRegistrations,
  urls: PortalUrls,
): RestartSignIn {
  return (res, { provider, returnTo }) => {
    pendingRegistrations.clear(res)
    res.redirect(303, urls.path(`/login/${provider}`, { returnTo }))
  }
}

/**
 * Offers the person who has just signed in to link the registration that waits in this browser, if it is the one that the
 * attempt was begun for.
 *
 * @returns the page that asks; `undefined` when there is nothing to offer
 */
export type OfferAccountLink = (
  req: Request,
  res: Response,
  proved: { portal: string; user: User; proving: string | undefined },
) => Promise<string | undefined>

/**
 * After a sign-in that was begun from the proof pages. Somebody may have started a registration on a shared machine and
 * walked away: an ordinary sign-in there carries no id and offers nothing, and this one does not link yet, it asks.
 */
export function createOfferAccountLink(
  pendingRegistrations: PendingRegistrations,
  urls: PortalUrls,
): OfferAccountLink {
  return async (req, res, { portal, user, proving }) => {
    if (proving === undefined) return undefined
    const pending = await pendingRegistrations.find(req, portal)
    // What somebody who was signed in asked for is theirs alone.
    if (pending?.id !== proving || pending.asked) return undefined
    await pendingRegistrations.keep(res, { ...pending, provedUserId: String(user.id) })
    return urls.path('/register/link')
  }
}

export type RegistrationStep = (
  req: Request,
  res: Response,
  pending: PendingRegistration,
  provider: Provider,
) => Promise<void>

export interface WithPendingParts {
  urls: PortalUrls
  homePath: string
  pendingRegistrations: PendingRegistrations
  portalOf: PortalResolver
  refuse: Refuse
  table: ProvidersTable
}

/** Runs a step for whoever has a registration pending; everybody else is told, kindly, that there is none. */
export type WithPending = (
  act: RegistrationStep,
  /** who may take the step although signed in; default: nobody */
  belongsTo?: (user: Express.User, pending: PendingRegistration) => boolean,
) => RequestHandler

export function createWithPending(parts: WithPendingParts): WithPending {
  const { urls, homePath, pendingRegistrations, portalOf, refuse, table } = parts

  /** A provider that was disabled or changed meanwhile vouches for nobody any more. */
  async function stillAsItWas(pending: PendingRegistration): Promise<Provider> {
    const { portal, provider: slug, providerId, version } = pending
    const provider = await table.find(portal, slug)
    if (!provider?.enabled || provider.id !== providerId || provider.version !== version)
      throw new PortalSsoError('provider_changed', 'the provider was changed during the registration')
    return provider
  }

  return (act, belongsTo) =>
    asyncHandler(async (req, res) => {
      const portal = portalOf(req)
      const pending = await pendingRegistrations.find(req, portal)
      const { asked, provider: slug, returnTo } = pending ?? {}
      // A try from there would be a sign-in, as somebody else.
      const back = asked && req.user ? urls.path('/account/security') : undefined
      try {
        if (req.user && !(pending && belongsTo?.(req.user, pending))) {
          // Whose registration it is cannot be told any more.
          pendingRegistrations.clear(res)
          return res.redirect(303, homePath)
        }
        // What a user asked for who is gone since is no registration of whoever sits there now.
        if (!pending || (pending.asked && !belongsTo))
          throw new PortalSsoError('registration_gone', 'this browser has no pending registration')
        await act(req, res, pending, await stillAsItWas(pending))
      } catch (error) {
        await refuse(req, res, error, { portal, provider: slug, returnTo, back })
      }
    })
}
