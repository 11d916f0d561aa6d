import type { RefusedLogoutTokens } from '../events/event-history.ts'
import { providerUrls } from '../management/provider-urls.ts'
import { describeVouching } from '../oidc/vouches.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { settingFacts } from '../providers/settings.ts'
import { ManagementError } from '../shared/errors.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { DAY } from '../shared/time.ts'
import { type AdminRequest, showPage } from './admin-request.ts'
import { count, providerBadge } from './format.ts'
import { providerStates } from './provider-status.ts'

/**
 * Shows one provider and everything that an administrator can do with it.
 *
 * @param failure why the last act failed
 */
export async function showProvider(
  page: AdminRequest,
  provider: Provider,
  failure: { problem?: string; checks?: readonly Check[] } = {},
): Promise<void> {
  const { slug, preset } = provider
  const signsKeys = provider.clientAuthentication === 'private_key_jwt'
  const [activities, refusedLogouts, affected, keys] = await Promise.all([
    page.history.activity(page.options),
    page.history.refusedLogoutTokens(page.options.portal, slug),
    countAffected(page, provider),
    signsKeys ? readKeys(page, slug) : { keys: [] },
  ])
  const activity = activities.get(slug)
  const locals = {
    provider,
    settingFacts,
    vouching: describeVouching(provider),
    presetName: presetOf(preset)?.displayName ?? preset,
    mark: providerBadge(provider),
    states: providerStates(provider, activity, new Date()),
    activity,
    refusedLogouts,
    tested: withRefusedLogouts(failure.checks ?? provider.lastTest?.checks, refusedLogouts),
    ...affected,
    ...keys,
    signsKeys,
    urls: urlsToEnter(page, provider),
    consentHref: presetOf(preset)?.adminConsent && page.urls.path(`/login/${slug}/admin-consent`),
    tomorrow: new Date(Date.now() + DAY).toISOString().slice(0, 10),
    ...failure,
  }
  await showPage(page, 'provider', locals, failure.problem === undefined ? 200 : 422)
}

/** The only logout that a preset supports is shown before it is turned on. */
export function urlsToEnter(page: AdminRequest, provider: Parameters<typeof providerUrls>[1]) {
  const isOnlyLogout = presetOf(provider.preset)?.frontChannelWithoutIssuer
  const frontChannelLogout = provider.frontChannelLogout || isOnlyLogout === true
  return providerUrls(page, { ...provider, frontChannelLogout }, page.options.portal)
}

/** The metadata only announces back-channel logout. Refused tokens show that it does not work, or that someone sends forged ones. */
function withRefusedLogouts(checks: readonly Check[] | undefined, refused: readonly RefusedLogoutTokens[]) {
  const total = refused.reduce((sum, { count }) => sum + count, 0)
  if (total === 0) return checks
  const message = `${count(total, 'logout token was', 'logout tokens were')} refused, see “Refused logout tokens”`
  return checks?.map((check) =>
    check.name === 'back-channel' ? { name: check.name, result: 'warning', message } : check,
  )
}

export async function countAffected({ options, providers, sessionsApi }: AdminRequest, { slug }: Provider) {
  const [dependents, sessions] = await Promise.all([
    providers.usage(slug, options),
    sessionsApi.count({ provider: slug }, options),
  ])
  return { dependents, sessions }
}

/** Keys that can no longer be unsealed must not hide the page on which the provider can be removed. */
async function readKeys({ options, providers }: AdminRequest, slug: string) {
  try {
    return { keys: await providers.clientKeys(slug, options) }
  } catch (error) {
    if (!(error instanceof ManagementError)) throw error
    return { keys: [], problem: sentence(error.message) }
  }
}
