import { count } from '../admin/format.ts'
import { connectDatabase } from '../database/connect.ts'
import { pendingMigrations } from '../database/migrate.ts'
import { isOrigin } from '../options.ts'
import type { PortalSso } from '../portal-sso.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import { type Environment, withSso } from './environment.ts'
import { printCheck, printHeading, printResult } from './output.ts'

type Finding = Pick<Check, 'result' | 'message' | 'hint'>

/** Looks at everything a sign-in needs and says what is wrong and what to do. @returns whether all is well */
export async function doctor(environment: Environment, { json }: { json?: boolean } = {}): Promise<boolean> {
  const looked: { heading: string; findings: Finding[] }[] = []
  const found = (heading: string, ...findings: Finding[]) => {
    looked.push({ heading, findings })
    if (json) return
    printHeading(heading)
    findings.forEach(printCheck)
  }

  found('Settings', checkSecret(environment), checkBaseUrl(environment))
  const database = await checkDatabase(environment)
  found('Database', database)
  found('Sessions', await checkRedis(environment))
  if (database.result === 'ok' && environment.secrets.length > 0) {
    for (const [heading, checks] of await checkProviders(environment)) found(heading, ...checks)
  } else {
    found('Providers', {
      result: 'warning',
      message: 'not checked, because this needs the database and the secret',
    })
  }
  const failed = looked.flatMap(({ findings }) => findings).filter(({ result }) => result === 'failed').length
  printResult(
    { json },
    { ok: failed === 0, looked },
    failed === 0 ? '\nNo problems found.' : `\n${count(failed, 'problem', 'problems')} found.`,
  )
  return failed === 0
}

function checkSecret({ secrets }: Environment): Finding {
  const hint = 'set SSO_SECRET, for example to the output of `openssl rand -base64 32`'
  if (secrets.length === 0) return { result: 'failed', message: 'SSO_SECRET is not set', hint }
  if (secrets.some((secret) => secret.length < 32))
    return { result: 'failed', message: 'SSO_SECRET is shorter than 32 characters', hint }
  return {
    result: 'ok',
    message: `SSO_SECRET is set${secrets.length > 1 ? ` (${secrets.length}; new data is encrypted with the first)` : ''}`,
  }
}

function checkBaseUrl({ baseUrl }: Environment): Finding {
  if (!isOrigin(baseUrl))
    return {
      result: 'failed',
      message: `BASE_URL is ${baseUrl}, which is not an origin`,
      hint: 'set it to the public origin, such as `https://portal.example.com`, without a path',
    }
  if (baseUrl.startsWith('https://')) return { result: 'ok', message: `BASE_URL is ${baseUrl}` }
  return {
    result: 'warning',
    message: `BASE_URL is ${baseUrl}, without TLS`,
    hint: 'this is fine for development; set the public https origin in production',
  }
}

async function checkDatabase({ databaseUrl }: Environment): Promise<Finding> {
  try {
    const database = connectDatabase(databaseUrl)
    try {
      const pending = await pendingMigrations(database.knex)
      if (pending.length === 0)
        return { result: 'ok', message: 'the database responds and its tables are up to date' }
      return {
        result: 'failed',
        message: `tables are missing: ${pending.join(', ')}`,
        hint: 'run `portal-sso migrate`',
      }
    } finally {
      await database.close()
    }
  } catch (error) {
    return {
      result: 'failed',
      message: `the database cannot be used: ${describeError(error)}`,
      hint: 'check DATABASE_URL and that the server is running',
    }
  }
}

async function checkRedis({ redisUrl }: Environment): Promise<Finding> {
  if (redisUrl === undefined)
    return {
      result: 'warning',
      message: 'REDIS_URL is not set, so sessions would be kept in the process',
      hint: 'this is fine for development; production refuses it',
    }
  try {
    const { createClient } = await import('redis')
    const client = createClient({ url: redisUrl, socket: { reconnectStrategy: false, connectTimeout: 3000 } })
    client.on('error', () => {}) // reported by connect()
    await client.connect()
    await client.ping()
    await client.close()
    return { result: 'ok', message: 'Redis responds' }
  } catch (error) {
    return {
      result: 'failed',
      message: `Redis cannot be used: ${describeError(error)}`,
      hint: 'check REDIS_URL, that the server is running, and that the package `redis` is installed',
    }
  }
}

async function checkEach({ providers }: PortalSso, portals: string[]): Promise<[string, Finding[]][]> {
  const all = (await Promise.all(portals.map((portal) => providers.list({ portal })))).flat()
  const hint = 'run `portal-sso providers add`'
  if (all.length === 0)
    return [['Providers', [{ result: 'warning', message: 'no provider is connected', hint }]]]
  const results = await Promise.all(
    all.map(async (provider) => ({ provider, findings: await findingsOf(providers, provider) })),
  )
  return [
    ...results.map(({ provider: { slug, displayName, enabled }, findings }): [string, Finding[]] => [
      `Provider ${slug} (${displayName}${enabled ? '' : ', disabled'})`,
      findings,
    ]),
    ...portals.flatMap((portal) => lockedOut(results.filter(({ provider }) => provider.portal === portal))),
  ]
}

async function findingsOf(providers: PortalSso['providers'], { slug, portal }: Provider): Promise<Finding[]> {
  try {
    return (await providers.test(slug, { portal })).checks
  } catch (error) {
    return [{ result: 'failed', message: describeError(error) }]
  }
}

/** Where nobody can come in any more, it is said how to get back. */
function lockedOut(results: { provider: Provider; findings: Finding[] }[]): [string, Finding[]][] {
  const enabled = results.filter(({ provider }) => provider.enabled)
  const broken = enabled.filter(({ findings }) => findings.some(({ result }) => result === 'failed'))
  const [first] = enabled
  if (!first || broken.length < enabled.length) return []
  const message = 'no enabled provider passes its test, so people may be unable to sign in'
  const hint =
    '`portal-sso break-glass` opens the classic login for one browser; disabling every provider with `portal-sso providers disable` opens it for everyone'
  return [[`Portal ${first.provider.portal}`, [{ result: 'failed', message, hint }]]]
}

async function checkProviders(environment: Environment): Promise<[string, Finding[]][]> {
  const database = connectDatabase(environment.databaseUrl)
  try {
    const portals: string[] = await database.knex('sso_providers').distinct('portal').pluck('portal')
    return await withSso(environment, database.knex, (sso) => checkEach(sso, portals))
  } catch (error) {
    return [['Providers', [{ result: 'failed', message: describeError(error) }]]]
  } finally {
    await database.close()
  }
}
