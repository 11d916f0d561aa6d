import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { How } from '../shared/act-options.ts'
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
export function assertRehearsed(
  { slug, rehearsedAt, rehearsedAs }: Pick<Provider, 'slug' | 'rehearsedAt' | 'rehearsedAs'>,
  first: boolean,
): void {
  const how = `rehearse a sign-in with it (admin pages, or \`portal-sso providers rehearse ${slug}\`), or enable it without a rehearsal on purpose`
  if (rehearsedAt === undefined)
    throw new ConfigurationError(`"${slug}" has not been rehearsed with its settings of now: ${how}`)
  if (!first) return
  const lockOut = 'it would be the only way in, and replace the classic login'
  if (Date.now() - Date.parse(rehearsedAt) > fresh * 3_600_000)
    throw new ConfigurationError(
      `"${slug}" was rehearsed more than ${fresh} hours ago, but ${lockOut}: ${how}`,
    )
  if (rehearsedAs === undefined)
    throw new ConfigurationError(
      `the rehearsal of "${slug}" ended with nobody who has an account here, but ${lockOut}: rehearse it with an account whose address the provider vouches for and the portal knows, or enable it without a rehearsal on purpose`,
    )
}

export interface EnableHow extends How {
  /** show it though nobody has come in with it yet; default false. The event says so */
  withoutRehearsal?: boolean | undefined
}

export interface DisableHow extends How {
  /** end the sessions of those who came by it, too; default false: they go on until they run out */
  endSessions?: boolean | undefined
}

export interface SwitchParts {
  /** those that were begun with a provider of that name */
  endSessions: (match: { portal: string; provider: string }) => Promise<unknown>
  events: EventLog
  table: ProvidersTable
}

/** What takes one click: whether and where a provider stands on the login page. */
export interface Switches {
  /** @throws ConfigurationError when no rehearsal sign-in has passed since it was changed; with the first provider a fresh one */
  enable(slug: string, how?: EnableHow): Promise<void>
  disable(slug: string, how?: DisableHow): Promise<void>
  /** @param slug `undefined`: none is recommended any more */
  recommend(slug: string | undefined, how?: How): Promise<void>
  /** @param slugs in their new order on the login page; the others come after them */
  reorder(slugs: readonly string[], how?: How): Promise<void>
  /** It can be restored for 30 days. */
  remove(slug: string, how?: DisableHow): Promise<void>
}

export function createSwitches({ endSessions: endAll, events, table }: SwitchParts): Switches {
  async function changed(portal: string, provider: string, by: string, change: string): Promise<void> {
    await events.record({ kind: 'provider-changed', portal, provider, by, detail: { change } })
  }

  return {
    async enable(slug, { portal = 'default', by = 'code', withoutRehearsal = false } = {}) {
      const provider = await table.existing(portal, slug)
      // Who enables again what is enabled has it read anew, and changes nothing for anybody.
      if (!provider.enabled && !withoutRehearsal) assertRehearsed(provider, !(await table.anyEnabled(portal)))
      await table.setEnabled(provider, true)
      const rehearsal = withoutRehearsal ? 'overridden' : 'passed'
      await events.record({
        kind: 'provider-changed',
        portal,
        provider: slug,
        by,
        detail: { change: 'enabled', ...(!provider.enabled && { rehearsal }) },
      })
    },
    async disable(slug, { portal = 'default', by = 'code', endSessions = false } = {}) {
      const provider = await table.existing(portal, slug)
      await table.setEnabled(provider, false, endSessions ? 'sessions' : undefined)
      if (endSessions) await endAll({ portal, provider: slug })
      await changed(portal, slug, by, endSessions ? 'disabled, its sessions end' : 'disabled')
    },
    async recommend(slug, { portal = 'default', by = 'code' } = {}) {
      if (slug !== undefined) await table.existing(portal, slug)
      const before = (await table.list(portal)).filter(({ recommended }) => recommended)
      await table.recommend(portal, slug)
      if (slug !== undefined) await changed(portal, slug, by, 'recommended')
      for (const { slug: other } of before)
        if (other !== slug) await changed(portal, other, by, 'no longer recommended')
    },
    async reorder(slugs, { portal = 'default', by = 'code' } = {}) {
      for (const slug of slugs) await table.existing(portal, slug)
      await table.reorder(portal, slugs)
      const [first] = slugs
      if (first !== undefined) await changed(portal, first, by, `order: ${slugs.join(', ')}`)
    },
    async remove(slug, { portal = 'default', by = 'code', endSessions = false } = {}) {
      const provider = await table.existing(portal, slug)
      await table.remove(provider, endSessions ? 'sessions' : undefined)
      if (endSessions) await endAll({ portal, provider: slug })
      await events.record({ kind: 'provider-removed', portal, provider: slug, by })
    },
  }
}
