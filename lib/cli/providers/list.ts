import type { Command } from 'commander'
import type { PortalSso } from '../../create-portal-sso.ts'
import { presetOf, presets } from '../../providers/presets/presets.ts'
import type { Provider } from '../../providers/provider.ts'
import { settingFacts } from '../../providers/settings.ts'
import { PortalUrls } from '../../web/urls.ts'
import { type Common, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printCheck, printJson, printPairs, printTable, progress } from '../output.ts'

/** URLs that the administrator enters at the provider. */
export interface Urls {
  redirectUri: string
  /** A second redirect URI, for admin consent, if the preset has it. */
  adminConsentUri?: string
  postLogoutRedirectUri: string
  backChannelLogoutUri: string
  /** Only if front-channel logout is on. */
  frontChannelLogoutUri?: string
  /** Where the provider fetches our keys. Only with `private_key_jwt`. */
  jwksUri?: string
}

type Described = Pick<Provider, 'slug' | 'portal' | 'preset'> & {
  clientAuthentication?: string | undefined
  frontChannelLogout?: boolean | undefined
}

export function urlsOf({ sso, environment }: SsoContext, provider: Described): Urls {
  const { slug, portal, preset, clientAuthentication, frontChannelLogout } = provider
  const { providers } = sso
  const urls = new PortalUrls(environment.baseUrl, environment.mountPath)
  return {
    redirectUri: providers.redirectUri(slug, { portal }),
    ...(presetOf(preset)?.adminConsent && { adminConsentUri: urls.adminConsent(slug, portal) }),
    postLogoutRedirectUri: providers.postLogoutRedirectUri({ portal }),
    backChannelLogoutUri: providers.backChannelLogoutUri(slug, { portal }),
    ...(frontChannelLogout && { frontChannelLogoutUri: providers.frontChannelLogoutUri(slug, { portal }) }),
    ...(clientAuthentication === 'private_key_jwt' && { jwksUri: providers.jwksUri(slug, { portal }) }),
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
  print('Enter these URLs at the provider:')
  const names = Object.keys(urls) as (keyof Urls)[]
  printPairs(names.map((name) => [urlLabels[name], urls[name] ?? '']))
}

/** `enabled` or `disabled`, and other states. */
function stateOf({ enabled, recommended, testSignInAt, retireAt }: Provider): string {
  const more = [
    recommended && 'recommended',
    testSignInAt ? `sign-in tested ${testSignInAt}` : 'sign-in not tested with these settings',
    retireAt && `retiring on ${retireAt}`,
  ]
  return [enabled ? 'enabled' : 'disabled', ...more.filter(Boolean)].join(', ')
}

/** All settings, the URLs to enter at the provider, and the last test. A `Provider` contains no secrets. */
export function printProvider(context: SsoContext, provider: Provider): void {
  printPairs([
    ['Slug', provider.slug],
    ['State', stateOf(provider)],
    ['Preset', provider.preset],
    ...settingFacts(provider),
  ])
  printUrls(urlsOf(context, provider))
  print(provider.lastTest ? `Tested ${provider.lastTest.at}:` : 'Not tested yet.')
  provider.lastTest?.checks.forEach(printCheck)
}

export function addPresets(providers: Command): void {
  providers
    .command('presets')
    .description('list the presets for `add`, with their questions and guides')
    .option('--json', 'print JSON, for scripts')
    .addHelpText('after', '\nExample:\n  $ portal-sso providers presets')
    .action(({ json }: { json?: boolean }) => {
      if (json) return printJson(presets.map(described))
      for (const { name, displayName, asks, guide, settings } of presets) {
        print(`${name}: ${displayName} (docs/providers/${guide})`)
        if (!settings) print('  --issuer  Issuer')
        for (const { name: flag, label, hint, example, required = true } of asks) {
          const optional = !required && !hint?.includes('default:') && 'optional'
          const help = [hint, optional, example && `for example ${example}`]
          print(`  --${flag}  ${[label, ...help.filter(Boolean)].join('; ')}`)
        }
      }
    })
}

function described({ name, displayName, asks, hints, guide }: (typeof presets)[number]) {
  return {
    name,
    displayName,
    asks: asks.map(({ read: _, required = true, ...question }) => ({ ...question, required })),
    hints,
    guide: `docs/providers/${guide}`,
  }
}

async function listRemoved(sso: PortalSso, { portal, json }: Common): Promise<void> {
  const removed = await sso.providers.listRemoved({ portal })
  if (json) return printJson(removed)
  if (removed.length === 0) return print('No removed provider can be restored.')
  printTable(
    ['SLUG', 'NAME', 'REMOVED'],
    removed.map(({ slug, displayName, removedAt }) => [slug, displayName, removedAt]),
  )
}

/** Commands that only read. */
export function addListCommands(providers: Command): void {
  subcommand(
    providers,
    'list',
    'list all providers of a portal, in the order of the login page',
    'providers list',
    'providers list --removed',
  )
    .option('--removed', 'list removed providers that can be restored')
    .action((flags: Common & { removed?: boolean }) =>
      withSsoContext(async ({ sso }) => {
        if (flags.removed) return await listRemoved(sso, flags)
        const all = await sso.providers.list({ portal: flags.portal })
        if (flags.json) return printJson(all)
        if (all.length === 0)
          return console.log('No provider is connected. Run `portal-sso providers add` to connect one.')
        printTable(
          ['SLUG', 'NAME', 'ENABLED', 'RECOMMENDED', 'ISSUER'],
          all.map(({ slug, displayName, enabled, recommended, issuer }) => [
            slug,
            displayName,
            enabled ? 'yes' : 'no',
            recommended ? 'yes' : '',
            issuer,
          ]),
        )
      }),
    )

  subcommand(
    providers,
    'show <slug>',
    'show all settings, the URLs to enter at the provider, its state and last test; no secrets',
    'providers show acme',
  ).action((slug: string, flags: Common) =>
    withSsoContext(async (context) => {
      const provider = await context.sso.providers.get(slug, { portal: flags.portal })
      if (flags.json) printJson({ ...provider, urls: urlsOf(context, provider) })
      else printProvider(context, provider)
    }),
  )

  subcommand(
    providers,
    'test <slug>',
    'test a connected provider and save the results; the exit code is 1 if a check fails',
    'providers test acme',
  ).action((slug: string, flags: Common) =>
    withSsoContext(async ({ sso }) => {
      progress(flags, `Testing ${slug} …`)
      const test = await sso.providers.test(slug, { portal: flags.portal })
      if (flags.json) printJson(test)
      else test.checks.forEach(printCheck)
      if (!test.ok) process.exitCode = 1
    }),
  )
}
