import type { RequestHandler, Router } from 'express'
import { type AdminOptions, createAdmin } from './admin/admin.ts'
import { type BreakGlass, createBreakGlass } from './classic-login/break-glass.ts'
import { createClassicLoginGate } from './classic-login/classic-login-gate.ts'
import { connectDatabase } from './database/connect.ts'
import { migrate, pendingMigrations } from './database/migrate.ts'
import { ConfigurationError } from './errors.ts'
import type { PortalEvents } from './events/events.ts'
import type { History } from './events/history.ts'
import { createGuard, type GuardOptions } from './guard.ts'
import { createLimitRefusals } from './limit-routes.ts'
import type { Rebinding } from './moving/rebind-identities.ts'
import type { Retirement } from './moving/retire-provider.ts'
import type { PortalSsoOptions } from './options.ts'
import { createPortalParts } from './portal-parts.ts'
import type { ClientKeys } from './providers/client-keys.ts'
import type { Providers } from './providers/providers.ts'
import type { RotateSecrets } from './providers/rotate-secrets.ts'
import { readOptions } from './read-options.ts'
import type { Rehearsals } from './rehearsal/rehearsals.ts'
import { createRouter } from './router.ts'
import { createSession, type SessionOptions } from './session.ts'
import type { SessionActs } from './sessions/session-acts.ts'
import type { UserDirectory } from './users/user-directory.ts'

export interface PortalSso {
  /** Cookie session, unless the host has its `own`, and `req.user`; before everything that needs a user. */
  session(options?: SessionOptions): RequestHandler
  /** The pages and routes. */
  router(): Router
  /**
   * Lets signed-in users pass; with `maxAge` or `acr` those who showed their provider who they are not long ago, or well enough.
   *
   * @throws ConfigurationError when an option is wrong
   */
  guard(options?: GuardOptions): RequestHandler
  /** Before the host's own password handler: refuses while a provider is enabled. */
  classicLoginGate(): RequestHandler
  /** The pages on which an administrator connects providers; mounted where the host likes. */
  admin(options: AdminOptions): Router
  readonly providers: Providers & ClientKeys & Retirement & Rebinding
  /** The sessions that run: whose they are, and how they are ended. */
  readonly sessions: SessionActs
  readonly rehearsals: Pick<Rehearsals, 'link' | 'outcome'>
  readonly breakGlass: BreakGlass
  /** Seals all client secrets anew, after `secret: [new, old]`. */
  readonly rotateSecrets: RotateSecrets
  readonly history: History
  /** The directory in use: the host's, or the built-in one. */
  readonly users: UserDirectory
  readonly events: PortalEvents
  /**
   * Does now what is done each minute by itself: retires providers, warns of client secrets that run out, forgets what is over.
   * For a host that is frozen between requests. Safe on any number of instances.
   */
  upkeep(): Promise<void>
  /** Closes what was opened here; a host's own Knex and Redis stay open. */
  close(): Promise<void>
}

/**
 * Brings the tables up to date and puts the parts together.
 *
 * @throws ConfigurationError with a sentence that says what to write, when an option is wrong
 */
export async function createPortalSso(options: PortalSsoOptions): Promise<PortalSso> {
  const settings = readOptions(options)
  const database = connectDatabase(settings.database)
  try {
    await (settings.migrate ? migrate(database.knex) : refuseOutdated(database.knex))
  } catch (error) {
    await database.close()
    throw error
  }
  const parts = createPortalParts(settings, database.knex)
  const { events, history, outbound, providers, rehearsals, rotateSecrets, sessionActs, upkeep, users } =
    parts

  return {
    session: ({ own = false } = {}) =>
      createSession({ ...parts, cookieSession: own ? undefined : parts.cookieSession() }),
    router() {
      // Who serves people looks after what has its time; a command or a script does not.
      upkeep.start()
      return createRouter(parts)
    },
    guard: (options) => createGuard(parts, options),
    classicLoginGate: () => createClassicLoginGate({ ...parts, limitRefusals: createLimitRefusals(parts) }),
    admin: createAdmin(parts),
    providers,
    sessions: sessionActs,
    rehearsals,
    breakGlass: createBreakGlass(parts),
    rotateSecrets,
    history,
    users,
    events: events.emitter,
    upkeep: () => upkeep.run(),
    async close() {
      await upkeep.stop()
      await outbound.close()
      await database.close()
    },
  }
}

async function refuseOutdated(knex: Parameters<typeof pendingMigrations>[0]): Promise<void> {
  const pending = await pendingMigrations(knex)
  if (pending.length > 0)
    throw new ConfigurationError(
      `the tables are not up to date (${pending.join(', ')}): run \`portal-sso migrate\``,
    )
}
