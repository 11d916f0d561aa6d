import type { Command } from 'commander'
import { ConfigurationError } from '../../errors.ts'
import type { PortalSso } from '../../portal-sso.ts'
import type { Provider } from '../../providers/provider.ts'
import { withWorkbench } from '../environment.ts'
import { printCheck, printJson, printTable, progress } from '../print.ts'
import { type Common, verb } from '../verb.ts'
import { printProvider, urlsOf } from './describe.ts'

/** The commands that decide nothing. */
export function addLook(providers: Command): void {
  verb(
    providers,
    'list',
    'all providers of a portal, in the order of the login page',
    'providers list',
  ).action((flags: Common) =>
    withWorkbench(async ({ sso }) => {
      const all = await sso.providers.list(flags.portal)
      if (flags.json) return printJson(all)
      if (all.length === 0)
        return console.log('No provider is connected. Connect one with `portal-sso providers add`.')
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

  verb(
    providers,
    'show <slug>',
    'all settings, what to enter at the provider, its state and last test; no secrets',
    'providers show acme',
  ).action((slug: string, flags: Common) =>
    withWorkbench(async (workbench) => {
      const provider = await existing(workbench.sso, slug, flags.portal)
      if (flags.json) printJson({ ...provider, urls: urlsOf(workbench, provider) })
      else printProvider(workbench, provider)
    }),
  )

  verb(
    providers,
    'test <slug>',
    'test a connected provider, and note what was found and how it reads the client secret; fails when a check fails',
    'providers test acme',
  ).action((slug: string, flags: Common) =>
    withWorkbench(async ({ sso }) => {
      progress(flags, `Testing ${slug} …`)
      const test = await sso.providers.test(slug, flags.portal)
      if (flags.json) printJson(test)
      else test.checks.forEach(printCheck)
      if (!test.ok) process.exitCode = 1
    }),
  )
}

export async function existing({ providers }: PortalSso, slug: string, portal: string): Promise<Provider> {
  const provider = await providers.find(slug, portal)
  if (!provider) throw new ConfigurationError(`no provider is called "${slug}" in the portal "${portal}"`)
  return provider
}
