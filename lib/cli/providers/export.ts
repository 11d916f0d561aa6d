import type { Command } from 'commander'
import { type Common, subcommand } from '../command.ts'
import { withSsoContext } from '../environment.ts'
import { printJson } from '../output.ts'

export function addExport(providers: Command): void {
  subcommand(
    providers,
    'export [slugs...]',
    'write settings as JSON to standard output, to import them elsewhere; all providers, or those you name',
    'providers export > providers.json',
    'providers export acme > acme.json',
  )
    .addHelpText(
      'after',
      `
The file contains no secrets, only references to them (env:NAME, file:/path). Keys for private_key_jwt are never exported:
the other portal creates its own.`,
    )
    .action((slugs: string[], flags: Common) =>
      withSsoContext(async ({ sso, actor }) =>
        printJson(await sso.providers.export(slugs, { portal: flags.portal, actor })),
      ),
    )
}
