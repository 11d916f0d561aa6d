import type { SessionFilter } from '../management/sessions-api.ts'
import { providersPerPage } from '../providers/providers-table.ts'
import { listLimit } from '../sessions/sessions-table.ts'
import { ManagementError } from '../shared/errors.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { normaliseEmail } from '../users/email-address.ts'
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

/** Rows on a page. An administrator who looks for one session searches for its user. */
const maxRows = 200

/** `/sessions`: the active sessions of a user or a provider. Ends one of them, or all after a confirmation. */
export const sessionsRoutes: AdminRoutes = {
  'GET /sessions': withErrorsOnForm(showSessions),
  // A POST keeps e-mail addresses out of access logs.
  'POST /sessions': withErrorsOnForm(findSessions),
  'GET /sessions/end': withErrorsOnForm(confirmEnd),
  'POST /sessions/end': withErrorsOnForm(endSessions),
  'POST /sessions/identity': withErrorsOnForm(decideIdentity),
}

/** Shows an error such as an unknown provider above the search form. */
function withErrorsOnForm(handle: AdminHandler): AdminHandler {
  return async (page) => {
    try {
      await handle(page)
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      await showForm(page, sentence(error.message))
    }
  }
}

async function showForm(page: AdminRequest, problem?: string): Promise<void> {
  const { options, providers, req } = page
  const suggested = await providers.list({ ...options, most: providersPerPage })
  const slugs = suggested.map(({ slug }) => slug)
  const asked = { user: textOf(req.body, 'user'), provider: textOf(req.body, 'provider') }
  await showPage(page, 'sessions', { slugs, asked, problem }, problem === undefined ? 200 : 422)
}

async function showSessions(page: AdminRequest): Promise<void> {
  const filter = readSessionFilter(page.req.query)
  if (!filter) return await showForm(page)
  const [sessions, described] = await Promise.all([
    page.sessionsApi.list(filter, page.options),
    describeFilter(page, filter, listLimit + 1),
  ])
  const identities = await identitiesOf(page, filter.userId)
  // Up to that many rows, the list is complete, and does not count sessions that Redis has evicted.
  const all = described.all > listLimit ? described.all : sessions.length
  const shown = sessions.slice(0, maxRows)
  await showPage(page, 'sessions-of', { ...described, ...identities, all, listLimit, sessions: shown })
}

async function findSessions(page: AdminRequest): Promise<void> {
  const filter = readPostedFilter(page)
  if (filter.userId === undefined) return redirectToSessions(page, filter)
  const userId = await findUserId(page, filter.userId)
  if (userId === undefined)
    throw new ManagementError('not_found', 'no user with this address or ID, and no active session')
  redirectToSessions(page, { userId })
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
  await sessionsApi.endAll(filter, options)
  redirectToSessions(page, filter, 'sessionsEnded')
}

const identityActions = { accept: 'accepted', keepSeparate: 'separate', allow: 'allowed' } as const

async function decideIdentity(page: AdminRequest): Promise<void> {
  const { identities, options, req } = page
  const filter = readPostedFilter(page)
  const action = textOf(req.body, 'action') as keyof typeof identityActions
  if (!Object.hasOwn(identityActions, action)) throw pageUnknown()
  await identities[action](textOf(req.body, 'id'), options)
  redirectToSessions(page, filter, identityActions[action])
}

async function identitiesOf(page: AdminRequest, userId: string | undefined): Promise<object> {
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
  if (!filter) throw new ManagementError('invalid', 'enter either a user or a provider')
  return filter
}

function filterQuery({ userId, provider }: SessionFilter): Record<string, string> {
  return userId === undefined ? { provider: String(provider) } : { user: userId }
}

function redirectToSessions(page: AdminRequest, filter: SessionFilter, done?: Message): void {
  redirectTo(page, '/sessions', { ...filterQuery(filter), ...(done && { done }) })
}
