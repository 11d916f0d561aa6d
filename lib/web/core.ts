import type { Request } from 'express'
import type { Knex } from 'knex'
import { type Logger, sanitizingLogger } from '../shared/logger.ts'
import { Seal } from '../shared/seal.ts'
import { createPortalResolver, type PortalResolver } from './request.ts'
import { PortalUrls } from './urls.ts'

/** The infrastructure that nearly every module needs. It knows nothing about users, providers or sessions. */
export interface Core {
  readonly knex: Knex
  readonly logger: Logger
  readonly portalOf: PortalResolver
  readonly urls: PortalUrls
  /** true if every portal's origin is https */
  readonly secure: boolean
  readonly homePath: string
  /** @param purpose has keys of its own */
  seal(purpose: string): Seal
}

export interface CoreOptions {
  baseUrl: string | Readonly<Record<string, string>>
  mountPath: string
  homePath: string
  portal: ((req: Request) => string) | undefined
  secure: boolean
  /** at least one, newest first */
  secrets: readonly string[]
  logger: Logger
}

export function createCore(options: CoreOptions, knex: Knex): Core {
  return {
    knex,
    logger: sanitizingLogger(options.logger),
    portalOf: createPortalResolver(options.portal, options.baseUrl),
    urls: new PortalUrls(options.baseUrl, options.mountPath),
    secure: options.secure,
    homePath: options.homePath,
    seal: (purpose) => new Seal(options.secrets, purpose),
  }
}
