import { userInfo } from 'node:os'
import type { Knex } from 'knex'
import { createPortalSso } from '../create-portal-sso.ts'
import { connectDatabase } from '../database/connect.ts'
import { isAddressRange } from '../oidc/address-rules.ts'
import { isOrigin } from '../options.ts'
import type { PortalSso } from '../portal-sso.ts'
import type { SecretReferenceOptions } from '../providers/secret-references.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { UsersTable } from '../users/users-table.ts'

/** The settings of all commands, from environment variables. */
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
  /** `SECRET_REFERENCES_ENV`: which environment variables a secret reference may name, as a regular expression */
  secretReferencesEnv: string | undefined
  /** `SECRET_REFERENCES_DIRECTORIES`: folders with files that a secret reference may name, separated by spaces or commas */
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
    secretReferencesDirectories: splitList(env.SECRET_REFERENCES_DIRECTORIES),
    allowedAddresses: splitList(env.ALLOWED_ADDRESSES),
  }
}

function splitList(text = ''): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== '')
}

/** The API that the commands call. A host application uses the same one. */
export interface SsoContext {
  environment: Environment
  knex: Knex
  sso: PortalSso
  users: UsersTable
  /** `cli:` and the name of the system user, for the event log */
  actor: string
}

/**
 * Runs a command with an open database, and closes it afterwards.
 *
 * @throws ConfigurationError for a wrong environment variable
 */
export async function withSsoContext(action: (context: SsoContext) => Promise<void>): Promise<void> {
  const environment = readEnvironment()
  assertValid(environment)
  await withDatabase(environment, async (knex) => {
    await withSso(environment, knex, (sso) =>
      action({ environment, knex, sso, users: new UsersTable({ knex }), actor: currentActor() }),
    )
  })
}

function assertValid(environment: Environment): void {
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
}

function currentActor(): string {
  try {
    return `cli:${userInfo().username}`
  } catch {
    return 'cli' // The user of a container may have no name.
  }
}

export async function withSso<T>(
  environment: Environment,
  knex: Knex,
  action: (sso: PortalSso) => Promise<T>,
): Promise<T> {
  const { baseUrl, mountPath, secrets, allowedAddresses } = environment
  const sso = await createPortalSso({
    baseUrl,
    mountPath,
    secret: secrets,
    outbound: { allowedAddresses },
    secretReferences: readSecretReferences(environment),
    database: knex,
    migrate: false,
  })
  try {
    return await action(sso)
  } finally {
    await sso.close()
  }
}

/** Builds the option `secretReferences`. */
function readSecretReferences(environment: Environment): SecretReferenceOptions {
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
  action: (knex: Knex) => Promise<void>,
): Promise<void> {
  const database = connectDatabase(databaseUrl)
  try {
    await action(database.knex)
  } finally {
    await database.close()
  }
}
