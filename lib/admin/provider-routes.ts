import type { RefusedLogoutTokens } from '../events/event-history.ts'
import { providerUrls } from '../management/provider-urls.ts'
import { ProviderTestError } from '../management/save-provider.ts'
import { describeVouching } from '../oidc/vouches.ts'
import { presetOf } from '../providers/presets/presets.ts'
import { type Check, describeHealth, type Provider } from '../providers/provider.ts'
import type { ProviderChanges } from '../providers/settings.ts'
import { ManagementError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
import { DAY } from '../shared/time.ts'
import {
  type AdminHandler,
  type AdminRequest,
  type AdminRoutes,
  findProvider,
  type Message,
  redirectTo,
  showPage,
  textOf,
  withProvider,
} from './admin-request.ts'
import { chartOf } from './chart.ts'
import { factGroups, problemText } from './form.ts'
import { maxCounted, providerBadge } from './format.ts'
import { providerStatus } from './provider-status.ts'
import { remedyOf } from './remedies.ts'

type ProviderAct = readonly [Message, (page: AdminRequest, slug: string) => Promise<unknown>]

/** By the last part of the path: `POST /:slug/enable`. */
const providerActs: Record<string, ProviderAct> = {
  test: ['tested', ({ providers, options }, slug) => providers.test(slug, options)],
  enable: [
    'enabled',
    ({ providers, options, req }, slug) => {
      const withoutTestSignIn = textOf(req.body, 'withoutTestSignIn') === 'yes'
      return providers.enable(slug, { ...options, withoutTestSignIn })
    },
  ],
  disable: ['disabled', (page, slug) => page.providers.disable(slug, disableOptions(page))],
  recommend: ['recommended', ({ providers, options }, slug) => providers.recommend(slug, options)],
  'clear-recommended': ['notRecommended', ({ providers, options }) => providers.clearRecommended(options)],
  move: ['moved', moveProvider],
  'pin-algorithm': ['saved', pinAlgorithm],
  'rotate-key': ['rotated', ({ providers, options }, slug) => providers.rotateClientKey(slug, options)],
  retire: ['retiring', retireProvider],
  keep: ['kept', ({ providers, options }, slug) => providers.cancelRetirement(slug, options)],
  remove: ['removed', (page, slug) => page.providers.remove(slug, disableOptions(page))],
  restore: ['restored', ({ providers, options }, slug) => providers.restore(slug, options)],
}

function disableOptions({ options, req }: AdminRequest) {
  return { ...options, endSessions: textOf(req.body, 'endSessions') !== '' }
}

async function pinAlgorithm({ providers, options, req }: AdminRequest, slug: string): Promise<void> {
  const changes = { signingAlgorithm: textOf(req.body, 'algorithm') } as ProviderChanges
  await providers.update(slug, changes, options)
}

async function retireProvider({ providers, options, req }: AdminRequest, slug: string): Promise<void> {
  const at = new Date(textOf(req.body, 'at'))
  if (Number.isNaN(at.getTime())) throw new ManagementError('invalid', phrase('enter the end date'))
  await providers.retire(slug, at, options)
}

async function moveProvider({ providers, options, req }: AdminRequest, slug: string): Promise<void> {
  const position = textOf(req.body, 'position')
  const direction = textOf(req.body, 'direction') === 'up' ? 'up' : 'down'
  await providers.move(slug, position === '' ? direction : Number(position), options)
}

function actHandler(name: string, [message, act]: ProviderAct): AdminHandler {
  return async (page) => {
    const slug = String(page.req.params.slug)
    try {
      await act(page, slug)
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      const problem = problemText(page, error)
      const checks = error instanceof ProviderTestError ? { checks: error.checks } : {}
      return await showProvider(page, await findProvider(page), { problem, ...checks })
    }
    const toList = name === 'remove' || textOf(page.req.body, 'from') === 'list'
    if (!toList) return redirectTo(page, `/${slug}`, { done: message })
    const [q, after] = ['q', 'after'].map((name) => textOf(page.req.body, name))
    redirectTo(page, '/', { done: message, ...(q && { q }), ...(after && { after }) })
  }
}

const confirmation = (view: string): AdminHandler =>
  withProvider(async (page, provider) =>
    showPage(page, view, { provider, ...(await countAffected(page, provider)) }),
  )

/** `/:slug` and below: the page of a provider, its acts, and the confirmations before the destructive ones. */
export const providerRoutes: AdminRoutes = {
  'GET /:slug': withProvider(showProvider),
  'GET /:slug/what-is-read': withProvider((page, provider) => {
    const { organizationClaims } = describeVouching(provider)
    return showPage(page, 'what-is-read', { provider, organizationClaims })
  }),
  'GET /:slug/disable': confirmation('disable'),
  'GET /:slug/remove': confirmation('remove'),
  'POST /:slug/test-sign-in': withProvider(async ({ options, req, res, testSignIns }, provider) => {
    const returnTo = `${req.baseUrl}/${provider.slug}`
    await testSignIns.begin(req, res, { provider, actor: options.actor, returnTo })
  }),
  ...Object.fromEntries(
    Object.entries(providerActs).map(([name, act]) => [`POST /:slug/${name}`, actHandler(name, act)]),
  ),
}

/** Shows one provider and everything that an administrator can do with it. @param failure why the last act failed */
async function showProvider(
  page: AdminRequest,
  provider: Provider,
  failure: { problem?: string; checks?: readonly Check[] } = {},
): Promise<void> {
  const { slug, preset } = provider
  const countsAll = textOf(page.req.query, 'count') === 'all'
  const signsKeys = provider.clientAuthentication === 'private_key_jwt'
  const [activities, counts, refusedLogouts, affected, keys] = await Promise.all([
    page.history.activity({ ...page.options, slugs: [slug] }),
    page.history.countsByDay(page.options.portal, [slug]),
    page.history.refusedLogoutTokens(page.options.portal, slug),
    countAffected(page, provider, countsAll ? undefined : maxCounted),
    signsKeys ? readKeys(page, slug) : { keys: [] },
  ])
  const activity = activities.get(slug)
  const { dependents, sessions } = affected
  const hasMany = dependents.people >= maxCounted.users || sessions >= maxCounted.rows
  const isLimited = !countsAll && hasMany
  const locals = {
    provider,
    describeHealth,
    groups: factGroups(provider, page.say),
    vouching: describeVouching(provider),
    presetName: presetOf(preset)?.displayName ?? preset,
    mark: providerBadge(provider),
    status: providerStatus(provider, activity, new Date(), page.locale),
    chart: chartOf(counts.get(slug) ?? []),
    activity,
    lastRemedy: activity?.lastFailure && remedyOf(activity.lastFailure.detail, preset),
    refusedLogouts,
    tested: withRefusedLogouts(failure.checks ?? provider.lastTest?.checks, refusedLogouts),
    ...affected,
    countsAll,
    isLimited,
    ...keys,
    signsKeys,
    urls: urlsToEnter(page, provider),
    consentHref: consentHref(page, provider),
    tomorrow: new Date(Date.now() + DAY).toISOString().slice(0, 10),
    ...failure,
  }
  await showPage(page, 'provider', locals, failure.problem === undefined ? 200 : 422)
}

/** The page where an administrator of the provider consents for everyone. `undefined`: the provider has none. */
export function consentHref({ urls }: AdminRequest, { preset, slug }: Provider): string | undefined {
  return presetOf(preset)?.adminConsent && urls.path(`/login/${slug}/admin-consent`)
}

/** The only logout that a preset supports is shown before it is turned on. */
export function urlsToEnter(page: AdminRequest, provider: Parameters<typeof providerUrls>[1]) {
  const isOnlyLogout = presetOf(provider.preset)?.frontChannelWithoutIssuer
  const frontChannelLogout = provider.frontChannelLogout || isOnlyLogout === true
  return providerUrls(page, { ...provider, frontChannelLogout }, page.options.portal)
}

/** The metadata only announces back-channel logout. Refused tokens show that it does not work, or that someone sends forged ones. */
function withRefusedLogouts(checks: readonly Check[] | undefined, refused: readonly RefusedLogoutTokens[]) {
  const count = refused.reduce((sum, each) => sum + each.count, 0)
  if (count === 0) return checks
  const message = phrase('{{count}} logout tokens were refused, see “Refused logout tokens”', { count })
  return checks?.map((check) =>
    check.name === 'back-channel'
      ? { name: check.name, result: 'warning', message: String(message), phrases: { message } }
      : check,
  )
}

/** @param most limits the counts: counting a million users takes seconds */
async function countAffected(
  { options, providers, sessionsApi }: AdminRequest,
  { slug }: Provider,
  most?: { users: number; rows: number },
) {
  const [dependents, sessions] = await Promise.all([
    providers.usage(slug, { ...options, most: most?.users }),
    sessionsApi.count({ provider: slug }, { ...options, most: most?.rows }),
  ])
  return { dependents, sessions }
}

/** Keys that can no longer be unsealed must not hide the page on which the provider can be removed. */
async function readKeys(page: AdminRequest, slug: string) {
  const { options, providers } = page
  try {
    return { keys: await providers.clientKeys(slug, options) }
  } catch (error) {
    if (!(error instanceof ManagementError)) throw error
    return { keys: [], problem: problemText(page, error) }
  }
}
