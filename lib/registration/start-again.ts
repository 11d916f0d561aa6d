import type { Response } from 'express'
import type { Addresses } from '../web/addresses.ts'
import type { PendingRegistration, PendingRegistrations } from './pending-registration.ts'

/**
 * There is a user by now: made in another tab, or by a faster registration. Through the provider once more, which costs the
 * person no click: so a pending registration, whoever got hold of it, never signs anybody in as a user who exists.
 */
export type StartAgain = (res: Response, pending: PendingRegistration) => void

export function createStartAgain(pendings: PendingRegistrations, addresses: Addresses): StartAgain {
  return (res, { provider, returnTo }) => {
    pendings.clear(res)
    res.redirect(303, addresses.path(`/login/${provider}`, { returnTo }))
  }
}
