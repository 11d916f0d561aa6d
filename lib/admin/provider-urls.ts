import { presetOf } from '../providers/presets/presets.ts'
import type { AdminContext } from './context.ts'

/** One of our URLs, to be entered at the provider. */
export interface ProviderAddress {
  label: string
  /** where to enter it */
  hint: string
  value: string
  /** the URL with `{slug}` in place of the slug: a script fills in the slug while it is typed */
  template: string
}

interface ProviderFeatures {
  preset: string
  /** true if it authenticates with `private_key_jwt` */
  signsKeys: boolean
  frontChannelLogout: boolean
}

/** True if an administrator of the provider can consent for all users. */
export function hasAdminConsent(preset: string): boolean {
  return presetOf(preset)?.adminConsent !== undefined
}

/** True if front-channel logout is on, or if it is the only logout that the provider supports. */
function showsFrontChannelLogout({ preset, frontChannelLogout }: ProviderFeatures): boolean {
  return frontChannelLogout || presetOf(preset)?.frontChannelWithoutIssuer === true
}

export function addressesFor(
  { urls, providers }: Pick<AdminContext, 'urls' | 'providers'>,
  slug: string,
  portal: string,
  features: ProviderFeatures,
): ProviderAddress[] {
  const { preset, signsKeys } = features
  const all: [label: string, hint: string, value: string | false][] = [
    [
      'Redirect URI',
      'Required. Some consoles call it the callback URL.',
      providers.redirectUri(slug, { portal }),
    ],
    [
      'Admin-consent redirect URI',
      'A second redirect URI, for admin consent.',
      hasAdminConsent(preset) && urls.adminConsent(slug, portal),
    ],
    [
      'Post-logout redirect URI',
      'People return here after they sign out.',
      providers.postLogoutRedirectUri({ portal }),
    ],
    [
      'Back-channel logout URI',
      'Optional. Signing out at the provider then ends the session here.',
      providers.backChannelLogoutUri(slug, { portal }),
    ],
    [
      'Front-channel logout URI',
      'Does the same through the browser. Turn on “Front-channel logout” (Advanced) first.',
      showsFrontChannelLogout(features) && providers.frontChannelLogoutUri(slug, { portal }),
    ],
    [
      'JWKS URI',
      'The provider fetches our public keys here.',
      signsKeys && providers.jwksUri(slug, { portal }),
    ],
  ]
  return all.flatMap(([label, hint, value]) =>
    value ? [{ label, hint, value, template: value.replace(slugInUrl, '/$1/{slug}/$2') }] : [],
  )
}

// Anchored at the end: the mount path may contain the slug, too.
const slugInUrl =
  /\/(login|logout)\/[^/]+\/((?:admin-consent\/)?callback|backchannel|frontchannel|jwks\.json)$/
