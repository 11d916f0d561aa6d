import { presetOf } from '../../providers/presets/presets.ts'
import type { Provider } from '../../providers/provider.ts'
import { createAddresses } from '../../web/addresses.ts'
import type { Workbench } from '../environment.ts'
import { print, printCheck, printPairs } from '../print.ts'

/** What is to be entered at the provider. */
export interface Urls {
  redirectUri: string
  /** a second redirect URI, for the consent of an administrator, with a preset that knows such a thing */
  adminConsentUri?: string
  postLogoutRedirectUri: string
  backChannelLogoutUri: string
  /** where it is switched on */
  frontChannelLogoutUri?: string
  /** where the provider fetches our keys, with `private_key_jwt` */
  jwksUri?: string
}

type Described = Pick<Provider, 'slug' | 'portal' | 'preset'> & {
  clientAuthentication?: string | undefined
  frontChannelLogout?: boolean | undefined
}

export function urlsOf({ sso, environment }: Workbench, provider: Described): Urls {
  const { slug, portal, preset, clientAuthentication, frontChannelLogout } = provider
  const { providers } = sso
  const addresses = createAddresses(environment.baseUrl, environment.mountPath)
  return {
    redirectUri: providers.redirectUri(slug, portal),
    ...(presetOf(preset)?.adminConsent && { adminConsentUri: addresses.adminConsent(slug, portal) }),
    postLogoutRedirectUri: providers.postLogoutRedirectUri(portal),
    backChannelLogoutUri: providers.backChannelLogoutUri(slug, portal),
    ...(frontChannelLogout && { frontChannelLogoutUri: providers.frontChannelLogoutUri(slug, portal) }),
    ...(clientAuthentication === 'private_key_jwt' && { jwksUri: providers.jwksUri(slug, portal) }),
  }
}

const urlLabels: Record<keyof Urls, string> = {
  redirectUri: 'Redirect URI',
  adminConsentUri: 'Admin-consent redirect URI',
  postLogoutRedirectUri: 'Post-logout redirect URI',
  backChannelLogoutUri: 'Back-channel logout URI',
  frontChannelLogoutUri: 'Front-channel logout URI',
  jwksUri: 'JWKS URI',
}

export function printUrls(urls: Urls): void {
  print('To enter at the provider:')
  const names = Object.keys(urls) as (keyof Urls)[]
  printPairs(names.map((name) => [urlLabels[name], urls[name] ?? '']))
}

/** `enabled`, `disabled`, and what else an operator should know. */
function stateOf({ enabled, recommended, rehearsedAt, retiringAt, rebindingSince }: Provider): string {
  const more = [
    recommended && 'recommended',
    rehearsedAt ? `rehearsed ${rehearsedAt}` : 'not rehearsed with these settings',
    retiringAt && `retiring on ${retiringAt}`,
    rebindingSince && `rebinding since ${rebindingSince}`,
  ]
  return [enabled ? 'enabled' : 'disabled', ...more.filter(Boolean)].join(', ')
}

const labels: Partial<Record<keyof Provider, string>> = {
  displayName: 'Name',
  preset: 'Preset',
  issuer: 'Issuer',
  clientId: 'Client id',
  clientAuthentication: 'Client authentication',
  secretEncoding: 'Secret encoding',
  secretInUse: 'Client secret in use',
  clientSecretExpiresAt: 'Client secret expires',
  secondClientSecretExpiresAt: 'Second secret expires',
  signingAlgorithm: 'Signing algorithm',
  responseMode: 'Response mode',
  prompt: 'Prompt',
  authorizationParameters: 'Authorization parameters',
  emailClaim: 'E-mail claim',
  trustsEmail: 'Trusts e-mail',
  emailDomains: 'E-mail domains',
  tenants: 'Allowed tenants',
  logout: 'Signing out ends',
  frontChannelLogout: 'Front-channel logout',
  proxy: 'Proxy',
  certificateAuthority: 'Certificate authority',
}

/** All of its settings, the addresses to enter, and what the last test found; no secrets, which the value does not hold. */
export function printProvider(workbench: Workbench, provider: Provider): void {
  const names = Object.keys(labels) as (keyof Provider)[]
  printPairs([
    ['Slug', provider.slug],
    ['State', stateOf(provider)],
    ...names.map((name) => [labels[name] ?? name, spelled(provider[name])] as const),
  ])
  printUrls(urlsOf(workbench, provider))
  print(provider.tested ? `Tested ${provider.tested.at}:` : 'Never tested.')
  provider.tested?.checks.forEach(printCheck)
}

function spelled(value: unknown): string {
  if (value === undefined) return '–'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) return value.join(', ') || '–'
  if (typeof value === 'object' && value !== null)
    return (
      Object.entries(value)
        .map(([name, each]) => `${name}=${each}`)
        .join(', ') || '–'
    )
  return String(value)
}
