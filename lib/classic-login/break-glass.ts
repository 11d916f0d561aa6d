import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import { type ActOptions, type ResolvedActOptions, resolveActOptions } from '../shared/act-options.ts'
import type { Core } from '../web/core.ts'
import { SealedCookies } from '../web/sealed-cookie.ts'

/** The classic login stays open to a browser this long. */
export const openMinutes = 30

/**
 * Emergency access if every provider fails: opens the classic login to one browser, for a limited time, with a warning. A sealed
 * cookie marks that browser, because it has to work when little else does.
 */
export class BreakGlass {
  readonly #core: Core
  readonly #events: EventLog
  readonly #oneTimeLinks: OneTimeLinks
  readonly #cookies: SealedCookies<{ portal: string; actor: string }>
  readonly #cookieName: string

  constructor(core: Core, events: EventLog, oneTimeLinks: OneTimeLinks) {
    this.#core = core
    this.#events = events
    this.#oneTimeLinks = oneTimeLinks
    this.#cookies = new SealedCookies(core, 'break-glass', { ttlSeconds: openMinutes * 60 })
    this.#cookieName = core.cookieName('break-glass')
  }

  /** Creates a single-use URL that expires after 15 minutes. Its user still needs a password of the classic login. */
  async link({ portal, actor }: ResolvedActOptions): Promise<{ url: string; expiresAt: Date }> {
    const { logger, urls } = this.#core
    const origin = urls.origin(portal)
    const { token, expiresAt } = await this.#oneTimeLinks.create(portal, 'break-glass', { actor })
    logger.warn({ portal, actor }, 'a link was created that opens the classic login')
    await this.#events.record({ kind: 'break-glass', portal, actor, detail: { step: 'made' } })
    return { url: origin + urls.path('/login/break-glass', { token }), expiresAt }
  }

  /** @param actor who created the link */
  open(req: Request, res: Response, actor: string): void {
    this.#cookies.set(res, this.#cookieName, { portal: this.#core.portalOf(req), actor })
  }

  isOpen(req: Request): boolean {
    return this.#openedBy(req) !== undefined
  }

  /** Like `isOpen`, and records that a password was posted. */
  async recordUse(req: Request): Promise<boolean> {
    const actor = this.#openedBy(req)
    if (actor === undefined) return false
    const use = { portal: this.#core.portalOf(req), actor, clientAddress: req.ip }
    this.#core.logger.warn(use, 'a password was posted under break-glass access')
    await this.#events.record({ kind: 'break-glass', ...use, detail: { step: 'password-posted' } })
    return true
  }

  /** Valid for one portal only: access to one customer's site gives none to another's. */
  #openedBy(req: Request): string | undefined {
    const opened = this.#cookies.get(req, this.#cookieName)
    return opened?.portal === this.#core.portalOf(req) ? opened.actor : undefined
  }
}

/** Emergency access, for code and the command line. */
export class BreakGlassApi {
  readonly #breakGlass: BreakGlass
  readonly #portal: string

  /** @internal */
  constructor(breakGlass: BreakGlass, portal = 'default') {
    this.#breakGlass = breakGlass
    this.#portal = portal
  }

  /** A URL that opens the classic login to one browser for half an hour. It works once and expires after 15 minutes. */
  async link(options: ActOptions = {}): Promise<{ url: string; expiresAt: Date }> {
    return await this.#breakGlass.link(resolveActOptions(options, this.#portal))
  }
}
