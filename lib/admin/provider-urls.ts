import { presetOf } from '../providers/presets/presets.ts'
import type { AdminContext } from './context.ts'

/** An address of ours that has to be entered at the provider. */
export interface ProviderAddress {
  label: string
  /** where it goes */
  hint: string
  value: string
  /** the same with `{slug}` in place of the name, so that a script can follow what is typed */
  template: string
}

/** What is known of the provider whose addresses they are. */
interface Shown {
  preset: string
  /** whether it authenticates with `private_key_jwt` */
  signsKeys: boolean
  frontChannelLogout: boolean
}

/** Whether an administrator can consent at the provider for everybody. */
export function hasConsent(preset: string): boolean {
  return presetOf(preset)?.adminConsent !== undefined
}

/** Whether its front-channel logout is to be spoken of: where it is on, or where nothing else ends sessions here. */
function hasFrontChannel({ preset, frontChannelLogout }: Shown): boolean {
  return frontChannelLogout || presetOf(preset)?.frontChannelWithoutIssuer === true
}

export function addressesFor(
  { urls, providers }: Pick<AdminContext, 'urls' | 'providers'>,
  slug: string,
  portal: string,
  shown: Shown,
): ProviderAddress[] {
  const { preset, signsKeys } = shown
  const all: [label: string, hint: string, value: string | false][] = [
    [
      'Redirect URI',
      'Required. Some consoles call it the callback URL.',
      providers.redirectUri(slug, portal),
    ],
    [
      'Admin-consent redirect URI',
      'A second redirect URI, for admin consent.',
      hasConsent(preset) && urls.adminConsent(slug, portal),
    ],
    [
      'Post-logout redirect URI',
      'People return here after they sign out.',
      providers.postLogoutRedirectUri(portal),
    ],
    [
      'Back-channel logout URI',
      'Optional. Signing out at the provider then ends the session here.',
      providers.backChannelLogoutUri(slug, portal),
    ],
    [
      'Front-channel logout URI',
      'Does the same through the browser. Tick “The provider’s pages may end sessions here” (Advanced) first.',
      hasFrontChannel(shown) && providers.frontChannelLogoutUri(slug, portal),
    ],
    ['JWKS URI', 'The provider fetches our public keys here.', signsKeys && providers.jwksUri(slug, portal)],
  ]
  return all.flatMap(([label, hint, value]) =>
    value ? [{ label, hint, value, template: value.replace(ofProvider, '/$1/{slug}/$2') }] : [],
  )
}

// Counted from the end: the portal may be mounted at a path that is spelled like the name.
const ofProvider =
  /\/(login|logout)\/[^/]+\/((?:admin-consent\/)?callback|backchannel|frontchannel|jwks\.json)$/
