import { Option } from 'commander'
import type { Preset, PresetQuestion } from '../../providers/presets/preset.ts'
import { presetOf, presets } from '../../providers/presets/presets.ts'
import type { Provider } from '../../providers/provider.ts'
import { settingFacts } from '../../providers/settings.ts'
import type { CommandContext, PortalCommand } from '../command.ts'
import { checkText, pairs, printProgress, type Result, table } from '../output.ts'

/** The commands that show and test providers. */
export const showCommands: PortalCommand[] = [
  {
    usage: 'list',
    description: 'list all providers of a portal, in the order of the login page',
    examples: ['providers list', 'providers list --removed'],
    options: [new Option('--removed', 'list removed providers that can be restored')],
    run: (context: CommandContext<{ removed?: boolean }>) =>
      context.flags.removed ? listRemoved(context) : listConnected(context),
  },
  {
    usage: 'show <slug>',
    description: 'show all settings, the URLs to enter at the provider, its state and last test; no secrets',
    examples: ['providers show acme'],
    async run(context, slug: string) {
      const provider = await context.providers.get(slug)
      const urls = providerUrls(context, provider)
      return { json: { ...provider, urls }, text: describeProvider(provider, urls) }
    },
  },
  {
    usage: 'test <slug>',
    description: 'test a connected provider and save the results; the exit code is 1 if a check fails',
    examples: ['providers test acme'],
    async run({ providers, flags }, slug: string) {
      printProgress(flags, `Testing ${slug} …`)
      const test = await providers.test(slug)
      return { json: test, text: test.checks.map(checkText).join('\n'), failed: !test.ok }
    },
  },
]

export const keysCommand: PortalCommand = {
  usage: 'keys <slug>',
  description: 'show the public keys for private_key_jwt and the URL where the provider fetches them',
  examples: ['providers keys acme', 'providers keys acme --rotate'],
  options: [
    new Option(
      '--rotate',
      'publish a new key now; it is used after one hour, and the old one stays published for one more day',
    ),
  ],
  async run({ providers, actor, flags }: CommandContext<{ rotate?: boolean }>, slug: string) {
    if (flags.rotate) {
      const { kid, from } = await providers.rotateClientKey(slug, { actor })
      return { json: { slug, kid, from }, text: `The key ${kid} is published. It signs from ${from}.` }
    }
    const keys = await providers.clientKeys(slug)
    const jwksUri = providers.jwksUri(slug)
    const cells = keys.map(({ kid, alg, state, from }) => [kid, alg, state, from])
    const list =
      keys.length === 0
        ? 'There are no keys, because it does not authenticate with private_key_jwt.'
        : table(['KEY', 'ALGORITHM', 'STATE', 'SIGNS FROM'], cells)
    return { json: { slug, jwksUri, keys }, text: `JWKS URI  ${jwksUri}\n${list}` }
  },
}

async function listRemoved({ providers }: CommandContext): Promise<Result> {
  const removed = await providers.listRemoved()
  if (removed.length === 0) return { json: removed, text: 'No removed provider can be restored.' }
  const cells = removed.map(({ slug, displayName, removedAt }) => [slug, displayName, removedAt])
  return { json: removed, text: table(['SLUG', 'NAME', 'REMOVED'], cells) }
}

async function listConnected({ providers }: CommandContext): Promise<Result> {
  const all = await providers.list()
  if (all.length === 0)
    return {
      json: all,
      text: 'No provider is connected. Run `portal-sso providers add` to connect one.',
    }
  const cells = all.map(({ slug, displayName, enabled, recommended, issuer }) => [
    slug,
    displayName,
    enabled ? 'yes' : 'no',
    recommended ? 'yes' : '',
    issuer,
  ])
  return { json: all, text: table(['SLUG', 'NAME', 'ENABLED', 'RECOMMENDED', 'ISSUER'], cells) }
}

/** All settings, the URLs and the results of the last test. A `Provider` holds no secrets. */
function describeProvider(provider: Provider, urls: ProviderUrls): string {
  const { slug, preset, lastTest } = provider
  return [
    pairs([
      ['Slug', slug],
      ['State', describeState(provider)],
      ['Preset', preset],
      ...settingFacts(provider),
    ]),
    describeUrls(urls),
    lastTest ? `Tested ${lastTest.at}:` : 'Not tested yet.',
    ...(lastTest?.checks ?? []).map(checkText),
  ].join('\n')
}

function describeState({ enabled, recommended, testSignInAt, retireAt }: Provider): string {
  const details = [
    enabled ? 'enabled' : 'disabled',
    recommended && 'recommended',
    testSignInAt ? `sign-in tested ${testSignInAt}` : 'sign-in not tested with these settings',
    retireAt && `retiring on ${retireAt}`,
  ]
  return details.filter(Boolean).join(', ')
}

const urlLabels = {
  redirectUri: 'Redirect URI',
  adminConsentUri: 'Admin-consent redirect URI',
  postLogoutRedirectUri: 'Post-logout redirect URI',
  backChannelLogoutUri: 'Back-channel logout URI',
  frontChannelLogoutUri: 'Front-channel logout URI',
  jwksUri: 'JWKS URI',
}

/** The URLs that an administrator enters at the provider. */
type ProviderUrls = { [Name in keyof typeof urlLabels]: string | undefined }

/** @param provider may not be connected yet */
export function providerUrls(
  { providers, urls, flags }: CommandContext,
  provider: {
    slug: string
    preset: string
    clientAuthentication?: string | undefined
    frontChannelLogout?: boolean
  },
): ProviderUrls {
  const { slug, preset, clientAuthentication, frontChannelLogout } = provider
  return {
    redirectUri: providers.redirectUri(slug),
    adminConsentUri: presetOf(preset)?.adminConsent && urls.adminConsent(slug, flags.portal),
    postLogoutRedirectUri: providers.postLogoutRedirectUri(),
    backChannelLogoutUri: providers.backChannelLogoutUri(slug),
    frontChannelLogoutUri: frontChannelLogout ? providers.frontChannelLogoutUri(slug) : undefined,
    jwksUri: clientAuthentication === 'private_key_jwt' ? providers.jwksUri(slug) : undefined,
  }
}

export function describeUrls(urls: ProviderUrls): string {
  const names = Object.keys(urlLabels) as (keyof ProviderUrls)[]
  const used = names.flatMap((name): [string, string][] =>
    urls[name] ? [[urlLabels[name], urls[name]]] : [],
  )
  return `Enter these URLs at the provider:\n${pairs(used)}`
}

/** For `providers presets`. */
export function listPresets(): Result {
  const lines = presets.flatMap(({ name, displayName, asks, guide, settings }) => [
    `${name}: ${displayName} (docs/providers/${guide})`,
    ...(settings ? [] : ['  --issuer  Issuer']),
    ...asks.map(describeQuestion),
  ])
  return { json: presets.map(presetJson), text: lines.join('\n') }
}

function describeQuestion({ name, label, hint, example, required = true }: PresetQuestion): string {
  const optional = !required && !hint?.includes('default:') && 'optional'
  const help = [label, hint, optional, example && `for example ${example}`]
  return `  --${name}  ${help.filter(Boolean).join('; ')}`
}

function presetJson({ name, displayName, asks, hints, guide }: Preset) {
  return {
    name,
    displayName,
    asks: asks.map(({ read: _, required = true, ...question }) => ({ ...question, required })),
    hints,
    guide: `docs/providers/${guide}`,
  }
}
