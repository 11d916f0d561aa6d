import type { Request } from 'express'
import { ConfigurationError } from '../errors.ts'
import type { Message } from './messages.ts'
import { type AdminProviders, textOf } from './parts.ts'

/** Something that takes one click. @throws ConfigurationError with what to do */
export type ProviderAct = (
  slug: string,
  how: { portal: string; by: string },
  form: Request['body'],
) => Promise<Message>

/** By the last part of their address: `POST /:slug/enable`. */
export function createProviderActs(providers: AdminProviders): Record<string, ProviderAct> {
  return {
    async test(slug, { portal }) {
      await providers.test(slug, portal)
      return 'tested'
    },
    async enable(slug, how, form) {
      const withoutRehearsal = textOf(form, 'withoutRehearsal') === 'yes'
      await providers.enable(slug, { ...how, withoutRehearsal })
      return 'enabled'
    },
    async disable(slug, how, form) {
      await providers.disable(slug, { ...how, endSessions: textOf(form, 'endSessions') !== '' })
      return 'disabled'
    },
    async recommend(slug, how, form) {
      const off = textOf(form, 'recommended') === 'no'
      await providers.recommend(off ? undefined : slug, how)
      return off ? 'notRecommended' : 'recommended'
    },
    async move(slug, how, form) {
      const order = moved(
        (await providers.list(how.portal)).map((provider) => provider.slug),
        slug,
        textOf(form, 'direction') === 'up' ? -1 : 1,
      )
      await providers.reorder(order, how)
      return 'moved'
    },
    async 'promote-secret'(slug, how) {
      await providers.promoteSecondSecret(slug, how)
      return 'promoted'
    },
    async 'rotate-key'(slug, how) {
      await providers.rotateClientKey(slug, how)
      return 'rotated'
    },
    async retire(slug, how, form) {
      const at = new Date(textOf(form, 'at'))
      if (Number.isNaN(at.getTime())) throw new ConfigurationError('enter the day from which it is disabled')
      await providers.retire(slug, at, how)
      return 'retiring'
    },
    async keep(slug, how) {
      await providers.keep(slug, how)
      return 'kept'
    },
    async remove(slug, how, form) {
      await providers.remove(slug, { ...how, endSessions: textOf(form, 'endSessions') !== '' })
      return 'removed'
    },
    async restore(slug, how) {
      await providers.restore(slug, how)
      return 'restored'
    },
    async rebind(slug, how, form) {
      switch (textOf(form, 'act')) {
        case 'start':
          await providers.startRebinding(slug, how)
          return 'rebinding'
        case 'undo':
          await providers.undoRebinding(slug, how)
          return 'rebindingUndone'
        default:
          await providers.stopRebinding(slug, how)
          return 'rebindingStopped'
      }
    },
  }
}

function moved(slugs: readonly string[], slug: string, by: -1 | 1): string[] {
  const order = [...slugs]
  const at = order.indexOf(slug)
  if (at < 0) throw new ConfigurationError(`no provider is called "${slug}"`)
  const to = at + by
  if (to < 0 || to >= order.length) return order
  order.splice(to, 0, ...order.splice(at, 1))
  return order
}
