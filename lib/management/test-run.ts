import { isUniqueViolation } from '../database/connect.ts'
import type { Provider } from '../providers/provider.ts'
import { describeError, ManagementError } from '../shared/errors.ts'
import { MINUTE } from '../shared/time.ts'
import type { ManagementContext } from './context.ts'

/** Progress of work that an administrator watches. */
export interface Progress {
  total: number
  done: number
}

/** A test may take several seconds, and sign-ins need connections, too. */
const testsAtOnce = 4
const pageSize = 50
/** A run without progress for this long has ended with its instance. */
const stalledMs = MINUTE

const taskOf = (portal: string) => `test ${portal}`

/**
 * Tests the connection of all providers of a portal. A portal has one run at a time, across all instances: another administrator
 * joins it.
 *
 * @returns a promise that is fulfilled when this instance has tested all of them; it never rejects
 */
export async function startTestRun(
  context: ManagementContext,
  portal: string,
  test: (slug: string) => Promise<unknown>,
): Promise<{ finished: Promise<void> }> {
  const { knex, logger } = context
  const row = await knex('sso_providers')
    .where({ portal })
    .whereNull('removed_at')
    .count({ total: '*' })
    .first()
  const total = Number(row?.total)
  const startedAt = await claim(context, portal, total)
  if (startedAt === undefined) return { finished: Promise.resolve() }
  const finished = testAll(context, portal, { startedAt, total, test }).catch((error: unknown) => {
    logger.warn({ portal, cause: describeError(error) }, 'testing all providers was interrupted')
  })
  return { finished }
}

/** @returns `undefined` if no run is in progress */
export async function testRunProgress(
  { clock, knex }: Pick<ManagementContext, 'clock' | 'knex'>,
  portal: string,
): Promise<Progress | undefined> {
  const row = await knex('sso_tasks')
    .where({ id: taskOf(portal) })
    .first('total', 'done', 'reached_at')
  const stalled = new Date(clock.now() - stalledMs).toISOString()
  return row && row.done < row.total && row.reached_at > stalled
    ? { total: row.total, done: row.done }
    : undefined
}

/** @returns when the run started; `undefined` if another one is in progress */
async function claim(
  { clock, knex }: ManagementContext,
  portal: string,
  total: number,
): Promise<string | undefined> {
  const id = taskOf(portal)
  const now = new Date(clock.now()).toISOString()
  const run = { total, done: 0, started_at: now, reached_at: now }
  const stalled = new Date(clock.now() - stalledMs).toISOString()
  const taken = await knex('sso_tasks')
    .where({ id })
    .where((free) => free.whereRaw('done >= total').orWhere('reached_at', '<=', stalled))
    .update(run)
  if (taken === 1) return now
  try {
    await knex('sso_tasks').insert({ id, ...run })
    return now
  } catch (error) {
    if (isUniqueViolation(error)) return undefined
    throw error
  }
}

async function testAll(
  { clock, knex, providersTable }: ManagementContext,
  portal: string,
  run: { startedAt: string; total: number; test: (slug: string) => Promise<unknown> },
): Promise<void> {
  const { startedAt, total, test } = run
  let done = 0
  /** @returns false if another run has begun since */
  const reach = async (reached: number) =>
    (await knex('sso_tasks')
      .where({ id: taskOf(portal), started_at: startedAt })
      .update({ done: reached, reached_at: new Date(clock.now()).toISOString() })) === 1
  let after: Provider | undefined
  do {
    const waiting: Provider[] = await providersTable.list(portal, { after, limit: pageSize })
    after = waiting.length === pageSize ? waiting.at(-1) : undefined
    const testNext = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        try {
          await test(next.slug)
        } catch (error) {
          // The provider has just been removed, or its secret cannot be unsealed. Test the others anyway.
          if (!(error instanceof ManagementError)) throw error
        }
        done++
        if (!(await reach(Math.min(done, total - 1)))) waiting.length = 0
      }
    }
    await Promise.all(Array.from({ length: testsAtOnce }, testNext))
  } while (after)
  await reach(total)
}
