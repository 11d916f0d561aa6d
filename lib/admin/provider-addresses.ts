import type { AdminProviders } from './parts.ts'

/** An address of ours that has to be entered at the provider. */
export interface ProviderAddress {
  label: string
  /** where it goes */
  hint: string
  value: string
  /** the same with `{slug}` in place of the name, so that a script can follow what is typed */
  template: string
}

/** @param isEntra has consent of an administrator; @param signsKeys authenticates with `private_key_jwt` */
export function addressesFor(
  providers: AdminProviders,
  slug: string,
  portal: string,
  { preset, signsKeys }: { preset: string; signsKeys: boolean },
): ProviderAddress[] {
  const consent = preset === 'entra' ? providers.adminConsentUri?.(slug, portal) : undefined
  const all: [label: string, hint: string, value: string | undefined][] = [
    ['Redirect URI', 'Required. Some call it callback URL.', providers.redirectUri(slug, portal)],
    [
      'Post-logout redirect URI',
      'Where people come back to after signing out.',
      providers.postLogoutRedirectUri(portal),
    ],
    [
      'Back-channel logout URI',
      'If the provider has such a setting: signing out there ends the session here.',
      providers.backChannelLogoutUri(slug, portal),
    ],
    ['Admin-consent redirect URI', 'A second redirect URI, for the consent of an administrator.', consent],
    [
      'JWKS URI',
      'Where the provider fetches our public keys.',
      signsKeys ? providers.jwksUri(slug, portal) : undefined,
    ],
  ]
  return all.flatMap(([label, hint, value]) =>
    value ? [{ label, hint, value, template: value.replace(`/${slug}/`, '/{slug}/') }] : [],
  )
}
