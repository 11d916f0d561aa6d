import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { ActOptions } from '../shared/act-options.ts'
import type { Logger } from '../shared/logger.ts'
import type { Seal } from '../shared/seal.ts'
import type { PortalResolver } from '../web/request.ts'
import { cookieName, SealedCookies } from '../web/sealed-cookie.ts'
import type { PortalUrls } from '../web/urls.ts'

/** Break-glass access: opens the host's classic login to one browser when every provider fails. Each use is logged. */
export interface BreakGlass {
  /**
   * Creates a link that works once and expires after 15 minutes. The user still needs the password of the classic login.
   *
   * @throws ConfigurationError for an unknown portal
   */
  link(options?: ActOptions): Promise<{ url: string; expiresAt: Date }>
}

export interface BreakGlassParts {
  urls: PortalUrls
  events: EventLog
  logger: Logger
  oneTimeLinks: OneTimeLinks
}

export function createBreakGlass({ urls, events, logger, oneTimeLinks }: BreakGlassParts): BreakGlass {
  return {
    async link({ portal = 'default', actor = 'code' } = {}) {
      const origin = urls.origin(portal)
      const { token: ticket, expiresAt } = await oneTimeLinks.create(portal, 'break-glass', { actor })
      logger.warn({ portal, actor }, 'a link was made that opens the classic login')
      await events.record({ kind: 'break-glass', portal, actor, detail: { step: 'made' } })
      return { url: origin + urls.path('/login/break-glass', { ticket }), expiresAt }
    },
  }
}

/** Which browsers may use the classic login for a while. It needs no table: it has to work when little else does. */
export interface BreakGlassCookie {
  open(req: Request, res: Response): Promise<void>
  isOpen(req: Request): Promise<boolean>
}

/** minutes */
export const openFor = 30

export function createBreakGlassCookie(
  seal: Seal,
  secure: boolean,
  portalOf: PortalResolver,
): BreakGlassCookie {
  const name = cookieName('sso-break-glass', secure)
  const cookies = new SealedCookies<{ portal: string }>(seal, { ttlSeconds: openFor * 60, secure })
  return {
    open: async (req, res) => void (await cookies.set(res, name, { portal: portalOf(req) })),
    // Of this portal only: who may open one customer's site has nothing to say in another's.
    isOpen: async (req) => {
      const opened = await cookies.get(req, name)
      return opened !== undefined && opened.portal === portalOf(req)
    },
  }
}
