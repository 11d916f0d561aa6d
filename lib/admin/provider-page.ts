import type { Request, Response } from 'express'
import { presetOf } from '../providers/presets/presets.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { type AdminContext, actOptions, createShowAdmin } from './context.ts'
import { providerBadge, sentence } from './format.ts'
import { statesOf } from './provider-status.ts'
import { addressesFor, hasConsent } from './provider-urls.ts'

/** @param trouble what an act said that was not done */
export type ShowProvider = (
  req: Request,
  res: Response,
  provider: Provider,
  trouble?: { problem: string; checks?: readonly Check[] },
) => Promise<void>

/** `GET /:slug`: one provider, and whatever can be done with it. */
export function createShowProvider(parts: AdminContext): ShowProvider {
  const { urls, history, portalOf, providers, sessionsApi } = parts
  const show = createShowAdmin(parts)

  /** Keys that nobody can open any more must not hide the page on which to part with the provider. */
  async function keysOf(slug: string, portal: string) {
    try {
      return { keys: await providers.clientKeys(slug, portal) }
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      return { keys: [], problem: sentence(error.message) }
    }
  }

  return async (req, res, provider, trouble) => {
    const { slug, preset } = provider
    const { portal } = actOptions(req, portalOf)
    const signsKeys = provider.clientAuthentication === 'private_key_jwt'
    const [activities, dependents, sessions, keys] = await Promise.all([
      history.activity(portal),
      providers.usage(slug, portal),
      sessionsApi.count({ provider: slug, portal }),
      signsKeys ? keysOf(slug, portal) : { keys: [] },
    ])
    const activity = activities.get(slug)
    await show(
      req,
      res,
      'provider',
      {
        provider,
        presetName: presetOf(preset)?.displayName ?? preset,
        mark: providerBadge(provider),
        states: statesOf(provider, activity, new Date()),
        activity,
        dependents,
        sessions,
        ...keys,
        signsKeys,
        urls: addressesFor(parts, slug, portal, { ...provider, signsKeys }),
        consentHref: hasConsent(preset) ? urls.path(`/login/${slug}/admin-consent`) : undefined,
        tomorrow: new Date(Date.now() + 24 * 3_600_000).toISOString().slice(0, 10),
        ...trouble,
      },
      trouble ? 422 : 200,
    )
  }
}
