import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { cookieName, createSealedCookies } from '../web/sealed-cookie.ts'

/** Which browsers may use the classic login for a while. It needs no table: it has to work when little else does. */
export interface BrokenGlass {
  open(req: Request, res: Response): Promise<void>
  isOpen(req: Request): Promise<boolean>
}

/** minutes */
export const openFor = 30

export function createBrokenGlass(seal: Seal, secure: boolean, portalOf: PortalOf): BrokenGlass {
  const name = cookieName('sso-break-glass', secure)
  const cookies = createSealedCookies<{ portal: string }>(seal, { lifetime: openFor * 60, secure })
  return {
    open: async (req, res) => void (await cookies.set(res, name, { portal: portalOf(req) })),
    // Of this portal only: who may open one customer's site has nothing to say in another's.
    isOpen: async (req) => {
      const opened = await cookies.get(req, name)
      return opened !== undefined && opened.portal === portalOf(req)
    },
  }
}
