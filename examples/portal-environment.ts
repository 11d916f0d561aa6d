import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createClient, type RedisClientType } from 'redis'

export interface PortalEnvironment {
  /** `PORT`, default 3000 */
  port: number
  /** `BASE_URL`, default `http://localhost:PORT` */
  baseUrl: string
  /** `DATABASE_URL`, default `sqlite:portal-sso.sqlite3` */
  databaseUrl: string
  /** `REDIS_URL`, default: sessions in this process */
  redisUrl: string | undefined
  /** `SSO_SECRET`, default in development: created once and kept in `.portal-sso/secret` */
  secret: string | undefined
}

/** Exits with a message if a variable is invalid. */
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

/** Exits if Redis is unreachable at start; reconnects later. */
export async function connectRedis(url: string): Promise<RedisClientType> {
  let started = false
  const reconnectDelayMs = (retries: number) => started && Math.min(retries * 100, 2000)
  const redis: RedisClientType = createClient({ url, socket: { reconnectStrategy: reconnectDelayMs } })
  redis.on('error', (error: Error) => started && console.error(`Redis: ${error.message}`))
  await redis.connect().catch((error: Error) => fail(`REDIS_URL: ${error.message}`))
  started = true
  return redis
}

/** Created once and kept in this folder, so that the encrypted data can be read after a restart. */
export function developmentSecret(): string {
  const file = '.portal-sso/secret'
  if (!existsSync(file)) {
    mkdirSync('.portal-sso', { recursive: true })
    writeFileSync(file, randomBytes(32).toString('base64url'), { mode: 0o600 })
  }
  return readFileSync(file, 'utf8').trim()
}

export function fail(sentence: string): never {
  console.error(sentence)
  process.exit(1)
}
