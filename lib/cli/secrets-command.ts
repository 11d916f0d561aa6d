import { Command } from 'commander'
import { count } from '../admin/format.ts'
import { withSsoContext } from './environment.ts'
import { printResult, progress } from './output.ts'

export function secretsCommand(): Command {
  const command = new Command('secrets').description('what is sealed under SSO_SECRET')
  command
    .command('rotate')
    .description(
      'seal all client secrets and keys, of all portals, under the first of SSO_SECRET, while instances run',
    )
    .option('--json', 'for scripts')
    .addHelpText(
      'after',
      `
Every instance has to know both secrets first (secret: [new, old]). Afterwards the old one is needed only until the sessions
and cookies that it sealed have ended.

Example:
  $ SSO_SECRET="$NEW $OLD" portal-sso secrets rotate`,
    )
    .action((flags: { json?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        progress(flags, 'Sealing …')
        const { providers } = await sso.rotateSecrets({ actor })
        printResult(
          flags,
          { providers },
          providers === 0
            ? 'All secrets and keys are sealed under the first secret already.'
            : `Those of ${count(providers, 'provider', 'providers')} are sealed anew, under the first secret.`,
        )
      }),
    )
  return command
}
