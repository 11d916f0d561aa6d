import type { Knex } from 'knex'
import { type Clock, type CoreOptions, createCore } from './core.ts'
import { refuseCrossSitePosts } from './csrf.ts'
import { Pages, type PagesOptions } from './pages.ts'
import { RateLimiter, type RedisCounter } from './rate-limit.ts'
import { formParser } from './request.ts'
import { StateCookie } from './sealed-cookie.ts'

/** Builds the modules of this folder. */
export function createWebModules(
  options: CoreOptions & PagesOptions & { redis: RedisCounter | undefined },
  knex: Knex,
  clock: Clock,
) {
  const core = createCore(options, knex, clock)
  const pages = new Pages(core, options)
  if (pages.adjustedAccent !== undefined)
    core.logger.warn(
      { accent: options.branding.accent, text: pages.adjustedAccent },
      'branding.accent: its contrast on light pages is too low, so links and other texts use a darker shade',
    )
  return {
    core,
    form: formParser(),
    pages,
    rateLimiter: new RateLimiter(core, options.redis),
    consentState: new StateCookie(core, 'admin-consent'),
    logoutState: new StateCookie(core, 'logout'),
    refuseCrossSitePosts: refuseCrossSitePosts(core),
  }
}
