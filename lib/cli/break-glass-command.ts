import type { Command } from 'commander'
import { type CommonFlags, subcommand } from './command.ts'
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
    .action((flags: CommonFlags) =>
      withSsoContext(async ({ sso, actor }) => {
        const link = await sso.breakGlass.link({ portal: flags.portal, actor })
        const expiresAt = link.expiresAt.toISOString()
        printResult(
          flags,
          { url: link.url, expiresAt },
          `Open this link in one browser. It works once, until ${expiresAt}:
  ${link.url}
It opens the classic login in that browser for a limited time. Creating and using the link is logged.`,
        )
      }),
    )
}
