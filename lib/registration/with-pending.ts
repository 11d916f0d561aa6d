import type { Request, RequestHandler, Response } from 'express'
import { PortalSsoError } from '../errors.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Refuse } from '../sign-in/refuse.ts'
import type { Addresses } from '../web/addresses.ts'
import { handle } from '../web/handle.ts'
import type { PortalOf } from '../web/portal-of.ts'
import type { PendingRegistration, PendingRegistrations } from './pending-registration.ts'

export type PendingStep = (
  req: Request,
  res: Response,
  pending: PendingRegistration,
  provider: Provider,
) => Promise<void>

export interface WithPendingParts {
  addresses: Addresses
  homePath: string
  pendings: PendingRegistrations
  portalOf: PortalOf
  refuse: Refuse
  table: ProvidersTable
}

/** Runs a step for whoever has a registration pending; everybody else is told, kindly, that there is none. */
export type WithPending = (
  act: PendingStep,
  /** who may take the step although signed in; default: nobody */
  belongsTo?: (user: Express.User, pending: PendingRegistration) => boolean,
) => RequestHandler

export function createWithPending(parts: WithPendingParts): WithPending {
  const { addresses, homePath, pendings, portalOf, refuse, table } = parts

  /** A provider that was disabled or changed meanwhile vouches for nobody any more. */
  async function stillAsItWas(pending: PendingRegistration): Promise<Provider> {
    const { portal, provider: slug, providerId, version } = pending
    const provider = await table.find(portal, slug)
    if (!provider?.enabled || provider.id !== providerId || provider.version !== version)
      throw new PortalSsoError('provider_changed', 'the provider was changed during the registration')
    return provider
  }

  return (act, belongsTo) =>
    handle(async (req, res) => {
      const portal = portalOf(req)
      const pending = await pendings.find(req, portal)
      const { asked, provider: slug, returnTo } = pending ?? {}
      // A try from there would be a sign-in, as somebody else.
      const back = asked && req.user ? addresses.path('/account/security') : undefined
      try {
        if (req.user && !(pending && belongsTo?.(req.user, pending))) {
          // Whose registration it is cannot be told any more.
          pendings.clear(res)
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
