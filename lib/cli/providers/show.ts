import { type ProviderUrl, providerUrls } from '../../management/provider-urls.ts'
import type { ProvidersApi } from '../../management/providers-api.ts'
import type { Preset, PresetQuestion } from '../../providers/presets/preset.ts'
import { presets } from '../../providers/presets/presets.ts'
import { describeHealth, type Provider } from '../../providers/provider.ts'
import { settingFacts } from '../../providers/settings.ts'
import type { CommandContext, PortalCommands } from '../command.ts'
import { checkText, pairs, printPages, printProgress, type Result, table } from '../output.ts'

export const showCommands: PortalCommands = {
  list: {
    description: 'list all providers of a portal, in the order of the login page',
    examples: ['providers list', 'providers list --removed'],
    options: { '--removed': 'list removed providers that can be restored' },
    async run({ providers, flags }: CommandContext<{ removed?: boolean }>) {
      if (flags.removed)
        return table(
          await providers.listRemoved(),
          { SLUG: 'slug', NAME: 'displayName', REMOVED: 'removedAt' },
          'No removed provider can be restored.',
        )
      return await printPages(
        flags,
        pagesOf(providers),
        {
          SLUG: 'slug',
          NAME: 'displayName',
          ENABLED: 'enabled',
          RECOMMENDED: ({ recommended }) => (recommended ? 'yes' : ''),
          'FAILING SINCE': ({ health }) => health?.since ?? '',
          ISSUER: 'issuer',
        },
        'No provider is connected. Run `portal-sso providers add` to connect one.',
      )
    },
  },
  'show <slug>': {
    description: 'show all settings, the URLs to enter at the provider, its state and last test; no secrets',
    examples: ['providers show acme'],
    async run(context, slug: string) {
      const provider = await context.providers.get(slug)
      const urls = providerUrls(context, provider, context.flags.portal)
      const { lastSignInAt } = (await context.history.activity({ slugs: [slug] })).get(slug) ?? {}
      return {
        json: { ...provider, lastSignInAt: lastSignInAt ?? null, urls: urlsByName(urls) },
        text: describeProvider(provider, urls, lastSignInAt),
      }
    },
  },
  'test <slug>': {
    description: 'test a connected provider and save the results; the exit code is 1 if a check fails',
    examples: ['providers test acme'],
    async run({ providers, flags }, slug: string) {
      printProgress(flags, `Testing ${slug} …`)
      const test = await providers.test(slug)
      return { json: test, text: test.checks.map(checkText).join('\n'), failed: !test.ok }
    },
  },
}

async function* pagesOf(providers: ProvidersApi) {
  let after: string | undefined
  do {
    const page = await providers.list({ after, most: pageSize })
    yield page
    after = page.length < pageSize ? undefined : page.at(-1)?.slug
  } while (after !== undefined)
}

const pageSize = 1000

export const keysCommands: PortalCommands = {
  'keys <slug>': {
    description: 'show the public keys for private_key_jwt and the URL where the provider fetches them',
    examples: ['providers keys acme', 'providers keys acme --rotate'],
    options: {
      '--rotate':
        'publish a new key now; it is used after one hour, and the old one stays published for one more day',
    },
    async run({ providers, actor, flags }: CommandContext<{ rotate?: boolean }>, slug: string) {
      if (flags.rotate) {
        const { kid, from } = await providers.rotateClientKey(slug, { actor })
        return { json: { slug, kid, from }, text: `The key ${kid} is published. It signs from ${from}.` }
      }
      const keys = await providers.clientKeys(slug)
      const jwksUri = providers.jwksUri(slug)
      const columns = { KEY: 'kid', ALGORITHM: 'alg', STATE: 'state', 'SIGNS FROM': 'from' } as const
      const none = 'There are no keys, because it does not authenticate with private_key_jwt.'
      const { text } = table(keys, columns, none)
      return { json: { slug, jwksUri, keys }, text: `JWKS URI  ${jwksUri}\n${text}` }
    },
  },
}

/** All settings, the URLs and the results of the last test. A `Provider` holds no secrets. */
function describeProvider(
  provider: Provider,
  urls: readonly ProviderUrl[],
  lastSignInAt: string | undefined,
): string {
  const { slug, preset, health, lastTest, logoHash } = provider
  const facts = settingFacts(provider)
  return [
    pairs([
      ['Slug', slug],
      ['State', describeState(provider)],
      [
        'Problem',
        health && `${describeHealth(health)}, since ${health.since}, last checked ${health.checkedAt}`,
      ],
      ['Last sign-in', lastSignInAt ?? 'never'],
      ['Logo', logoHash ? 'its own' : undefined],
      ['Preset', preset],
      ...facts,
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

export function describeUrls(urls: readonly ProviderUrl[]): string {
  return `Enter these URLs at the provider:\n${pairs(urls.map(({ label, value }) => [label, value]))}`
}

export function urlsByName(urls: readonly ProviderUrl[]): Record<string, string> {
  return Object.fromEntries(urls.map(({ name, value }) => [name, value]))
}

export function listPresets(): Result {
  const lines = presets.flatMap(({ name, displayName, asks, settings }) => [
    `${name}: ${displayName} (docs/providers/${name}.md)`,
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

function presetJson({ name, displayName, asks, hints }: Preset) {
  return {
    name,
    displayName,
    asks: asks.map(({ read: _, required = true, ...question }) => ({ ...question, required })),
    hints,
    guide: `docs/providers/${name}.md`,
  }
}
