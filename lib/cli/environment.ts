import { existsSync } from 'node:fs'
import type { Knex } from 'knex'
import { createPortalSso } from '../create-portal-sso.ts'
import { connectDatabase, explainDatabaseError, isDatabaseError, sqliteFile } from '../database/connect.ts'
import { isAddressRange } from '../oidc/address-rules.ts'
import { isOrigin } from '../options.ts'
import type { PortalSso } from '../portal-sso.ts'
import type { SecretReferenceOptions } from '../providers/secret-references.ts'
import { ConfigurationError } from '../shared/errors.ts'

/** The settings of all commands, from environment variables. `portal-sso --help` describes them. */
export type Environment = ReturnType<typeof readEnvironment>

export function readEnvironment() {
  const { env } = process
  return {
    databaseUrl: env.DATABASE_URL || 'sqlite:portal-sso.sqlite3',
    baseUrl: env.BASE_URL || 'http://localhost:3000',
    mountPath: env.MOUNT_PATH || '/',
    secrets: splitList(env.SSO_SECRET, /\s+/),
    redisUrl: env.REDIS_URL,
    secretReferencesEnv: env.SECRET_REFERENCES_ENV,
    secretReferencesDirectories: splitList(env.SECRET_REFERENCES_DIRECTORIES),
    allowedAddresses: splitList(env.ALLOWED_ADDRESSES),
  }
}

function splitList(text = '', separator = /[\s,]+/): string[] {
  return text.split(separator).filter((word) => word !== '')
}

export function readValidEnvironment(): Environment {
  const environment = readEnvironment()
  const { secrets, baseUrl, allowedAddresses } = environment
  const rules: [holds: boolean, message: string][] = [
    [secrets.length > 0, 'SSO_SECRET: set it to the secret of the portal'],
    [
      secrets.every((secret) => secret.length >= 32),
      'SSO_SECRET: each secret needs at least 32 characters; separate several with spaces',
    ],
    [isOrigin(baseUrl), 'BASE_URL: set it to the public origin, such as `https://portal.example.com`'],
    [
      allowedAddresses.every(isAddressRange),
      'ALLOWED_ADDRESSES: set it to IP addresses or ranges, such as `10.20.0.0/16`',
    ],
  ]
  for (const [holds, message] of rules) if (!holds) throw new ConfigurationError(message)
  return environment
}

/**
 * Opens the database, and closes it after the action.
 *
 * @param options.creates true to create a missing SQLite file; default false
 * @throws ConfigurationError with a sentence about the database, if it cannot be used
 */
export async function withDatabase<T>(
  { databaseUrl }: Environment,
  action: (knex: Knex) => Promise<T>,
  { creates = false } = {},
): Promise<T> {
  const file = sqliteFile(databaseUrl)
  if (file !== undefined && !creates && !existsSync(file))
    throw new ConfigurationError(
      `database ${file}: the file does not exist: set DATABASE_URL, or create it with \`portal-sso migrate\``,
    )
  const database = connectDatabase(databaseUrl)
  try {
    return await action(database.knex)
  } catch (error) {
    throw isDatabaseError(error) ? explainDatabaseError(error, database.knex) : error
  } finally {
    await database.close()
  }
}

/** Opens the API that a host application uses, too, and closes it after the action. */
export async function withSso<T>(
  environment: Environment,
  action: (sso: PortalSso, knex: Knex) => Promise<T>,
): Promise<T> {
  const { baseUrl, mountPath, secrets: secret, allowedAddresses } = environment
  const outbound = { allowedAddresses }
  return await withDatabase(environment, async (database) => {
    const secretReferences = secretReferencesIn(environment)
    const options = { baseUrl, mountPath, secret, outbound, secretReferences, database, migrate: false }
    const sso = await createPortalSso(options)
    try {
      return await action(sso, database)
    } finally {
      await sso.close()
    }
  })
}

function secretReferencesIn(environment: Environment): SecretReferenceOptions {
  const { secretReferencesEnv: env, secretReferencesDirectories: directories } = environment
  try {
    return { env: env ? new RegExp(env) : undefined, directories }
  } catch (cause) {
    const message = 'SECRET_REFERENCES_ENV: write a regular expression such as `SSO_\\w+`'
    throw new ConfigurationError(message, { cause })
  }
}
