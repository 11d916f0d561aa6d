import { type Command, Option } from 'commander'
import { timestamp } from '../providers/setting-values.ts'
import { ConfigurationError } from '../shared/errors.ts'

/** The flags of every command that works on one portal. */
export interface CommonFlags {
  portal: string
  json?: boolean
}

/** Adds a command with `--portal`, `--json` and examples in its help. */
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

/** The `--portal` flag of a suggested command; empty for the default portal. */
export function portalFlag(portal: string): string {
  return portal === 'default' ? '' : ` --portal ${portal}`
}

/**
 * @param text an ISO 8601 date; without a time it means midnight UTC
 * @throws ConfigurationError naming the flag
 */
export function parseDate(text: string, flag: string): Date {
  const { data } = timestamp.safeParse(text)
  if (data !== undefined) return new Date(data)
  throw new ConfigurationError(`${flag}: enter a date such as 2027-01-31, not "${text}"`)
}
