import type { Request, RequestHandler, Response } from 'express'
import type { History } from '../events/history.ts'
import type { Rebinding } from '../moving/rebind-identities.ts'
import type { Retirement } from '../moving/retire-provider.ts'
import type { ClientKeys } from '../providers/client-keys.ts'
import type { Provider } from '../providers/provider.ts'
import type { Providers } from '../providers/providers.ts'
import type { SessionActs } from '../sessions/session-acts.ts'
import type { UserDirectory } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'

/** The acts behind the pages: those that code and the CLI do, too. */
export type AdminProviders = Providers & ClientKeys & Retirement & Rebinding

export interface AdminParts {
  addresses: Addresses
  history: History
  homePath: string
  pages: Pages
  portalOf: PortalOf
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  providers: AdminProviders
  rehearsals: {
    /** @param rehearsal.returnTo the page that the report leads back to */
    begin(
      req: Request,
      res: Response,
      rehearsal: { provider: Provider; by: string; returnTo: string },
    ): Promise<void>
  }
  sessionActs: SessionActs
  users: Pick<UserDirectory, 'findByEmail' | 'findById'>
}

/** Where something is done, and by whom: the event says so. */
export function howOf(req: Request, portalOf: PortalOf): { portal: string; by: string } {
  const id = (req.user as { id?: unknown } | undefined)?.id
  const by = typeof id === 'string' || typeof id === 'number' ? String(id) : 'admin'
  return { portal: portalOf(req), by }
}

/** A text of a form or a query; what comes twice or nested is none. */
export function textOf(form: unknown, name: string): string {
  const value = (form as Record<string, unknown> | undefined)?.[name]
  return typeof value === 'string' ? value.trim() : ''
}
