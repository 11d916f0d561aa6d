import type { Request, Response } from 'express'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { type IndexedSession, idOf, type SessionIndex } from '../sessions/session-index.ts'
import { hueOf, monogramOf } from '../sign-in/picker-route.ts'
import { mayGo, type SignInMethod, type SignInMethods } from '../users/sign-in-methods.ts'
import type { User } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { readDone } from './done.ts'

export interface ShowAccountParts {
  addresses: Addresses
  homePath: string
  index: SessionIndex
  methods: SignInMethods
  pages: Pages
  portalOf: PortalOf
  table: ProvidersTable
}

/** @param recent whether the person may change how they sign in: otherwise the page says what to do before */
export type ShowAccount = (req: Request, res: Response, recent: boolean) => Promise<void>

/** sessions on the page: more is nobody's day, and ending all others ends those too */
const most = 50

export function createShowAccount(parts: ShowAccountParts): ShowAccount {
  const { addresses, homePath, index, methods, pages, portalOf, table } = parts
  const action = (name: string) => addresses.path(`/account/security/${name}`)

  return async (req, res, recent) => {
    const portal = portalOf(req)
    const user = req.user as User
    const userId = String(user.id)
    const [linked, sessions, providers] = await Promise.all([
      methods.listOf(portal, userId),
      index.list({ portal, userId }, most),
      table.list(portal),
    ])
    const timeOf = createTimeOf(pages.locale(req).lang)
    const here = idOf(req.sessionID)
    const nameOf = (slug: string | undefined) =>
      providers.find((provider) => provider.slug === slug)?.displayName ?? slug
    await pages.show(req, res, 'account', {
      user,
      homePath,
      recent,
      notice: readDone(req.query.done),
      confirmHref: action('confirm'),
      actions: {
        link: action('link'),
        unlink: action('unlink'),
        end: action('end'),
        endOthers: action('end-others'),
      },
      methods: linked.map((method) => shownMethod(method, linked, timeOf)),
      providers: providers.filter(({ enabled }) => enabled).map(shownProvider),
      sessions: sessions.map((session) => ({
        ...shownSession(session, timeOf),
        provider: nameOf(session.provider),
        here: session.id === here,
      })),
      mayEndOthers: sessions.some(({ id }) => id !== here),
    })
  }
}

/** A moment for people, in the language of the page, and for machines. */
interface Time {
  iso: string
  text: string
}
type TimeOf = (iso: string) => Time

/** By the server's clock, whose zone stands there: a page without scripts does not know the reader's. */
function createTimeOf(lang: string): TimeOf {
  const format = new Intl.DateTimeFormat(lang, {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
  })
  return (iso) => ({ iso, text: format.format(new Date(iso)) })
}

function shownMethod(method: SignInMethod, all: readonly SignInMethod[], timeOf: TimeOf) {
  const { id, email, issuer, linkedAt, lastUsedAt, provider } = method
  // Of a provider that was forgotten nothing is known but where it was.
  const displayName = provider?.displayName ?? hostOf(issuer)
  return {
    id,
    email,
    displayName,
    ...markOf({ displayName, preset: provider?.preset ?? '', position: provider?.position ?? 0 }),
    state: provider?.state ?? 'removed',
    linkedAt: timeOf(linkedAt),
    lastUsedAt: timeOf(lastUsedAt),
    mayGo: mayGo(method, all),
  }
}

function shownProvider(provider: Provider) {
  const { slug, displayName } = provider
  return { slug, displayName, ...markOf(provider) }
}

function markOf({
  displayName,
  preset,
  position,
}: Pick<Provider, 'displayName' | 'position'> & { preset: string }) {
  return { logo: presetOf(preset)?.logo, monogram: monogramOf(displayName), hue: hueOf({ position }) }
}

function shownSession({ id, browser, system, place, startedAt, lastSeenAt }: IndexedSession, timeOf: TimeOf) {
  return { id, browser, system, place, startedAt: timeOf(startedAt), lastSeenAt: timeOf(lastSeenAt) }
}

function hostOf(issuer: string): string {
  return URL.canParse(issuer) ? new URL(issuer).host : issuer
}
