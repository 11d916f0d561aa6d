import type { Knex } from 'knex'
import type { Logger } from '../shared/logger.ts'
import type { Seal } from '../shared/seal.ts'
import type { PortalResolver } from './request.ts'
import type { PortalUrls } from './urls.ts'

/** Plain infrastructure that nearly every module needs. */
export interface Core {
  readonly knex: Knex
  readonly logger: Logger
  readonly portalOf: PortalResolver
  readonly urls: PortalUrls
  /** true on https */
  readonly secure: boolean
  /** the portal's start page */
  readonly homePath: string
  /** Keys for one purpose, derived from the operator's secrets. */
  seal(purpose: string): Seal
}
