import type { Request, RequestHandler } from 'express'
import type { ErrorHandler } from '../events/error-handler.ts'
import type { EventLog } from '../events/event-log.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { BreakGlass } from './break-glass.ts'

interface ClassicLoginModules {
  /** the host's own exceptions */
  readonly allowsClassic: (req: Request) => boolean
  readonly errorHandler: ErrorHandler
  readonly providersTable: ProvidersTable
}

/** Closes the host's password login while a provider is enabled, with the operator's exceptions. */
export class ClassicLogin {
  readonly breakGlass: BreakGlass
  readonly #core: Core
  readonly #modules: ClassicLoginModules

  constructor(core: Core, modules: ClassicLoginModules & { events: EventLog; oneTimeLinks: OneTimeLinks }) {
    this.breakGlass = new BreakGlass(core, modules.events, modules.oneTimeLinks)
    this.#core = core
    this.#modules = modules
  }

  /** Whether this browser may use the classic login although a provider is enabled. */
  async isAllowed(req: Request): Promise<boolean> {
    return this.#modules.allowsClassic(req) || this.breakGlass.isOpen(req)
  }

  /**
   * For the host's password handler: an attacker with a stolen password would bypass the provider's second factor. It stays
   * closed if the database does not answer.
   *
   * @param limitRefusals passes a limited number of refusals per client, because programs try many passwords
   */
  gate(limitRefusals: RequestHandler, assertOwn: Sessions['assertOwn']): RequestHandler {
    const { allowsClassic, errorHandler, providersTable } = this.#modules
    const gate = asyncHandler(async (req, _res, next) => {
      assertOwn(req)
      if (allowsClassic(req) || (await this.breakGlass.recordUse(req))) return next()
      const { breakers, portalOf } = this.#core
      if (await breakers.database.run(() => providersTable.anyEnabled(portalOf(req))))
        throw new PortalSsoError(
          'classic_login_disabled',
          'the classic login is disabled while a provider is enabled',
        )
      next()
    })
    return (req, res, next) => {
      gate(req, res, (refusal?: unknown) => {
        if (!refusal) return next()
        limitRefusals(req, res, (error?: unknown) => errorHandler.handle(error ?? refusal, req, res, next))
      })
    }
  }
}
