import type { Command } from 'commander'
import { type Common, subcommand } from './command.ts'
import { withSsoContext } from './environment.ts'
import { printResult } from './output.ts'

export function addBreakGlass(program: Command): void {
  subcommand(
    program,
    'break-glass',
    'create a link that opens the classic login in one browser, for when nobody can sign in (logged)',
    'break-glass',
  )
    .addHelpText(
      'after',
      '\nThis works only if the portal has a classic login. Anyone with the link can open it, so share it securely.',
    )
    .action((flags: Common) =>
      withSsoContext(async ({ sso, actor }) => {
        const { url, expiresAt } = await sso.breakGlass.link({ portal: flags.portal, actor })
        const until = expiresAt.toISOString()
        printResult(
          flags,
          { url, expiresAt: until },
          `Open this link in one browser. It works once, until ${until}:
  ${url}
It opens the classic login in that browser for a limited time. Creating and using the link is logged.`,
        )
      }),
    )
}
