import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'

export interface PortalEnvironment {
  port: number
  baseUrl: string
  databaseUrl: string
  redisUrl: string | undefined
  secret: string | undefined
}

/** A wrong variable ends the start with a sentence. */
export function readEnvironment(): PortalEnvironment {
  const { PORT = '3000', BASE_URL, DATABASE_URL, REDIS_URL, SSO_SECRET, NODE_ENV } = process.env
  const port = Number(PORT)
  if (!Number.isInteger(port) || port < 1 || port > 65_533) fail('PORT: write a number from 1 to 65533')
  if (NODE_ENV === 'production' && !SSO_SECRET)
    fail('SSO_SECRET: set it, for example to the output of `openssl rand -base64 32`')
  return {
    port,
    baseUrl: BASE_URL || `http://localhost:${port}`,
    databaseUrl: DATABASE_URL || 'sqlite:portal-sso.sqlite3',
    redisUrl: REDIS_URL || undefined,
    secret: SSO_SECRET || undefined,
  }
}

/** Made once and kept in this folder, so that what the database holds can be read again after a restart. */
export function developmentSecret(): string {
  const file = '.portal-sso/secret'
  if (!existsSync(file)) {
    mkdirSync('.portal-sso', { recursive: true })
    writeFileSync(file, randomBytes(32).toString('base64url'), { mode: 0o600 })
  }
  return readFileSync(file, 'utf8').trim()
}

function fail(sentence: string): never {
  console.error(sentence)
  process.exit(1)
}
