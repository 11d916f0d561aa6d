import { presetOf } from '../providers/presets/presets.ts'
import type { AdminRequest } from './admin-request.ts'

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

export function addressesFor(
  { options, urls, providers }: Pick<AdminRequest, 'options' | 'urls' | 'providers'>,
  slug: string,
  { preset: name, signsKeys, frontChannelLogout }: ProviderFeatures,
): ProviderAddress[] {
  const preset = presetOf(name)
  const all: [label: string, hint: string, value: string | false | undefined][] = [
    [
      'Redirect URI',
      'Required. Some consoles call it the callback URL.',
      providers.redirectUri(slug, options),
    ],
    [
      'Admin-consent redirect URI',
      'A second redirect URI, for admin consent.',
      preset?.adminConsent && urls.adminConsent(slug, options.portal),
    ],
    [
      'Post-logout redirect URI',
      'People return here after they sign out.',
      providers.postLogoutRedirectUri(options),
    ],
    [
      'Back-channel logout URI',
      'Optional. Signing out at the provider then ends the session here.',
      providers.backChannelLogoutUri(slug, options),
    ],
    [
      'Front-channel logout URI',
      'Does the same through the browser. Turn on “Front-channel logout” (Advanced) first.',
      // The only logout that such a preset supports is shown before it is turned on.
      (frontChannelLogout || preset?.frontChannelWithoutIssuer) &&
        providers.frontChannelLogoutUri(slug, options),
    ],
    ['JWKS URI', 'The provider fetches our public keys here.', signsKeys && providers.jwksUri(slug, options)],
  ]
  return all.flatMap(([label, hint, value]) =>
    value ? [{ label, hint, value, template: value.replace(slugInUrl, '/$1/{slug}/$2') }] : [],
  )
}

// Anchored at the end: the mount path may contain the slug, too.
const slugInUrl =
  /\/(login|logout)\/[^/]+\/((?:admin-consent\/)?callback|backchannel|frontchannel|jwks\.json)$/
