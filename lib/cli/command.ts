import { type Command, Option } from 'commander'
import { timestamp } from '../providers/setting-values.ts'
import { ConfigurationError } from '../shared/errors.ts'

/** @throws ConfigurationError for an invalid ISO 8601 date; a date without a time is midnight, UTC */
export function parseDate(text: string, flag: string): Date {
  const { data } = timestamp.safeParse(text)
  if (data !== undefined) return new Date(data)
  throw new ConfigurationError(`${flag}: enter a date such as 2027-01-31, not "${text}"`)
}

/** Options of every command on a portal. */
export interface Common {
  portal: string
  json?: boolean
}

/** A command with the options `--portal` and `--json`, and examples in its help. */
export function subcommand(
  parent: Command,
  usage: string,
  description: string,
  ...examples: string[]
): Command {
  const heading = examples.length > 1 ? 'Examples' : 'Example'
  return parent
    .command(usage)
    .description(description)
    .addOption(new Option('--portal <name>', 'name of the portal').default('default'))
    .option('--json', 'for scripts: print the result as JSON, and errors as {"error": …} on standard error')
    .addHelpText('after', `\n${heading}:\n${examples.map((line) => `  $ portal-sso ${line}`).join('\n')}`)
}

/** The option for the next command that the output suggests. */
export function on(portal: string): string {
  return portal === 'default' ? '' : ` --portal ${portal}`
}
