import type { PortalUrlName } from '../providers/presets/preset.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { SettingsInput } from '../providers/settings.ts'
import { phrase } from '../shared/phrase.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { ProvidersApi } from './providers-api.ts'

/** One of our URLs, to be entered at the provider. */
export interface ProviderUrl {
  /** in the command line's JSON */
  name: string
  label: string
  /** where to enter it */
  hint: string
  value: string
  /** the URL with `{slug}` in place of the slug: a script fills in the slug while it is typed */
  template: string
}

interface UrlContext {
  providers: ProvidersApi
  urls: PortalUrls
}

/** The URLs that the provider's console asks for. @param provider may not be connected yet */
export function providerUrls(
  context: UrlContext,
  provider: Pick<Provider, 'slug' | 'preset'> & SettingsInput,
  portal: string,
): ProviderUrl[] {
  const { clientAuthentication, frontChannelLogout, preset } = provider
  const all = urlsByUse(context, provider, portal)
  const own = presetOf(preset)?.urls ?? usualUrls
  // Those that only a setting requires follow the ones that the console always asks for.
  const { frontChannelLogoutUri, jwksUri } = usualUrls
  const shown = { ...own, frontChannelLogoutUri, jwksUri, ...own }
  const needed = {
    frontChannelLogoutUri: frontChannelLogout,
    jwksUri: clientAuthentication === 'private_key_jwt',
  }
  return Object.entries(shown).flatMap(([name, { label, hint = '' }]) => {
    const url = all[name as PortalUrlName]
    const isNeeded = name in needed ? needed[name as keyof typeof needed] : true
    return url && isNeeded ? [{ name, label, hint, ...url }] : []
  })
}

/** All URLs of a provider, whatever its console asks for. */
export function urlsByUse(
  { providers, urls }: UrlContext,
  { slug, preset }: Pick<Provider, 'slug' | 'preset'>,
  portal: string,
): Partial<Record<PortalUrlName, Pick<ProviderUrl, 'value' | 'template'>>> {
  const options = { portal }
  const values: Record<PortalUrlName, string | undefined> = {
    redirectUri: providers.redirectUri(slug, options),
    adminConsentUri: presetOf(preset)?.adminConsent && urls.adminConsent(slug, portal),
    postLogoutRedirectUri: providers.postLogoutRedirectUri(options),
    backChannelLogoutUri: providers.backChannelLogoutUri(slug, options),
    frontChannelLogoutUri: providers.frontChannelLogoutUri(slug, options),
    jwksUri: providers.jwksUri(slug, options),
  }
  const present = Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, { value, template: value.replace(slugInUrl, '/$1/{slug}/$2') }]],
  )
  return Object.fromEntries(present)
}

const usualUrls = {
  redirectUri: { label: phrase('Redirect URI'), hint: phrase('Required. The callback URL of the sign-in.') },
  postLogoutRedirectUri: {
    label: phrase('Post-logout redirect URI'),
    hint: phrase('People return here after they sign out.'),
  },
  backChannelLogoutUri: {
    label: phrase('Back-channel logout URI'),
    hint: phrase('Optional. Signing out at the provider then ends the session here.'),
  },
  frontChannelLogoutUri: {
    label: phrase('Front-channel logout URI'),
    hint: phrase('Does the same through the browser. Turn on “Front-channel logout” (Advanced) first.'),
  },
  jwksUri: { label: phrase('JWKS URI'), hint: phrase('The provider fetches our public keys here.') },
}

// Anchored at the end: the mount path may contain the slug, too.
const slugInUrl =
  /\/(login|logout)\/[^/]+\/((?:admin-consent\/)?callback|backchannel|frontchannel|jwks\.json)$/
