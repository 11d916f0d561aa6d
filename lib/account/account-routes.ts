import { type Request, type RequestHandler, type Response, Router } from 'express'
import { providerName } from '../providers/provider.ts'
import { readField } from '../registration/email-verification-routes.ts'
import { sessionDigestPattern } from '../sessions/sessions-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { digest } from '../shared/seal.ts'
import { SECOND } from '../shared/time.ts'
import { listProviders } from '../sign-in/picker-route.ts'
import { satisfies } from '../sign-in/reauthentication.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { pageTime, sendRedirectPage } from '../web/pages.ts'
import { placeName } from '../web/request.ts'
import { type ConfirmationModules, confirmationPage, confirmationRoutes } from './confirmation-routes.ts'

/** Outcome of the previous action. It comes from the query string, so only these words are accepted. */
const notices = ['confirmed', 'ended', 'gone', 'known', 'last', 'linked', 'unlinked'] as const
type Notice = (typeof notices)[number]
const readNotice = ({ query }: Request) => notices.find((each) => each === query.notice)

/** An attacker who took over a session must neither add a sign-in method of their own nor remove the user's. */
const maxAgeSeconds = 15 * 60

const page = '/account/security'
/** the list of providers to add */
const addPage = `${page}/add`

// Long: one small handler for each route.
export function accountRoutes(core: Core, modules: ConfirmationModules): Router {
  const { urls } = core
  const { account, events, guard, pages, posted, sessions, signIn, providersTable } = modules

  function back(res: Response, notice: Notice): void {
    res.redirect(303, urls.path(page, { notice }))
  }

  const requesterOf = (req: Request) => {
    const user = req.user as User
    return { portal: core.portalOf(req), user, userId: String(user.id) }
  }

  /** After a re-authentication, or another proof, the user returns to the page and has to click again. */
  async function isRecentlyAuthenticated(req: Request, res: Response, from = page): Promise<boolean> {
    const requirement = { maxAge: maxAgeSeconds }
    const authentication = sessions.authentication(req)
    if (authentication && satisfies(authentication, requirement, core.clock.now())) return true
    const provider = await signIn.reauthentication.sessionProvider(req)
    const returnTo = urls.path(from, { notice: 'confirmed' })
    if (provider?.reauthentication !== 'unreported')
      return await signIn.reauthentication.require(req, res, { ...requirement, returnTo })
    const at = sessions.confirmedAt(req)
    const isConfirmed = at !== undefined && core.clock.now() - at <= maxAgeSeconds * SECOND
    if (!isConfirmed) res.redirect(303, urls.path(confirmationPage))
    return isConfirmed
  }

  const link = asyncHandler(async (req, res) => {
    const { portal, userId } = requesterOf(req)
    const provider = await providersTable.find(portal, readField(req, 'provider'))
    if (!provider?.enabled)
      throw new PortalSsoError('provider_not_found', 'no enabled provider of this name can be linked')
    if (!(await isRecentlyAuthenticated(req, res, addPage))) return
    const href = await signIn.connectedProviders.connect(provider).begin(req, res, {
      purpose: { kind: 'link-account', userId },
      returnTo: undefined,
      // The provider may know another user in this browser.
      otherAccount: true,
    })
    await sendRedirectPage(pages, req, res, { href, name: providerName(provider, pages.locale(req)) })
  })

  const unlink = asyncHandler(async (req, res) => {
    if (!(await isRecentlyAuthenticated(req, res))) return
    const { portal, user, userId } = requesterOf(req)
    const unlinked = await account.unlinkMethod(portal, userId, readField(req, 'method'))
    if (typeof unlinked === 'string') return back(res, unlinked)
    const { issuer, subjects, provider } = unlinked
    await events.record({ kind: 'unlinked', portal, userId, provider: provider?.slug, clientAddress: req.ip })
    // Every session that was started with it ends, except the one that sends this request.
    for (const subject of subjects)
      await sessions.endAll({ portal, issuer, subject, except: digest(req.sessionID) })
    const named = provider ?? { displayName: new URL(issuer).host, labels: {}, portal }
    signIn.notifications.notify(req, { user, provider: named, change: 'unlinked' })
    back(res, 'unlinked')
  })

  const endOne = asyncHandler(async (req, res) => {
    const { portal, userId } = requesterOf(req)
    const id = readField(req, 'session')
    // The id alone must not end another user's session.
    if (sessionDigestPattern.test(id)) await recordEnded(req, await sessions.endAll({ portal, id, userId }))
    back(res, 'ended')
  })

  const endOthers = asyncHandler(async (req, res) => {
    const { portal, userId } = requesterOf(req)
    await recordEnded(req, await sessions.endAll({ portal, userId, except: digest(req.sessionID) }))
    back(res, 'ended')
  })

  async function recordEnded(req: Request, ended: ReadonlyMap<string, number>): Promise<void> {
    const { portal, userId } = requesterOf(req)
    const count = ended.get(userId)
    if (count === undefined) return
    const by = { portal, userId, actor: userId, clientAddress: req.ip }
    await events.record({ kind: 'sessions-ended', ...by, detail: { sessions: count } })
  }

  const router = Router()
  router.get(page, guard, accountPage(core, modules))
  router.get(addPage, guard, addMethodPage(core, modules))
  router.use(confirmationRoutes(core, { ...modules, maxAgeSeconds }))
  router.post(`${page}/link`, ...posted, guard, link)
  router.post(`${page}/unlink`, ...posted, guard, unlink)
  router.post(`${page}/end`, ...posted, guard, endOne)
  router.post(`${page}/end-others`, ...posted, guard, endOthers)
  return router
}

/** The page lists no more; one button ends all of them. */
const maxListedSessions = 50

function accountPage({ homePath, portalOf, urls }: Core, modules: ConfirmationModules): RequestHandler {
  const { account, pages, sessions, providersTable } = modules
  return asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const user = req.user as User
    const userId = String(user.id)
    const locale = pages.locale(req)
    const { t } = locale
    const time = (at: string) => pageTime(locale.lang, new Date(at))
    const notice = readNotice(req)
    const listed = await sessions.list({ portal, userId }, maxListedSessions)
    const linked = await account.listMethods(portal, userId, locale)
    const slugs = listed.flatMap(({ provider }) => provider ?? [])
    const named = slugs.length > 0 ? await providersTable.list(portal, { slugs }) : []
    const names = new Map(named.map((each) => [each.slug, providerName(each, locale)]))

    await pages.show(req, res, 'account', {
      notice,
      tone: notice === 'last' ? 'bad' : 'good',
      user: { name: user.name, email: user.email },
      base: urls.path(page),
      addHref: urls.path(addPage),
      homeHref: homePath,
      logoutHref: urls.path('/logout'),
      methods: linked.map(({ linkedAt, lastUsedAt, ...method }) => {
        return { ...method, linked: time(linkedAt), lastUsed: time(lastUsedAt) }
      }),
      sessions: listed
        .map(({ id, browser, os, location, startedAt, lastSeenAt, provider }) => ({
          id,
          here: id === digest(req.sessionID),
          icon: deviceIcon(os),
          device:
            (browser && os ? t('account.device', { browser, os }) : (browser ?? os)) ??
            t('account.unknownDevice'),
          location: placeName(location),
          started: time(startedAt),
          lastSeen: time(lastSeenAt),
          provider: provider && (names.get(provider) ?? provider),
        }))
        .sort((a, b) => Number(b.here) - Number(a.here)),
    })
  })
}

/** @param os as `parseUserAgent` names it */
function deviceIcon(os: string | undefined): string {
  if (os === undefined) return 'device'
  return /^(?:iOS|Android|Windows Phone|HarmonyOS|KaiOS)$/i.test(os) ? 'phone' : 'computer'
}

/** Those that the user has not linked yet come first. */
function addMethodPage({ portalOf, urls }: Core, modules: ConfirmationModules): RequestHandler {
  const { account, pages, providersTable } = modules
  return asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const locale = pages.locale(req)
    const { t } = locale
    const linked = await account.listMethods(portal, String((req.user as User).id), locale)
    const where = { action: urls.path(addPage), portal, locale }
    const list = await listProviders(req, providersTable, urls, where)
    const isLinked = ({ slug }: { slug: string }) => linked.some(({ provider }) => provider === slug)
    await pages.show(req, res, 'providers', {
      title: t('account.link.title'),
      sentence: t('account.link.sentence'),
      notice: readNotice(req) === 'confirmed' ? t('account.notices.confirmed') : undefined,
      backHref: urls.path(page),
      search: list.search,
      providers: list.providers
        .map((provider) => ({
          ...provider,
          action: urls.path(`${page}/link`),
          label: t(`account.link.${isLinked(provider) ? 'another' : 'submit'}`, {
            provider: provider.displayName,
          }),
          note: isLinked(provider) ? t('account.link.linked') : undefined,
        }))
        .sort((a, b) => Number(isLinked(a)) - Number(isLinked(b))),
    })
  })
}
