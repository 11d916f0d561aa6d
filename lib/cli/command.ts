import { userInfo } from 'node:os'
import type { Argument, Command, Option } from 'commander'
import type { PortalApi } from '../portal-sso.ts'
import { timestamp } from '../providers/setting-values.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { UsersTable } from '../users/users-table.ts'
import { PortalUrls } from '../web/urls.ts'
import { readValidEnvironment, withSso } from './environment.ts'
import { printResult, type Result } from './output.ts'

export interface CommonFlags {
  portal: string
  json?: boolean
}

/** The API of the portal that `--portal` names, and what the API does not offer. */
export interface CommandContext<Flags = object> extends Omit<PortalApi, 'users'> {
  flags: CommonFlags & Flags
  /** the built-in table; commands cannot call a host's own user directory */
  users: UsersTable
  urls: PortalUrls
  /** `cli:` and the name of the system user, for the event log */
  actor: string
}

/** Commands that work on one portal, by their usage. */
export type PortalCommands = Record<string, PortalCommand>

interface PortalCommand {
  description: string
  /** for its help, without `portal-sso` */
  examples: string[]
  /** shown in its help after the examples */
  notes?: string
  argument?: Argument
  options?: Record<string, string>
  requiredOptions?: Record<string, string>
  /** those with choices, and those of the settings table */
  otherOptions?: Option[]
  /** @returns what to print; `undefined` if the command has printed its result */
  run(context: CommandContext, ...args: (string | string[] | undefined)[]): Promise<Result | undefined>
}

/** Adds commands with `--portal`, `--json` and examples in their help. */
export function addPortalCommands(parent: Command, commands: PortalCommands): void {
  for (const [usage, definition] of Object.entries(commands)) {
    const { description, examples, notes, argument, otherOptions = [] } = definition
    const heading = examples.length > 1 ? 'Examples' : 'Example'
    const lines = ['', `${heading}:`, ...examples.map((example) => `  $ portal-sso ${example}`)]
    const command = parent
      .command(usage)
      .description(description)
      .option('--portal <name>', 'name of the portal', 'default')
      .option('--json', 'for scripts: print the result as JSON, and errors as {"error": …} on standard error')
      .addHelpText('after', lines.join('\n'))
      .action(() => runCommand(command, definition))
    if (notes) command.addHelpText('after', notes)
    if (argument) command.addArgument(argument)
    for (const option of otherOptions) command.addOption(option)
    const options = { ...definition.requiredOptions, ...definition.options }
    for (const [flag, text] of Object.entries(options)) command.option(flag, text)
  }
}

async function runCommand(command: Command, definition: PortalCommand): Promise<void> {
  checkRequiredOptions(command, definition)
  const environment = readValidEnvironment()
  const flags = command.opts<CommonFlags>()
  await withSso(environment, async (sso, knex) => {
    const users = new UsersTable({ knex })
    const urls = new PortalUrls(environment.baseUrl, environment.mountPath)
    const context = { ...sso.portal(flags.portal), flags, users, urls, actor: currentActor() }
    const result = await definition.run(context, ...command.processedArgs)
    if (result) printResult(flags, result)
  })
}

/** Commander itself would name only the first one that is missing. */
function checkRequiredOptions(command: Command, { requiredOptions = {} }: PortalCommand): void {
  const missing = command.options.filter(
    (option) =>
      option.flags in requiredOptions && command.getOptionValue(option.attributeName()) === undefined,
  )
  if (missing.length > 0)
    throw new ConfigurationError(`give ${missing.map(({ flags }) => flags).join(' and ')}`)
}

export function currentActor(): string {
  try {
    return `cli:${userInfo().username}`
  } catch {
    return 'cli' // The user of a container may have no name.
  }
}

/** @returns the next command to run, for the same portal */
export function suggest(text: string, { portal }: CommonFlags): string {
  return `portal-sso ${text}${portal === 'default' ? '' : ` --portal ${portal}`}`
}

/** Reads an ISO 8601 date; without a time it means midnight UTC. @throws ConfigurationError naming the flag */
export function parseDate(text: string, flag: string): Date {
  const { data } = timestamp.safeParse(text)
  if (data !== undefined) return new Date(data)
  throw new ConfigurationError(`${flag}: enter a date such as 2027-01-31, not "${text}"`)
}
