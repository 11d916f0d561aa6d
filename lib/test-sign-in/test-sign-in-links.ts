import { type Request, type RequestHandler, Router } from 'express'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { type ActOptions, resolveActOptions } from '../shared/act-options.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { TestSignIns } from './test-sign-in.ts'

interface LinkModules {
  oneTimeLinks: OneTimeLinks
  providersTable: ProvidersTable
}

/** A link that starts a test sign-in. */
export interface TestSignInLink {
  /** For the administrator's browser. */
  url: string
  /** Identifies it to `outcome`. */
  token: string
  /** 15 minutes after it was created. */
  expiresAt: Date
}

/** Test sign-ins, for code and the command line. */
export class TestSignInsApi {
  readonly #core: Core
  readonly #modules: LinkModules
  readonly #portal: string

  /** @internal */
  constructor(core: Core, modules: LinkModules, portal = 'default') {
    this.#core = core
    this.#modules = modules
    this.#portal = portal
  }

  /**
   * A URL for an administrator's browser that starts a test sign-in. It works once and expires after 15 minutes.
   *
   * @throws ManagementError `not_found`
   */
  async link(slug: string, options: ActOptions = {}): Promise<TestSignInLink> {
    const { portal, actor } = resolveActOptions(options, this.#portal)
    const { oneTimeLinks, providersTable } = this.#modules
    await providersTable.get(portal, slug)
    const detail = { actor, provider: slug }
    const { token, expiresAt } = await oneTimeLinks.create(portal, 'test-sign-in', detail)
    const { urls } = this.#core
    const path = urls.path(`/login/${slug}/test-sign-in`, { token })
    return { url: urls.origin(portal) + path, token, expiresAt }
  }

  /** Returns the outcome of a test sign-in. @param token of the link */
  async outcome(token: string): Promise<'waiting' | 'passed' | 'failed' | 'expired'> {
    return await this.#modules.oneTimeLinks.outcome(token)
  }
}

/**
 * `GET|POST /login/:provider/test-sign-in`: the page of a link from a terminal. Opening it changes nothing, because mail and chat
 * programs open links too. Its button uses the link up.
 */
export function testSignInLinkRoutes(
  { portalOf, urls }: Core,
  modules: LinkModules & {
    pages: Pages
    /** parses posts, after refusing those from other sites */
    posted: RequestHandler[]
    testSignIns: TestSignIns
  },
): Router {
  const { oneTimeLinks, pages, posted, providersTable, testSignIns } = modules
  const expired = () => new PortalSsoError('link_expired', 'the link to a test sign-in is not valid')

  /** Does not use the link up. */
  async function findProvider(req: Request, token: unknown): Promise<Provider> {
    const portal = portalOf(req)
    const link = await oneTimeLinks.find(portal, 'test-sign-in', token)
    const slug = link?.detail.provider
    const isSame = slug !== undefined && slug === req.params.provider
    const provider = isSame ? await providersTable.find(portal, slug) : undefined
    if (!provider) throw expired()
    return provider
  }

  const ask = asyncHandler(async (req, res) => {
    const { token } = req.query
    const { displayName, slug } = await findProvider(req, token)
    await pages.show(req, res, 'test-sign-in-begin', {
      ...pages.locales.resolveForAdmin(req),
      provider: { displayName },
      action: urls.path(`/login/${slug}/test-sign-in`),
      token,
    })
  })

  const begin = asyncHandler(async (req, res) => {
    const { token } = (req.body ?? {}) as { token?: unknown }
    const provider = await findProvider(req, token)
    const link = await oneTimeLinks.take(portalOf(req), 'test-sign-in', token)
    if (!link) throw expired()
    await testSignIns.begin(req, res, { provider, actor: link.detail.actor, oneTimeLinkId: link.id })
  })

  const router = Router()
  router.get('/login/:provider/test-sign-in', ask)
  router.post('/login/:provider/test-sign-in', ...posted, begin)
  return router
}
