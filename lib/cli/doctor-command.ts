import type { Command } from 'commander'
import type { Knex } from 'knex'
import { count } from '../admin/format.ts'
import { databaseName } from '../database/connect.ts'
import { pendingMigrations } from '../database/migrate.ts'
import { isOrigin } from '../options.ts'
import type { PortalSso } from '../portal-sso.ts'
import type { Provider } from '../providers/provider.ts'
import { ConfigurationError, describeError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import {
  type Environment,
  readEnvironment,
  readValidEnvironment,
  withDatabase,
  withSso,
} from './environment.ts'
import { simulateAttacks } from './noauth-attacks.ts'
import { checkText, type Finding, print, printResult, type Result } from './output.ts'

type Flags = { json?: boolean }

export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description('check database, Redis, secret and every provider; report problems and how to fix them')
    .option('--json', 'print JSON, for scripts')
    .addHelpText('after', '\nExample:\n  $ portal-sso doctor')
    .action((flags: Flags) => doctor(readEnvironment(), flags))
  command
    .command('noauth')
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
    .action((flags: Flags & { portal?: string }) =>
      withSso(readValidEnvironment(), async (sso, knex) =>
        printResult(flags, attack(await listProviders(sso, knex, flags.portal))),
      ),
    )
}

type Section = { heading: string; checks: Finding[] }

const ok = (message: string): Finding => ({ result: 'ok', message })
const warning = (message: string, hint?: string): Finding => ({ result: 'warning', message, hint })
const failure = (message: string, hint?: string): Finding => ({ result: 'failed', message, hint })
const fails = ({ checks }: Pick<Section, 'checks'>) => checks.some(({ result }) => result === 'failed')

function sectionText({ heading, checks }: Section): string {
  return [sanitizeText(heading), ...checks.map(checkText)].join('\n')
}

/** Checks everything that a sign-in needs, and prints each problem with its fix. */
async function doctor(environment: Environment, flags: Flags): Promise<void> {
  const sections: Section[] = []
  const report = (heading: string, ...checks: Finding[]) => {
    sections.push({ heading, checks })
    if (!flags.json) print(sectionText({ heading, checks }))
  }
  report('Settings', checkSecret(environment), checkBaseUrl(environment))
  const database = await checkDatabase(environment)
  report('Database', database)
  report('Sessions', ...(await checkRedis(environment)))
  if (database.result === 'ok' && environment.secrets.length > 0)
    for (const { heading, checks } of await checkProviders(environment)) report(heading, ...checks)
  else report('Providers', warning('not checked, because this needs the database and the secret'))
  const failed = sections.flatMap(({ checks }) => checks).filter(({ result }) => result === 'failed').length
  printResult(flags, {
    json: { ok: failed === 0, sections },
    text: failed === 0 ? '\nNo problems found.' : `\n${count(failed, 'problem', 'problems')} found.`,
    failed: failed > 0,
  })
}

function checkSecret({ secrets }: Environment): Finding {
  const hint = 'set SSO_SECRET, for example to the output of `openssl rand -base64 32`'
  if (secrets.length === 0) return failure('SSO_SECRET is not set', hint)
  if (secrets.some((secret) => secret.length < 32))
    return failure('SSO_SECRET is shorter than 32 characters', hint)
  const several = secrets.length > 1 ? ` (${secrets.length}; new data is encrypted with the first)` : ''
  return ok(`SSO_SECRET is set${several}`)
}

function checkBaseUrl({ baseUrl }: Environment): Finding {
  if (!isOrigin(baseUrl))
    return failure(
      `BASE_URL is ${baseUrl}, which is not an origin`,
      'set it to the public origin, such as `https://portal.example.com`, without a path',
    )
  if (baseUrl.startsWith('https://')) return ok(`BASE_URL is ${baseUrl}`)
  return warning(
    `BASE_URL is ${baseUrl}, without TLS`,
    'this is fine for development; set the public https origin in production',
  )
}

async function checkDatabase(environment: Environment): Promise<Finding> {
  try {
    return await withDatabase(environment, async (knex) => {
      const pending = await pendingMigrations(knex)
      const name = databaseName(knex)
      if (pending.length === 0) return ok(`database ${name} responds and its tables are up to date`)
      return failure(`database ${name} lacks tables: ${pending.join(', ')}`, 'run `portal-sso migrate`')
    })
  } catch (error) {
    const reason = error instanceof ConfigurationError ? error.message : describeError(error)
    return failure(reason, 'check DATABASE_URL')
  }
}

async function checkRedis({ redisUrl: url }: Environment): Promise<Finding[]> {
  if (!url) {
    const hint = 'this is fine for development; production refuses it'
    return [warning('REDIS_URL is not set, so sessions would be kept in the process', hint)]
  }
  try {
    const { createClient } = await import('redis')
    const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 3000 } })
    client.on('error', () => {}) // `connect()` reports it.
    await client.connect()
    await client.ping()
    const info = await client.info('memory').catch(() => '')
    const config = await client.configGet('maxmemory-policy').catch(() => undefined)
    await client.close()
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? config?.['maxmemory-policy']
    return [ok('Redis responds'), checkEviction(policy)]
  } catch (error) {
    const hint = 'check REDIS_URL, that the server is running, and that the package `redis` is installed'
    return [failure(`Redis cannot be used: ${describeError(error)}`, hint)]
  }
}

/** @param policy `undefined` if a managed Redis refuses both `INFO` and `CONFIG GET` */
function checkEviction(policy: string | undefined): Finding {
  if (policy === 'noeviction') return ok('Redis evicts no sessions')
  const hint = 'set `maxmemory-policy noeviction`: an evicted session signs its user out'
  return policy === undefined
    ? warning('`maxmemory-policy` of Redis could not be read', hint)
    : failure(`Redis evicts sessions when its memory is full (\`maxmemory-policy ${policy}\`)`, hint)
}

async function checkProviders(environment: Environment): Promise<Section[]> {
  try {
    return await withSso(environment, async (sso, knex) => {
      const all = await listProviders(sso, knex)
      const tested = await Promise.all(all.map((provider) => testProvider(sso, provider)))
      if (tested.length > 0) return [...tested, ...checkLockout(tested)]
      const nothing = warning('no provider is connected', 'run `portal-sso providers add`')
      return [{ heading: 'Providers', checks: [nothing] }]
    })
  } catch (error) {
    return [{ heading: 'Providers', checks: [failure(describeError(error))] }]
  }
}

/** The connected providers of all portals, or of one. */
async function listProviders({ providers }: PortalSso, knex: Knex, portal?: string): Promise<Provider[]> {
  const all: string[] = await knex('sso_providers').distinct('portal').orderBy('portal').pluck('portal')
  const lists = (portal ? [portal] : all).map((name) => providers.list({ portal: name }))
  return (await Promise.all(lists)).flat()
}

type TestedProvider = Section & { provider: Provider }

async function testProvider({ providers }: PortalSso, provider: Provider): Promise<TestedProvider> {
  const { slug, portal } = provider
  const test = providers.test(slug, { portal, save: false })
  const checks = await test.then(
    (done) => done.checks,
    (error) => [failure(describeError(error))],
  )
  return { provider, heading: headingOf(provider), checks }
}

/** Reports each portal where every enabled provider fails, so that nobody can sign in. */
function checkLockout(tested: TestedProvider[]): Section[] {
  const enabled = tested.filter(({ provider }) => provider.enabled)
  const portals = new Set(enabled.map(({ provider }) => provider.portal))
  for (const { provider, checks } of enabled) if (!fails({ checks })) portals.delete(provider.portal)
  const lockout = failure(
    'no enabled provider passes its test, so people may be unable to sign in',
    '`portal-sso break-glass` opens the classic login for one browser; disabling every provider with `portal-sso providers disable` opens it for everyone',
  )
  return [...portals].map((portal) => ({ heading: `Portal ${portal}`, checks: [lockout] }))
}

function headingOf(provider: Pick<Provider, 'slug' | 'displayName' | 'enabled'>, ofPortal = ''): string {
  return `Provider ${provider.slug}${ofPortal} (${provider.displayName}${provider.enabled ? '' : ', disabled'})`
}

/** @param providers also disabled ones, so that problems are found before they are enabled */
function attack(providers: Provider[]): Result {
  if (providers.length === 0)
    return { json: [], text: 'No provider is connected, so there is nothing to check.' }
  const attacked = providers.map((provider) => {
    const { portal, slug, displayName, enabled } = provider
    return { portal, slug, displayName, enabled, checks: simulateAttacks(provider) }
  })
  const sections = attacked.map(({ portal, checks, ...provider }) => {
    // Many attacks share a hint, so show it once.
    const isNew = (hint: string | undefined, at: number) =>
      checks.findIndex((each) => each.hint === hint) === at
    return sectionText({
      heading: headingOf(provider, portal === 'default' ? '' : ` of portal ${portal}`),
      checks: checks.map((check, at) => (isNew(check.hint, at) ? check : { ...check, hint: undefined })),
    })
  })
  const vulnerable = attacked.filter(fails).map(({ slug }) => slug)
  const summary =
    vulnerable.length === 0
      ? 'No provider lets an attack through.'
      : `These providers let an attack through: ${vulnerable.join(', ')}.`
  return { json: attacked, text: [...sections, '', summary].join('\n'), failed: vulnerable.length > 0 }
}
