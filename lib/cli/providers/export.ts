import type { Command } from 'commander'
import { type Common, subcommand } from '../command.ts'
import { withSsoContext } from '../environment.ts'
import { printJson } from '../output.ts'
import { choosePassphrase, readSecret } from '../read-secret.ts'

interface ExportFlags extends Common {
  withSecrets?: boolean
  passphraseFile?: string
}

export function addExport(providers: Command): void {
  subcommand(
    providers,
    'export [slugs...]',
    'write settings as JSON to standard output, to import them elsewhere; all providers, or those you name',
    'providers export > providers.json',
    'providers export acme --with-secrets > acme.json',
  )
    .option('--with-secrets', 'client secrets too, sealed under a passphrase; recorded as an event')
    .option(
      '--passphrase-file <file>',
      'file that holds the passphrase; - for standard input; left out: it is asked for',
    )
    .addHelpText('after', '\nKeys for private_key_jwt are never exported. The other portal creates its own.')
    .action((slugs: string[], flags: ExportFlags) =>
      withSsoContext(async ({ sso, actor }) => {
        const passphrase = await passphraseFor(flags)
        printJson(await sso.providers.exportProviders(slugs, { portal: flags.portal, actor, passphrase }))
      }),
    )
}

async function passphraseFor({ withSecrets, passphraseFile }: ExportFlags): Promise<string | undefined> {
  if (passphraseFile !== undefined) return await readSecret(passphraseFile, '--passphrase-file')
  return withSecrets ? await choosePassphrase('--passphrase-file') : undefined
}
