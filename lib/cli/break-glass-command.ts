import { Command, Option } from 'commander'
import { withWorkbench } from './environment.ts'
import { say } from './print.ts'

export function breakGlassCommand(): Command {
  return new Command('break-glass')
    .description(
      'a link that opens the classic login to one browser, when no provider lets anybody in; recorded',
    )
    .addOption(new Option('--portal <name>', 'which portal').default('default'))
    .option('--json', 'for scripts')
    .addHelpText(
      'after',
      `
It helps where the portal has a classic login. Who holds the link can open it: hand it over in a way that you trust.

Example:
  $ portal-sso break-glass`,
    )
    .action((flags: { portal: string; json?: boolean }) =>
      withWorkbench(async ({ sso, by }) => {
        const { url, expiresAt } = await sso.breakGlass.link({ portal: flags.portal, by })
        const until = expiresAt.toISOString()
        say(
          flags,
          { url, expiresAt: until },
          `Open this in one browser, once, until ${until}:
  ${url}
It opens the classic login there for a while, past all providers. That it was made is recorded, and so is its use.`,
        )
      }),
    )
}
