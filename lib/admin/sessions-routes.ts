import type { SessionFilter } from '../management/sessions-api.ts'
import { providersPerPage } from '../providers/providers-table.ts'
import { listLimit } from '../sessions/sessions-table.ts'
import { CheckError, ManagementError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
import { withTimeout } from '../shared/time.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { User } from '../users/user-directory.ts'
import { maxUsersFound } from '../users/users-table.ts'
import {
  type AdminHandler,
  type AdminRequest,
  type AdminRoutes,
  type Message,
  pageUnknown,
  redirectTo,
  showPage,
  textOf,
} from './admin-request.ts'
import { problemText } from './form.ts'
import { waitForEndMs } from './providers-list-routes.ts'

const pageSize = 50

/**
 * `/sessions`: the active sessions of the portal, of a user or of a provider, newest first. Ends one of them, or all after a
 * confirmation, and unlinks an identity of a user.
 */
export const sessionsRoutes: AdminRoutes = {
  'GET /sessions': withErrorsOnForm(showSessions),
  // A POST keeps e-mail addresses out of access logs.
  'POST /sessions': withErrorsOnForm(findSessions),
  'GET /sessions/end': withErrorsOnForm(confirmEnd),
  'POST /sessions/end': withErrorsOnForm(endSessions),
  'GET /sessions/ending': withErrorsOnForm(showEnding),
  'GET /sessions/unlink': withErrorsOnForm(confirmUnlink),
  'POST /sessions/identity': withErrorsOnForm(decideIdentity),
}

/** Shows an error such as an unknown provider above the search form. */
function withErrorsOnForm(handle: AdminHandler): AdminHandler {
  return async (page) => {
    try {
      await handle(page)
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      await showForm(page, problemText(page, error))
    }
  }
}

async function showForm(page: AdminRequest, problem?: string, found?: readonly User[]): Promise<void> {
  const { options, providers, req } = page
  const [suggested, listed] = await Promise.all([
    providers.list({ ...options, most: providersPerPage }),
    found ? { sessions: [] } : listSessions(page, undefined),
  ])
  const locals = {
    slugs: suggested.map(({ slug }) => slug),
    asked: { user: textOf(req.body, 'user'), provider: textOf(req.body, 'provider') },
    problem,
    found: found?.slice(0, maxUsersFound),
    foundMore: found !== undefined && found.length > maxUsersFound,
    ...listed,
  }
  await showPage(page, 'sessions', locals, problem === undefined ? 200 : 422)
}

async function showSessions(page: AdminRequest): Promise<void> {
  const filter = readSessionFilter(page.req.query)
  if (!filter) return await showForm(page)
  const [listed, described] = await Promise.all([
    listSessions(page, filter),
    describeFilter(page, filter, listLimit + 1),
  ])
  const identities = await identitiesOf(page, filter.userId)
  // If all fit on one page, the list does not count sessions that Redis has evicted.
  const all = listed.firstHref || listed.nextHref ? described.all : listed.sessions.length
  await showPage(page, 'sessions-of', { ...described, ...identities, all, listLimit, ...listed })
}

/** One page of sessions with the names of their users and providers. @param filter omitted: all of the portal */
async function listSessions(page: AdminRequest, filter: SessionFilter | undefined) {
  const { options, providers, req, sessionsApi, users } = page
  const before = textOf(req.query, 'before')
  const { sessions, next } = await sessionsApi.page(filter, { before, size: pageSize }, options)
  const slugs = [...new Set(sessions.flatMap(({ provider }) => provider ?? []))]
  const [people, connected] = await Promise.all([
    users.findAll(filter?.userId === undefined ? sessions.map(({ userId }) => userId) : [], options.portal),
    slugs.length > 0 ? providers.list({ ...options, slugs }) : [],
  ])
  const query = filter && filterQuery(filter)
  const href = (more: Record<string, string>) =>
    `${req.baseUrl}/sessions?${new URLSearchParams({ ...query, ...more })}`
  return {
    sessions: sessions.map((session) => ({
      ...session,
      user: people.get(session.userId),
      providerName: connected.find(({ slug }) => slug === session.provider)?.displayName ?? session.provider,
    })),
    firstHref: before === '' ? undefined : href({}),
    nextHref: next && href({ before: next }),
  }
}

async function findSessions(page: AdminRequest): Promise<void> {
  const { options, req, users } = page
  // A part of a name finds several people.
  const filter = readPostedFilter(page)
  if (filter.userId === undefined) return redirectToSessions(page, filter)
  const userId = await findUserId(page, filter.userId)
  if (userId !== undefined) return redirectToSessions(page, { userId })
  const found = await users.search(textOf(req.body, 'user'), options.portal)
  const [only] = found
  if (!only)
    throw new ManagementError(
      'not_found',
      phrase('no user with this name, address or ID, and no active session'),
    )
  if (found.length === 1) return redirectToSessions(page, { userId: String(only.id) })
  await showForm(page, undefined, found)
}

/** @param text an e-mail address or an id, also of a user who is no longer in the directory but has a session */
async function findUserId(page: AdminRequest, text: string): Promise<string | undefined> {
  const { options, sessionsApi, users } = page
  const email = normaliseEmail(text)
  const userByEmail = email === undefined ? undefined : await users.findByEmail(email, options.portal)
  if (userByEmail) return userByEmail.id
  // Count before asking the directory: counting refuses text that a database cannot store.
  if ((await sessionsApi.count({ userId: text }, { ...options, most: 1 })) > 0) return text
  return (await users.findById(text, options.portal))?.id
}

async function confirmEnd(page: AdminRequest): Promise<void> {
  const filter = readSessionFilter(page.req.query)
  if (!filter) throw pageUnknown()
  await showPage(page, 'end-sessions', await describeFilter(page, filter))
}

async function endSessions(page: AdminRequest): Promise<void> {
  const { options, req, sessionsApi } = page
  const filter = readPostedFilter(page)
  const id = textOf(req.body, 'id')
  if (id !== '') {
    const hasEnded = await sessionsApi.end(id, options)
    return redirectToSessions(page, filter, hasEnded ? 'sessionEnded' : 'sessionsOver')
  }
  const { id: ending, finished } = await sessionsApi.beginEnding(filter, options)
  // Many sessions take longer. If this instance dies, another one finishes.
  const ended = await withTimeout(waitForEndMs, finished).catch((error: unknown) => {
    if (!(error instanceof CheckError) || error.code !== 'timeout') throw error
  })
  if (ended !== undefined) return redirectToSessions(page, filter, 'sessionsEnded')
  redirectTo(page, '/sessions/ending', { ...filterQuery(filter), id: ending })
}

/** The page loads itself again until the sessions have ended. */
async function showEnding(page: AdminRequest): Promise<void> {
  const { options, req, say, sessionsApi } = page
  const filter = readSessionFilter(req.query)
  if (!filter) throw pageUnknown()
  const id = textOf(req.query, 'id')
  const progress = await sessionsApi.endingProgress(id, options)
  if (!progress) return redirectToSessions(page, filter, 'sessionsEnded')
  const query = filterQuery(filter)
  const href = (path: string, more?: object) =>
    `${req.baseUrl}${path}?${new URLSearchParams({ ...query, ...more })}`
  await showPage(page, 'progress', {
    ...progress,
    title: say('Ending sessions'),
    here: 'sessions',
    backHref: href('/sessions'),
    back: say('Sessions'),
    refreshHref: href('/sessions/ending', { id }),
  })
}

/** Asks before a user loses a sign-in method. */
async function confirmUnlink(page: AdminRequest): Promise<void> {
  const { req } = page
  const filter = readSessionFilter(req.query)
  if (filter?.userId === undefined) throw pageUnknown()
  const { linked } = await identitiesOf(page, filter.userId)
  const identity = linked.find(({ id }) => id === textOf(req.query, 'id'))
  if (!identity) throw new ManagementError('not_found', phrase('this account is no longer linked'))
  const described = await describeFilter(page, filter, listLimit + 1)
  await showPage(page, 'unlink', { ...described, identity, isLast: linked.length === 1 })
}

const identityActions = {
  accept: 'accepted',
  keepSeparate: 'separate',
  allow: 'allowed',
  unlink: 'unlinked',
} as const

async function decideIdentity(page: AdminRequest): Promise<void> {
  const { identities, options, req } = page
  const filter = readPostedFilter(page)
  const action = textOf(req.body, 'action') as keyof typeof identityActions
  if (!Object.hasOwn(identityActions, action)) throw pageUnknown()
  if (action === 'unlink') await identities.unlink(filter.userId ?? '', textOf(req.body, 'id'), options)
  else await identities[action](textOf(req.body, 'id'), options)
  redirectToSessions(page, filter, identityActions[action])
}

async function identitiesOf(page: AdminRequest, userId: string | undefined) {
  const { identities, options, providers } = page
  if (userId === undefined) return { linked: [], blocked: [] }
  const [linked, blocked] = await Promise.all([
    identities.list(userId, options),
    identities.listBlocked(userId, options),
  ])
  const ids = [...linked, ...blocked].map(({ providerId }) => providerId)
  const all = await providers.list({ ...options, ids })
  const named = <T extends { providerId: string; issuer: string }>(identity: T) => ({
    ...identity,
    name: all.find(({ id }) => id === identity.providerId)?.displayName ?? new URL(identity.issuer).host,
  })
  return { linked: linked.map(named), blocked: blocked.map(named) }
}

/** @param most stops counting the sessions there */
async function describeFilter(page: AdminRequest, filter: SessionFilter, most?: number) {
  const { options, providers, sessionsApi, users } = page
  const { userId, provider: slug } = filter
  // Count before asking the directory: counting refuses text that is no id.
  const all = await sessionsApi.count(filter, { ...options, most })
  const person = userId === undefined ? undefined : await users.findById(userId, options.portal)
  const provider = slug === undefined ? undefined : await providers.find(slug, options)
  const name = provider?.displayName ?? slug ?? person?.name ?? userId
  return { all, whose: filter, name, person, query: filterQuery(filter) }
}

/** @returns `undefined` unless exactly one of both is given, so that an incomplete URL ends no sessions */
function readSessionFilter(given: unknown): SessionFilter | undefined {
  const userId = textOf(given, 'user')
  const provider = textOf(given, 'provider')
  if ((userId === '') === (provider === '')) return undefined
  return userId === '' ? { provider } : { userId }
}

function readPostedFilter({ req }: AdminRequest): SessionFilter {
  const filter = readSessionFilter(req.body)
  if (!filter) throw new ManagementError('invalid', phrase('enter either a user or a provider'))
  return filter
}

function filterQuery({ userId, provider }: SessionFilter): Record<string, string> {
  return userId === undefined ? { provider: String(provider) } : { user: userId }
}

function redirectToSessions(page: AdminRequest, filter: SessionFilter, done?: Message): void {
  redirectTo(page, '/sessions', { ...filterQuery(filter), ...(done && { done }) })
}
