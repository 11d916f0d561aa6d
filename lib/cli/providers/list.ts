import type { Command } from 'commander'
import type { PortalSso } from '../../portal-sso.ts'
import { presetOf, presets } from '../../providers/presets/presets.ts'
import type { Provider } from '../../providers/provider.ts'
import { settingFacts } from '../../providers/settings.ts'
import { PortalUrls } from '../../web/urls.ts'
import { type CommonFlags, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printCheck, printJson, printPairs, printProgress, printTable } from '../output.ts'

/** The URLs that an administrator enters at the provider. */
interface ProviderUrls {
  redirectUri: string
  /** for presets with admin consent */
  adminConsentUri?: string
  postLogoutRedirectUri: string
  backChannelLogoutUri: string
  /** if front-channel logout is enabled */
  frontChannelLogoutUri?: string
  /** with `private_key_jwt`: where the provider fetches the portal's keys */
  jwksUri?: string
}

type UrlInput = Pick<Provider, 'slug' | 'portal' | 'preset'> & {
  clientAuthentication?: string | undefined
  frontChannelLogout?: boolean | undefined
}

export function providerUrls({ sso, environment }: SsoContext, provider: UrlInput): ProviderUrls {
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

const urlLabels: Record<keyof ProviderUrls, string> = {
  redirectUri: 'Redirect URI',
  adminConsentUri: 'Admin-consent redirect URI',
  postLogoutRedirectUri: 'Post-logout redirect URI',
  backChannelLogoutUri: 'Back-channel logout URI',
  frontChannelLogoutUri: 'Front-channel logout URI',
  jwksUri: 'JWKS URI',
}

export function printUrls(urls: ProviderUrls): void {
  print('Enter these URLs at the provider:')
  const names = Object.keys(urls) as (keyof ProviderUrls)[]
  printPairs(names.map((name) => [urlLabels[name], urls[name] ?? '']))
}

function describeState({ enabled, recommended, testSignInAt, retireAt }: Provider): string {
  const details = [
    recommended && 'recommended',
    testSignInAt ? `sign-in tested ${testSignInAt}` : 'sign-in not tested with these settings',
    retireAt && `retiring on ${retireAt}`,
  ]
  return [enabled ? 'enabled' : 'disabled', ...details.filter(Boolean)].join(', ')
}

/** Prints all settings, the URLs and the results of the last test. A `Provider` holds no secrets. */
function printProvider(context: SsoContext, provider: Provider): void {
  printPairs([
    ['Slug', provider.slug],
    ['State', describeState(provider)],
    ['Preset', provider.preset],
    ...settingFacts(provider),
  ])
  printUrls(providerUrls(context, provider))
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
      if (json) return printJson(presets.map(presetJson))
      for (const { name, displayName, asks, settings } of presets) {
        print(`${name}: ${displayName} (docs/providers/${name}.md)`)
        if (!settings) print('  --issuer  Issuer')
        for (const { name: flag, label, hint, example, required = true } of asks) {
          const optional = !required && !hint?.includes('default:') && 'optional'
          const help = [hint, optional, example && `for example ${example}`]
          print(`  --${flag}  ${[label, ...help.filter(Boolean)].join('; ')}`)
        }
      }
    })
}

function presetJson({ name, displayName, asks, hints }: (typeof presets)[number]) {
  return {
    name,
    displayName,
    asks: asks.map(({ read: _, required = true, ...question }) => ({ ...question, required })),
    hints,
    guide: `docs/providers/${name}.md`,
  }
}

async function listRemoved(sso: PortalSso, { portal, json }: CommonFlags): Promise<void> {
  const removed = await sso.providers.listRemoved({ portal })
  if (json) return printJson(removed)
  if (removed.length === 0) return print('No removed provider can be restored.')
  printTable(
    ['SLUG', 'NAME', 'REMOVED'],
    removed.map(({ slug, displayName, removedAt }) => [slug, displayName, removedAt]),
  )
}

/** Adds the commands that show and test providers. */
export function addListCommands(providers: Command): void {
  addList(providers)
  addShow(providers)
  addTest(providers)
}

function addList(providers: Command): void {
  subcommand(
    providers,
    'list',
    'list all providers of a portal, in the order of the login page',
    'providers list',
    'providers list --removed',
  )
    .option('--removed', 'list removed providers that can be restored')
    .action((flags: CommonFlags & { removed?: boolean }) =>
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
}

function addShow(providers: Command): void {
  subcommand(
    providers,
    'show <slug>',
    'show all settings, the URLs to enter at the provider, its state and last test; no secrets',
    'providers show acme',
  ).action((slug: string, flags: CommonFlags) =>
    withSsoContext(async (context) => {
      const provider = await context.sso.providers.get(slug, { portal: flags.portal })
      if (flags.json) printJson({ ...provider, urls: providerUrls(context, provider) })
      else printProvider(context, provider)
    }),
  )
}

function addTest(providers: Command): void {
  subcommand(
    providers,
    'test <slug>',
    'test a connected provider and save the results; the exit code is 1 if a check fails',
    'providers test acme',
  ).action((slug: string, flags: CommonFlags) =>
    withSsoContext(async ({ sso }) => {
      printProgress(flags, `Testing ${slug} …`)
      const test = await sso.providers.test(slug, { portal: flags.portal })
      if (flags.json) printJson(test)
      else test.checks.forEach(printCheck)
      if (!test.ok) process.exitCode = 1
    }),
  )
}
