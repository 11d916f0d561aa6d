import type { Command } from 'commander'
import type { ProviderChanges } from '../../providers/settings.ts'
import { ConfigurationError } from '../../shared/errors.ts'
import { type CommonFlags, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { printCheck, printProgress, printResult } from '../output.ts'
import { addSettingFlags, type Flags, readResets, readSettings, withFlagNames } from './flags.ts'

interface UpdateFlags extends CommonFlags, Flags {
  public?: boolean
  unset?: string
}

export function addUpdate(providers: Command): void {
  const command = subcommand(
    providers,
    'update <slug>',
    'change settings; the provider is tested first, and the change applies immediately',
    'providers update acme --name "Acme AG" --email-domain acme.com acme.de',
    'providers update acme --client-secret-file new.txt --client-secret-expires 2027-01-31',
    'providers update acme --unset prompt,proxy',
  )
  addSettingFlags(command)
    .option('--unset <settings>', 'reset settings to their defaults: flag names, separated by commas')
    .action((slug: string, flags: UpdateFlags) => withSsoContext((context) => update(context, slug, flags)))
}

async function update({ sso, actor }: SsoContext, slug: string, flags: UpdateFlags): Promise<void> {
  const { portal } = flags
  const changes: ProviderChanges = {
    ...(flags.unset !== undefined && readResets(flags.unset)),
    ...(await readSettings(flags)),
    ...(flags.public && { clientSecret: null, clientSecretReference: null }),
  }
  const names = Object.keys(changes)
  if (names.length === 0)
    throw new ConfigurationError(
      'nothing to change; run `portal-sso providers update --help` to list all settings',
    )
  printProgress(flags, 'Testing the provider …')
  await withFlagNames(sso.providers.update(slug, changes, { portal, actor }))
  const provider = await sso.providers.find(slug, { portal })
  if (!flags.json) provider?.lastTest?.checks.forEach(printCheck)
  const needsTest = provider && !provider.enabled && !provider.testSignInAt
  printResult(
    flags,
    { provider, changed: names },
    `${slug} is changed (${names.join(', ')}).${needsTest ? ' Test a sign-in before you enable it.' : ''}`,
  )
}
