import type { Request, RequestHandler } from 'express'
import type { ErrorHandler } from '../events/error-handler.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import type { PortalResolver } from '../web/request.ts'

export interface ClassicLoginGateParts {
  /** the operator's own ways around */
  allowsClassic: (req: Request) => Promise<boolean>
  /** passes over what one client may be refused in a minute; the rest it answers itself */
  limitRefusals: RequestHandler
  errorHandler: ErrorHandler
  portalOf: PortalResolver
  table: ProvidersTable
}

/**
 * Stands before the host's password handler: while a provider is enabled, passwords are not taken. Who has a stolen one
 * would otherwise walk around the provider's second factor. When the database cannot say, it stays shut.
 */
export function createClassicLoginGate({
  allowsClassic,
  errorHandler,
  limitRefusals,
  portalOf,
  table,
}: ClassicLoginGateParts): RequestHandler {
  const gate = asyncHandler(async (req, _res, next) => {
    if (!(await allowsClassic(req)) && (await table.anyEnabled(portalOf(req))))
      throw new PortalSsoError(
        'classic_login_off',
        'the classic login is replaced while a provider is enabled',
      )
    next()
  })
  return (req, res, next) => {
    gate(req, res, (refusal?: unknown) => {
      if (!refusal) return next()
      // Programs that try passwords go on trying them: not each is worth a row.
      limitRefusals(req, res, (error?: unknown) => errorHandler.handle(error ?? refusal, req, res, next))
    })
  }
}
