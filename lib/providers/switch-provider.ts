import type { EventLog } from '../events/events.ts'
import { assertRehearsed } from './assert-rehearsed.ts'
import type { How } from './how.ts'
import type { ProvidersTable } from './providers-table.ts'

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
