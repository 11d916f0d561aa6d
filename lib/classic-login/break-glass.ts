import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { ActOptions } from '../shared/act-options.ts'
import type { Core } from '../web/core.ts'
import type { PortalResolver } from '../web/request.ts'
import { cookieName, SealedCookies } from '../web/sealed-cookie.ts'

/** Emergency access if every provider fails: opens the classic login to one browser, for a limited time, with a warning. */
export class BreakGlass {
  readonly #core: Core
  readonly #events: EventLog
  readonly #oneTimeLinks: OneTimeLinks

  constructor(core: Core, events: EventLog, oneTimeLinks: OneTimeLinks) {
    this.#core = core
    this.#events = events
    this.#oneTimeLinks = oneTimeLinks
  }

  /** Creates a single-use URL that expires after 15 minutes. Its user still needs a password of the classic login. */
  async link({ portal = 'default', actor = 'code' }: ActOptions = {}): Promise<{
    url: string
    expiresAt: Date
  }> {
    const { logger, urls } = this.#core
    const origin = urls.origin(portal)
    const { token: ticket, expiresAt } = await this.#oneTimeLinks.create(portal, 'break-glass', { actor })
    logger.warn({ portal, actor }, 'a link was created that opens the classic login')
    await this.#events.record({ kind: 'break-glass', portal, actor, detail: { step: 'made' } })
    return { url: origin + urls.path('/login/break-glass', { ticket }), expiresAt }
  }
}

/** The classic login stays open to a browser this long. */
export const openMinutes = 30

/** Marks browsers that may use the classic login. It needs no table, because it has to work when little else does. */
export class BreakGlassCookie {
  readonly #cookies: SealedCookies<{ portal: string }>
  readonly #name: string
  readonly #portalOf: PortalResolver

  constructor({ portalOf, seal, secure }: Pick<Core, 'portalOf' | 'seal' | 'secure'>) {
    this.#cookies = new SealedCookies(seal('break-glass'), { ttlSeconds: openMinutes * 60, secure })
    this.#name = cookieName('sso-break-glass', secure)
    this.#portalOf = portalOf
  }

  async open(req: Request, res: Response): Promise<void> {
    await this.#cookies.set(res, this.#name, { portal: this.#portalOf(req) })
  }

  /** Valid for one portal only: access to one customer's site gives none to another's. */
  async isOpen(req: Request): Promise<boolean> {
    const opened = await this.#cookies.get(req, this.#name)
    return opened !== undefined && opened.portal === this.#portalOf(req)
  }
}
