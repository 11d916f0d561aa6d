import type { Knex } from 'knex'
import { type CoreOptions, createCore } from './core.ts'
import { refuseCrossSitePosts } from './csrf.ts'
import { Pages, type PagesOptions } from './pages.ts'
import { RateLimiter, type RedisCounter } from './rate-limit.ts'
import { formParser } from './request.ts'
import { StateCookie } from './sealed-cookie.ts'

/** Builds the modules of this folder. */
export function createWebModules(
  options: CoreOptions & PagesOptions & { redis: RedisCounter | undefined },
  knex: Knex,
) {
  const core = createCore(options, knex)
  return {
    core,
    form: formParser(),
    pages: new Pages(core, options),
    rateLimiter: new RateLimiter(core, options.redis),
    consentState: new StateCookie(core, 'admin-consent'),
    logoutState: new StateCookie(core, 'logout'),
    refuseCrossSitePosts: refuseCrossSitePosts(core),
  }
}
