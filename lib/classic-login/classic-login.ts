import type { Request, RequestHandler } from 'express'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { BreakGlassCookie } from './break-glass.ts'

interface ClassicLoginModules {
  /** the host's own exceptions */
  readonly allowsClassic: (req: Request) => boolean
  readonly breakGlassCookie: BreakGlassCookie
  readonly pages: Pages
  readonly table: ProvidersTable
}

/** Closes the host's password login while a provider is enabled, with the operator's exceptions. */
export class ClassicLogin {
  readonly #core: Core
  readonly #modules: ClassicLoginModules

  constructor(core: Core, modules: ClassicLoginModules) {
    this.#core = core
    this.#modules = modules
  }

  /** Whether this browser may use the classic login although a provider is enabled. */
  async isAllowed(req: Request): Promise<boolean> {
    const { allowsClassic, breakGlassCookie } = this.#modules
    return allowsClassic(req) || (await breakGlassCookie.isOpen(req))
  }

  /**
   * For the host's password handler: an attacker with a stolen password would bypass the provider's second factor. It stays
   * closed if the database does not answer.
   *
   * @param limitRefusals passes a limited number of refusals per client, because programs try many passwords
   */
  gate(limitRefusals: RequestHandler): RequestHandler {
    const { pages, table } = this.#modules
    const gate = asyncHandler(async (req, _res, next) => {
      if (!(await this.isAllowed(req)) && (await table.anyEnabled(this.#core.portalOf(req))))
        throw new PortalSsoError(
          'classic_login_off',
          'the classic login is disabled while a provider is enabled',
        )
      next()
    })
    return (req, res, next) => {
      gate(req, res, (refusal?: unknown) => {
        if (!refusal) return next()
        limitRefusals(req, res, (error?: unknown) => pages.onError(error ?? refusal, req, res, next))
      })
    }
  }
}
