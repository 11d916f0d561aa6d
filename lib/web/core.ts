import type { Request } from 'express'
import type { Knex } from 'knex'
import { CircuitBreaker } from '../shared/circuit-breaker.ts'
import { type Logger, sanitizingLogger } from '../shared/logger.ts'
import { Outage } from '../shared/outage.ts'
import { digest, Seal } from '../shared/seal.ts'
import { SECOND } from '../shared/time.ts'
import { createPortalResolver, type PortalResolver } from './request.ts'
import { PortalUrls } from './urls.ts'

/** The infrastructure that nearly every module needs. It knows nothing about users, providers or sessions. */
export interface Core extends InstanceNames {
  readonly knex: Knex
  readonly clock: Clock
  readonly logger: Logger
  readonly breakers: Breakers
  readonly portalOf: PortalResolver
  readonly urls: PortalUrls
  /** true if every portal's origin is https */
  readonly secure: boolean
  readonly homePath: string
  /** @param purpose has keys of its own */
  seal(purpose: string): Seal
}

/** The database's time, which all instances share: `database/clock.ts`. */
export interface Clock {
  readonly offsetMs: number | undefined
  readonly isWrong: boolean
  readonly providerOffsetMs: number | undefined
  now(): number
  measure(): Promise<number>
  compareWithProvider(response: Response, askedAt: number, issuer: string): void
}

/**
 * The names of one instance of the plugin. Another instance in the same app, or a sibling application with the same Redis and secret,
 * has others, so that neither reads, overwrites or ends what belongs to this one.
 */
export interface InstanceNames {
  /** begins every Redis key */
  readonly prefix: string
  /** ends the purpose of a key that no other instance may have; empty for the default names */
  readonly keyScope: string
  /** @param kind such as `logout`; omitted for the session's cookie */
  cookieName(kind?: string): string
}

export interface CoreOptions extends InstanceNames {
  baseUrl: string | Readonly<Record<string, string>>
  mountPath: string
  homePath: string
  portal: ((req: Request) => string) | undefined
  secure: boolean
  /** at least one, newest first */
  secrets: readonly string[]
  logger: Logger
}

/** The services that the portal cannot work without. */
export interface Breakers {
  readonly database: CircuitBreaker
  readonly redis: CircuitBreaker
}

/** A callback waits for both at most once. Together with the rest of its work, it responds within two seconds. */
const databaseTimeoutMs = 1.5 * SECOND
const redisTimeoutMs = 0.8 * SECOND

export function createBreakers(knex: Knex, logger: Logger): Breakers {
  return {
    database: new CircuitBreaker({
      timeoutMs: databaseTimeoutMs,
      code: 'database_unavailable',
      outage: new Outage(logger, 'the database or the user directory', 'database_unavailable'),
      probe: () => knex.raw('select 1'),
    }),
    redis: new CircuitBreaker({
      timeoutMs: redisTimeoutMs,
      code: 'session_unavailable',
      outage: new Outage(logger, 'Redis', 'session_unavailable'),
    }),
  }
}

export function createCore(options: CoreOptions, knex: Knex, clock: Clock): Core {
  const { cookieName, keyScope, prefix } = options
  const logger = sanitizingLogger(options.logger)
  return {
    cookieName,
    keyScope,
    prefix,
    knex,
    clock,
    logger,
    breakers: createBreakers(knex, logger),
    portalOf: createPortalResolver(options.portal, options.baseUrl),
    urls: new PortalUrls(options.baseUrl, options.mountPath),
    secure: options.secure,
    homePath: options.homePath,
    seal: (purpose) => new Seal(options.secrets, purpose),
  }
}

const rootName = 'portal-sso'
// Every request carries these names, and servers refuse a `Cookie` header over 8 KB.
const maxPathName = 32

export function instanceNames({
  mountPath,
  secure,
  session,
}: Pick<CoreOptions, 'mountPath' | 'secure'> & {
  session: { cookieName?: string | undefined; prefix?: string | undefined }
}): InstanceNames {
  const ownName = nameOfMountPath(mountPath)
  const { cookieName: name = ownName, prefix = `${ownName}:` } = session
  // Pins a cookie to this host: a sibling domain cannot plant one (RFC 6265bis, 4.1.3).
  const host = secure ? '__Host-' : ''
  const kindPrefix = name === rootName ? 'sso-' : `${name}.`
  return {
    prefix,
    keyScope: name === rootName && prefix === `${rootName}:` ? '' : ` ${name} ${prefix}`,
    cookieName: (kind) => host + (kind === undefined ? name : kindPrefix + kind),
  }
}

/** A name that no other mount path has, and that is legal in a cookie's name: `/a/b` is `portal-sso.a~b`. */
function nameOfMountPath(mountPath: string): string {
  if (mountPath === '/') return rootName
  const hex = (char: string) => char.charCodeAt(0).toString(16).padStart(4, '0')
  const name = mountPath.slice(1).replace(/[^\w-]/g, (char) => (char === '/' ? '~' : `%${hex(char)}`))
  if (name.length <= maxPathName) return `${rootName}.${name}`
  return `${rootName}.${name.slice(0, 15)}!${digest(name).slice(0, 16)}`
}
