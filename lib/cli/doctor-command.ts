import { Command } from 'commander'
import { count } from '../admin/format.ts'
import { connectDatabase } from '../database/connect.ts'
import { pendingMigrations } from '../database/migrate.ts'
import { isOrigin } from '../options.ts'
import type { PortalSso } from '../portal-sso.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import { type Environment, type SsoContext, withSso, withSsoContext } from './environment.ts'
import { simulateAttacks } from './noauth-attacks.ts'
import { printCheck, printHeading, printJson, printResult } from './output.ts'

type Finding = Pick<Check, 'result' | 'message' | 'hint'>
type Section = [heading: string, checks: Finding[]]

/**
 * Checks everything that a sign-in needs, and prints each problem with its fix.
 *
 * @returns true if there are no problems
 */
export async function doctor(environment: Environment, { json }: { json?: boolean } = {}): Promise<boolean> {
  const sections: { heading: string; checks: Finding[] }[] = []
  const report = (...[heading, checks]: Section) => {
    sections.push({ heading, checks })
    if (json) return
    printHeading(heading)
    checks.forEach(printCheck)
  }

  report('Settings', [checkSecret(environment), checkBaseUrl(environment)])
  const database = await checkDatabase(environment)
  report('Database', [database])
  report('Sessions', [await checkRedis(environment)])
  if (database.result === 'ok' && environment.secrets.length > 0) {
    for (const section of await checkProviders(environment)) report(...section)
  } else {
    const message = 'not checked, because this needs the database and the secret'
    report('Providers', [{ result: 'warning', message }])
  }
  const failed = sections.flatMap(({ checks }) => checks).filter(({ result }) => result === 'failed').length
  printResult(
    { json },
    { ok: failed === 0, sections },
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
    client.on('error', () => {}) // `connect()` reports it.
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

async function checkProviders(environment: Environment): Promise<Section[]> {
  const database = connectDatabase(environment.databaseUrl)
  try {
    const portals: string[] = await database.knex('sso_providers').distinct('portal').pluck('portal')
    return await withSso(environment, database.knex, (sso) => testProviders(sso, portals))
  } catch (error) {
    return [['Providers', [{ result: 'failed', message: describeError(error) }]]]
  } finally {
    await database.close()
  }
}

interface TestedProvider {
  provider: Provider
  checks: Finding[]
}

async function testProviders({ providers }: PortalSso, portals: string[]): Promise<Section[]> {
  const all = (await Promise.all(portals.map((portal) => providers.list({ portal })))).flat()
  const hint = 'run `portal-sso providers add`'
  if (all.length === 0)
    return [['Providers', [{ result: 'warning', message: 'no provider is connected', hint }]]]
  const tested = await Promise.all(all.map((provider) => testProvider(providers, provider)))
  return [
    ...tested.map(
      ({ provider: { slug, displayName, enabled }, checks }): Section => [
        `Provider ${slug} (${displayName}${enabled ? '' : ', disabled'})`,
        checks,
      ],
    ),
    ...portals.flatMap((portal) => checkLockout(tested.filter(({ provider }) => provider.portal === portal))),
  ]
}

async function testProvider(providers: PortalSso['providers'], provider: Provider): Promise<TestedProvider> {
  const { slug, portal } = provider
  try {
    return { provider, checks: (await providers.test(slug, { portal })).checks }
  } catch (error) {
    return { provider, checks: [{ result: 'failed', message: describeError(error) }] }
  }
}

/** Reports a portal where every enabled provider fails, so that nobody can sign in. */
function checkLockout(tested: TestedProvider[]): Section[] {
  const enabled = tested.filter(({ provider }) => provider.enabled)
  const broken = enabled.filter(({ checks }) => checks.some(({ result }) => result === 'failed'))
  const [first] = enabled
  if (!first || broken.length < enabled.length) return []
  const message = 'no enabled provider passes its test, so people may be unable to sign in'
  const hint =
    '`portal-sso break-glass` opens the classic login for one browser; disabling every provider with `portal-sso providers disable` opens it for everyone'
  return [[`Portal ${first.provider.portal}`, [{ result: 'failed', message, hint }]]]
}

interface NoauthFlags {
  portal?: string
  json?: boolean
}

type AttackedProvider = Pick<Provider, 'portal' | 'slug' | 'displayName' | 'enabled'> & { checks: Check[] }

export function doctorNoauthCommand(): Command {
  return new Command('noauth')
    .description(
      "simulate sign-ins with someone else's e-mail address (nOAuth) against the settings of every provider",
    )
    .option('--portal <name>', 'portal to check; default: all')
    .option('--json', 'print JSON, for scripts')
    .addHelpText(
      'after',
      `
Nothing is sent or changed. The exit code is 1 if a provider would let an attack through.

Example:
  $ portal-sso doctor noauth --json | jq '.[] | select(any(.checks[]; .result == "failed")) | .slug'`,
    )
    .action((flags: NoauthFlags) => withSsoContext((context) => doctorNoauth(context, flags)))
}

/** Includes disabled providers, so that problems are found before they are enabled. */
async function doctorNoauth({ knex, sso }: SsoContext, { portal, json }: NoauthFlags): Promise<void> {
  const portals = portal
    ? [portal]
    : await knex('sso_providers').distinct('portal').orderBy('portal').pluck('portal')
  const providers = (
    await Promise.all(portals.map((name: string) => sso.providers.list({ portal: name })))
  ).flat()
  const attacked = providers.map((provider): AttackedProvider => {
    const { slug, displayName, enabled } = provider
    return { portal: provider.portal, slug, displayName, enabled, checks: simulateAttacks(provider) }
  })
  const vulnerable = attacked.filter(({ checks }) => checks.some(({ result }) => result === 'failed'))
  if (vulnerable.length > 0) process.exitCode = 1
  if (json) return printJson(attacked)
  if (attacked.length === 0) return console.log('No provider is connected, so there is nothing to check.')
  attacked.forEach(printAttacked)
  console.log(
    vulnerable.length === 0
      ? '\nNo provider lets an attack through.'
      : `\nThese providers let an attack through: ${vulnerable.map(({ slug }) => slug).join(', ')}.`,
  )
}

function printAttacked({ portal, slug, displayName, enabled, checks }: AttackedProvider): void {
  const ofPortal = portal === 'default' ? '' : ` of portal ${portal}`
  printHeading(`Provider ${slug}${ofPortal} (${displayName}${enabled ? '' : ', disabled'})`)
  const printedHints = new Set<string>()
  for (const { hint, ...check } of checks) {
    // Many attacks share a hint, so print it once.
    printCheck(hint === undefined || printedHints.has(hint) ? check : { ...check, hint })
    if (hint !== undefined) printedHints.add(hint)
  }
}
