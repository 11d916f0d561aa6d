import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'

/** hours */
const fresh = 12

/**
 * Nobody should find out at the login page that a provider does not work. With the first one of a portal the classic login goes
 * off, and whoever set it up wrong would be locked out with everybody else: so there somebody has to have come in just now.
 *
 * @param first whether no other provider of the portal is enabled
 * @throws ConfigurationError that says what to do
 */
export function assertTestedSignIn(
  { slug, testSignInAt, testSignInUserId }: Pick<Provider, 'slug' | 'testSignInAt' | 'testSignInUserId'>,
  first: boolean,
): void {
  const how = `rehearse a sign-in with it (admin pages, or \`portal-sso providers rehearse ${slug}\`), or enable it without a rehearsal on purpose`
  if (testSignInAt === undefined)
    throw new ConfigurationError(`"${slug}" has not been rehearsed with its settings of now: ${how}`)
  if (!first) return
  const lockOut = 'it would be the only way in, and replace the classic login'
  if (Date.now() - Date.parse(testSignInAt) > fresh * 3_600_000)
    throw new ConfigurationError(
      `"${slug}" was rehearsed more than ${fresh} hours ago, but ${lockOut}: ${how}`,
    )
  if (testSignInUserId === undefined)
    throw new ConfigurationError(
      `the rehearsal of "${slug}" ended with nobody who has an account here, but ${lockOut}: rehearse it with an account whose address the provider vouches for and the portal knows, or enable it without a rehearsal on purpose`,
    )
}

export interface EnableOptions extends ActOptions {
  /** show it though nobody has come in with it yet; default false. The event says so */
  withoutRehearsal?: boolean | undefined
}

export interface DisableOptions extends ActOptions {
  /** end the sessions of those who came by it, too; default false: they go on until they run out */
  endSessions?: boolean | undefined
}

export interface EnableApiParts {
  /** those that were begun with a provider of that name */
  endSessions: (match: { portal: string; provider: string }) => Promise<unknown>
  events: EventLog
  table: ProvidersTable
}

/** What takes one click: whether and where a provider stands on the login page. */
export interface EnableApi {
  /** @throws ConfigurationError when no rehearsal sign-in has passed since it was changed; with the first provider a fresh one */
  enable(slug: string, how?: EnableOptions): Promise<void>
  disable(slug: string, how?: DisableOptions): Promise<void>
  /** @param slug `undefined`: none is recommended any more */
  recommend(slug: string | undefined, how?: ActOptions): Promise<void>
  /** @param slugs in their new order on the login page; the others come after them */
  reorder(slugs: readonly string[], how?: ActOptions): Promise<void>
  /** It can be restored for 30 days. */
  remove(slug: string, how?: DisableOptions): Promise<void>
}

export function createEnableApi({ endSessions: endAll, events, table }: EnableApiParts): EnableApi {
  async function changed(portal: string, provider: string, actor: string, change: string): Promise<void> {
    await events.record({ kind: 'provider-changed', portal, provider, actor, detail: { change } })
  }

  return {
    async enable(slug, { portal = 'default', actor = 'code', withoutRehearsal = false } = {}) {
      const provider = await table.existing(portal, slug)
      // Who enables again what is enabled has it read anew, and changes nothing for anybody.
      if (!provider.enabled && !withoutRehearsal)
        assertTestedSignIn(provider, !(await table.anyEnabled(portal)))
      await table.setEnabled(provider, true)
      const rehearsal = withoutRehearsal ? 'overridden' : 'passed'
      await events.record({
        kind: 'provider-changed',
        portal,
        provider: slug,
        actor,
        detail: { change: 'enabled', ...(!provider.enabled && { rehearsal }) },
      })
    },
    async disable(slug, { portal = 'default', actor = 'code', endSessions = false } = {}) {
      const provider = await table.existing(portal, slug)
      await table.setEnabled(provider, false, endSessions ? 'sessions' : undefined)
      if (endSessions) await endAll({ portal, provider: slug })
      await changed(portal, slug, actor, endSessions ? 'disabled, its sessions end' : 'disabled')
    },
    async recommend(slug, { portal = 'default', actor = 'code' } = {}) {
      if (slug !== undefined) await table.existing(portal, slug)
      const before = (await table.list(portal)).filter(({ recommended }) => recommended)
      await table.recommend(portal, slug)
      if (slug !== undefined) await changed(portal, slug, actor, 'recommended')
      for (const { slug: other } of before)
        if (other !== slug) await changed(portal, other, actor, 'no longer recommended')
    },
    async reorder(slugs, { portal = 'default', actor = 'code' } = {}) {
      for (const slug of slugs) await table.existing(portal, slug)
      await table.reorder(portal, slugs)
      const [first] = slugs
      if (first !== undefined) await changed(portal, first, actor, `order: ${slugs.join(', ')}`)
    },
    async remove(slug, { portal = 'default', actor = 'code', endSessions = false } = {}) {
      const provider = await table.existing(portal, slug)
      await table.remove(provider, endSessions ? 'sessions' : undefined)
      if (endSessions) await endAll({ portal, provider: slug })
      await events.record({ kind: 'provider-removed', portal, provider: slug, actor })
    },
  }
}
