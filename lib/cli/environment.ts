import { userInfo } from 'node:os'
import type { Knex } from 'knex'
import { createPortalSso, type PortalSso } from '../create-portal-sso.ts'
import { connectDatabase } from '../database/connect.ts'
import { isAddressRange } from '../oidc/address-rules.ts'
import { isOrigin } from '../options.ts'
import type { SecretReferenceOptions } from '../providers/secret-references.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { UsersTable } from '../users/users-table.ts'

/** Settings of the commands, from environment variables. */
export interface Environment {
  /** `DATABASE_URL`, default `sqlite:portal-sso.sqlite3` in this folder */
  databaseUrl: string
  /** `BASE_URL`, default `http://localhost:3000` */
  baseUrl: string
  /** `MOUNT_PATH`, default `/` */
  mountPath: string
  /** `SSO_SECRET`; several, newest first, separated by spaces */
  secrets: string[]
  /** `REDIS_URL` */
  redisUrl: string | undefined
  /** `SECRET_REFERENCES_ENV`: names of environment variables that a secret reference may name, as a regular expression. */
  secretReferencesEnv: string | undefined
  /** `SECRET_REFERENCES_DIRECTORIES`: folders with files that a secret reference may name, separated by spaces. */
  secretReferencesDirectories: string[]
  /** `ALLOWED_ADDRESSES`: the portal's `outbound.allowedAddresses`, separated by spaces or commas */
  allowedAddresses: string[]
}

export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  return {
    databaseUrl: env.DATABASE_URL || 'sqlite:portal-sso.sqlite3',
    baseUrl: env.BASE_URL || 'http://localhost:3000',
    mountPath: env.MOUNT_PATH || '/',
    secrets: (env.SSO_SECRET ?? '').split(/\s+/).filter((secret) => secret !== ''),
    redisUrl: env.REDIS_URL || undefined,
    secretReferencesEnv: env.SECRET_REFERENCES_ENV || undefined,
    secretReferencesDirectories: wordsOf(env.SECRET_REFERENCES_DIRECTORIES),
    allowedAddresses: wordsOf(env.ALLOWED_ADDRESSES),
  }
}

function wordsOf(text = ''): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== '')
}

/** The commands call the same API as code. */
export interface SsoContext {
  environment: Environment
  knex: Knex
  sso: PortalSso
  users: UsersTable
  /** For the event log: `cli:` and the name of the system's user. */
  actor: string
}

/** Runs a command with everything open, and closes it again. */
export async function withSsoContext(act: (context: SsoContext) => Promise<void>): Promise<void> {
  const environment = readEnvironment()
  if (environment.secrets.length === 0)
    throw new ConfigurationError('SSO_SECRET: set it to the secret of the portal')
  if (environment.secrets.some((secret) => secret.length < 32))
    throw new ConfigurationError(
      'SSO_SECRET: each secret needs at least 32 characters; separate several with spaces',
    )
  if (!isOrigin(environment.baseUrl))
    throw new ConfigurationError(
      'BASE_URL: set it to the public origin, such as `https://portal.example.com`',
    )
  if (!environment.allowedAddresses.every(isAddressRange))
    throw new ConfigurationError(
      'ALLOWED_ADDRESSES: set it to IP addresses or ranges, such as `10.20.0.0/16`',
    )
  await withDatabase(environment, async (knex) => {
    await withSso(environment, knex, (sso) =>
      act({ environment, knex, sso, users: new UsersTable({ knex }), actor: operator() }),
    )
  })
}

function operator(): string {
  try {
    return `cli:${userInfo().username}`
  } catch {
    return 'cli' // a container's user may have no name
  }
}

export async function withSso<T>(
  environment: Environment,
  knex: Knex,
  act: (sso: PortalSso) => Promise<T>,
): Promise<T> {
  const { baseUrl, mountPath, secrets, allowedAddresses } = environment
  const sso = await createPortalSso({
    baseUrl,
    mountPath,
    secret: secrets,
    outbound: { allowedAddresses },
    secretReferences: secretReferencesOf(environment),
    database: knex,
    migrate: false,
  })
  try {
    return await act(sso)
  } finally {
    await sso.close()
  }
}

/** The portal's option `secretReferences`, for references that commands set or read. */
function secretReferencesOf(environment: Environment): SecretReferenceOptions {
  const { secretReferencesEnv: env, secretReferencesDirectories: directories } = environment
  try {
    return { env: env === undefined ? undefined : new RegExp(env), directories }
  } catch (cause) {
    throw new ConfigurationError('SECRET_REFERENCES_ENV: write a regular expression such as `SSO_\\w+`', {
      cause,
    })
  }
}

export async function withDatabase(
  { databaseUrl }: Environment,
  act: (knex: Knex) => Promise<void>,
): Promise<void> {
  const database = connectDatabase(databaseUrl)
  try {
    await act(database.knex)
  } finally {
    await database.close()
  }
}
