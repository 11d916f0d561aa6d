import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { SettingsInput } from '../providers/settings.ts'
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

/** @param provider may not be connected yet */
export function providerUrls(
  { providers, urls }: { providers: ProvidersApi; urls: PortalUrls },
  provider: Pick<Provider, 'slug' | 'preset'> & SettingsInput,
  portal: string,
): ProviderUrl[] {
  const { slug, clientAuthentication, frontChannelLogout } = provider
  const options = { portal }
  const preset = presetOf(provider.preset)
  const all: [name: string, label: string, hint: string, value: string | false | undefined][] = [
    [
      'redirectUri',
      'Redirect URI',
      'Required. Some consoles call it the callback URL.',
      providers.redirectUri(slug, options),
    ],
    [
      'adminConsentUri',
      'Admin-consent redirect URI',
      'A second redirect URI, for admin consent.',
      preset?.adminConsent && urls.adminConsent(slug, portal),
    ],
    [
      'postLogoutRedirectUri',
      'Post-logout redirect URI',
      'People return here after they sign out.',
      providers.postLogoutRedirectUri(options),
    ],
    [
      'backChannelLogoutUri',
      'Back-channel logout URI',
      'Optional. Signing out at the provider then ends the session here.',
      providers.backChannelLogoutUri(slug, options),
    ],
    [
      'frontChannelLogoutUri',
      'Front-channel logout URI',
      'Does the same through the browser. Turn on “Front-channel logout” (Advanced) first.',
      frontChannelLogout && providers.frontChannelLogoutUri(slug, options),
    ],
    [
      'jwksUri',
      'JWKS URI',
      'The provider fetches our public keys here.',
      clientAuthentication === 'private_key_jwt' && providers.jwksUri(slug, options),
    ],
  ]
  return all.flatMap(([name, label, hint, value]) =>
    value ? [{ name, label, hint, value, template: value.replace(slugInUrl, '/$1/{slug}/$2') }] : [],
  )
}

// Anchored at the end: the mount path may contain the slug, too.
const slugInUrl =
  /\/(login|logout)\/[^/]+\/((?:admin-consent\/)?callback|backchannel|frontchannel|jwks\.json)$/
