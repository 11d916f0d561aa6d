import { Account } from './account/account.ts'
import { providerRouter } from './callback/provider-router.ts'
import { ClassicLogin } from './classic-login/classic-login.ts'
import { openDatabase } from './database/migrate.ts'
import { ErrorHandler } from './events/error-handler.ts'
import { EventLog } from './events/event-log.ts'
import { RefusalLog } from './events/refusal-log.ts'
import { ServiceHealth } from './health/service-health.ts'
import { Logout } from './logout/logout.ts'
import { Mail } from './mail/mail.ts'
import { createMaintenance } from './maintenance/maintenance.ts'
import type { Modules } from './modules.ts'
import { createHttpClients, type HttpClients } from './oidc/http-client.ts'
import { OneTimeLinks } from './one-time-links/one-time-links.ts'
import { type PortalSsoOptions, readOptions, type Settings } from './options.ts'
import { PortalSso } from './portal-sso.ts'
import { ProvidersTable } from './providers/providers-table.ts'
import { Registrations } from './registration/registrations.ts'
import { assertRedisClient, limitRedis } from './sessions/redis-client.ts'
import { Sessions } from './sessions/sessions.ts'
import { SignIn } from './sign-in/sign-in.ts'
import { TestSignIns } from './test-sign-in/test-sign-in.ts'
import { Users } from './users/users.ts'
import { createWebModules } from './web/web-modules.ts'

/**
 * Creates the tables, or brings them up to date, and builds the plugin for a host application.
 *
 * @throws ConfigurationError with a sentence that says what to write, when an option is wrong
 */
export async function createPortalSso(options: PortalSsoOptions): Promise<PortalSso> {
  const settings = readOptions(options)
  const { logger, prefix, redis } = settings
  if (redis) await assertRedisClient(redis, logger, prefix)
  const database = await openDatabase(settings)
  const outbound = createHttpClients(settings.outbound)
  const modules = createModules(settings, database, outbound)
  const { maintenance, rateLimiter, sessions, signIn } = modules
  // Requests in flight come first, because they need all others; the database is last.
  const close = async () =>
    await closeAll([
      () => sessions.drain(),
      async () => rateLimiter.stop(),
      () => signIn.healthProbes.stop(),
      () => maintenance.stop(),
      () => signIn.connectedProviders.close(),
      () => outbound.close(),
      async () => sessions.close(),
      () => database.close(),
    ])
  return new PortalSso(modules, close)
}

/** Closes all parts in their order, even if closing one of them fails. @throws the first error */
async function closeAll(parts: readonly (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = []
  for (const close of parts) await close().catch((error: unknown) => errors.push(error))
  if (errors.length > 0) throw errors[0]
}

type Database = Awaited<ReturnType<typeof openDatabase>>

/** Wires all modules together: each is built once, from `core` and the modules that it depends on. */
// Long: one list of all modules, in the order in which they depend on each other.
function createModules(settings: Settings, { clock, knex }: Database, outbound: HttpClients): Modules {
  const web = createWebModules(settings, knex, clock)
  const { core, pages } = web
  const redis = settings.redis && limitRedis(settings.redis, core.breakers.redis)
  const events = new EventLog(core, settings.events)
  const recordsPerMinute = settings.rateLimits ? settings.rateLimits.records : Number.POSITIVE_INFINITY
  const refusalLog = new RefusalLog(core, events, recordsPerMinute)
  const errorHandler = new ErrorHandler(core, pages, refusalLog)
  const mail = settings.mailer && new Mail(pages, settings.mailer, settings.mailFrom)
  const users = new Users(core, {
    directory: settings.users,
    cacheSeconds: settings.session.userCacheSeconds,
  })
  const providersTable = new ProvidersTable(core, settings)
  const sessions = new Sessions(core, users.cache, events, { ...settings, redis })
  const oneTimeLinks = new OneTimeLinks(core)
  const shared = {
    ...web,
    errorHandler,
    events,
    mail,
    oneTimeLinks,
    outbound,
    providersTable,
    refusalLog,
    sessions,
    users,
  }
  const signIn = new SignIn(core, {
    ...shared,
    linking: settings.linking,
    redis,
    registrationPolicy: settings.registration,
    buildRouter: (connection) => providerRouter(connection, modules),
  })
  const registration = new Registrations(core, {
    ...shared,
    form: { fields: settings.registrationFields, terms: settings.registrationTerms },
    secrets: settings.secrets,
    signIn,
  })
  const logout = new Logout({ ...shared, signIn, urls: core.urls })
  const account = new Account(core, { ...shared, signIn })
  const classicLogin = new ClassicLogin(core, { ...shared, allowsClassic: settings.allowsClassic })
  const testSignIns = new TestSignIns(core, { ...shared, signIn })
  const modules: Modules = {
    ...shared,
    account,
    classicLogin,
    logout,
    maintenance: createMaintenance(core, {
      ...shared,
      healthProbes: signIn.healthProbes,
      adminMail: settings.adminMail,
      retentionDays: settings.events.retentionDays,
    }),
    management: { ...core, ...shared, connectedProviders: signIn.connectedProviders },
    posted: [web.refuseCrossSitePosts, web.form, sessions.revalidate],
    picker: settings.picker,
    rateLimits: settings.rateLimits,
    registration,
    serviceHealth: new ServiceHealth(core, redis, settings.session.userCacheSeconds),
    signIn,
    testSignIns,
  }
  return modules
}
