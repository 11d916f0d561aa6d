import { Command } from 'commander'
import { count } from '../admin/format.ts'
import { withSsoContext } from './environment.ts'
import { printProgress, printResult } from './output.ts'

export function secretsCommand(): Command {
  const command = new Command('secrets').description('data encrypted with SSO_SECRET')
  command
    .command('rotate')
    .description(
      'encrypt all client secrets and keys of all portals with the first secret in SSO_SECRET, without downtime',
    )
    .option('--json', 'print JSON, for scripts')
    .addHelpText(
      'after',
      `
First give both secrets to every instance (secret: [new, old]). Afterwards you need the old one only until the sessions
and cookies that it encrypted have expired.

Example:
  $ SSO_SECRET="$NEW $OLD" portal-sso secrets rotate`,
    )
    .action((flags: { json?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        printProgress(flags, 'Encrypting …')
        const { providers } = await sso.rotateSecrets({ actor })
        printResult(
          flags,
          { providers },
          providers === 0
            ? 'All secrets and keys are already encrypted with the first secret.'
            : `The secrets and keys of ${count(providers, 'provider', 'providers')} are now encrypted with the first secret.`,
        )
      }),
    )
  return command
}
