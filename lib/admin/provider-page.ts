import type { Request, Response } from 'express'
import type { ProvidersApi } from '../management/providers-api.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { settingFacts } from '../providers/settings.ts'
import { ManagementError } from '../shared/errors.ts'
import { type AdminContext, showAdminPage } from './context.ts'
import { providerBadge, sentence } from './format.ts'
import { providerStates } from './provider-status.ts'
import { addressesFor, hasAdminConsent } from './provider-urls.ts'

interface ProviderPage {
  provider: Provider
  /** why the last act failed */
  problem?: string
  checks?: readonly Check[]
}

/** Shows one provider and everything that an administrator can do with it. */
export async function showProvider(
  context: AdminContext,
  req: Request,
  res: Response,
  { provider, ...failure }: ProviderPage,
): Promise<void> {
  const { urls, history, portalOf, providers, sessionsApi } = context
  const { slug, preset } = provider
  const portal = portalOf(req)
  const signsKeys = provider.clientAuthentication === 'private_key_jwt'
  const [activities, dependents, sessions, keys] = await Promise.all([
    history.activity(portal),
    providers.usage(slug, { portal }),
    sessionsApi.count({ provider: slug }, { portal }),
    signsKeys ? readKeys(providers, slug, portal) : { keys: [] },
  ])
  const activity = activities.get(slug)
  const locals = {
    provider,
    settingFacts,
    presetName: presetOf(preset)?.displayName ?? preset,
    mark: providerBadge(provider),
    states: providerStates(provider, activity, new Date()),
    activity,
    dependents,
    sessions,
    ...keys,
    signsKeys,
    urls: addressesFor(context, slug, portal, { ...provider, signsKeys }),
    consentHref: hasAdminConsent(preset) ? urls.path(`/login/${slug}/admin-consent`) : undefined,
    tomorrow: new Date(Date.now() + 24 * 3_600_000).toISOString().slice(0, 10),
    ...failure,
  }
  await showAdminPage(context, req, res, {
    view: 'provider',
    locals,
    status: failure.problem === undefined ? 200 : 422,
  })
}

/** Keys that can no longer be unsealed must not hide the page on which the provider can be removed. */
async function readKeys(providers: ProvidersApi, slug: string, portal: string) {
  try {
    return { keys: await providers.clientKeys(slug, { portal }) }
  } catch (error) {
    if (!(error instanceof ManagementError)) throw error
    return { keys: [], problem: sentence(error.message) }
  }
}
