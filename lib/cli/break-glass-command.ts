import type { Command } from 'commander'
import { type Common, subcommand } from './command.ts'
import { withSsoContext } from './environment.ts'
import { printResult } from './output.ts'

export function addBreakGlass(program: Command): void {
  subcommand(
    program,
    'break-glass',
    'a link that opens the classic login to one browser, when no provider lets anybody in; recorded',
    'break-glass',
  )
    .addHelpText(
      'after',
      '\nIt helps where the portal has a classic login. Who holds the link can open it: hand it over in a way that you trust.',
    )
    .action((flags: Common) =>
      withSsoContext(async ({ sso, actor }) => {
        const { url, expiresAt } = await sso.breakGlass.link({ portal: flags.portal, actor })
        const until = expiresAt.toISOString()
        printResult(
          flags,
          { url, expiresAt: until },
          `Open this in one browser, once, until ${until}:
  ${url}
It opens the classic login there for a while, past all providers. That it was made is recorded, and so is its use.`,
        )
      }),
    )
}
