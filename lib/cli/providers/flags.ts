import { type Command, Option } from 'commander'
import { presets } from '../../providers/presets/presets.ts'
import {
  isSecret,
  type ProviderChanges,
  type ProviderSettings,
  type Setting,
  type SettingName,
  settingEntries,
} from '../../providers/settings.ts'
import { ConfigurationError, type Issue, ManagementError } from '../../shared/errors.ts'
import { readSecret, readText } from '../read-secret.ts'

export type Flags = Record<string, unknown>

/** Adds an option for every setting. */
export function addSettingFlags(command: Command): Command {
  for (const [, { flag, label, hint, choices, control }] of settingEntries()) {
    const option = new Option(flag, hint ? `${label}: ${hint}` : label)
    command.addOption(choices ? option.choices([...choices]) : option)
    if (control === 'checkbox') command.option(`--no-${longName(flag)}`, `not: ${label}`)
  }
  return command.option('--public', 'a public client without a secret')
}

/**
 * Reads the settings and secrets that were given as flags. `connect` and `update` validate them.
 *
 * @throws ConfigurationError for a file that cannot be read
 */
export async function readSettings(flags: Flags): Promise<Partial<ProviderSettings>> {
  const given: [SettingName, unknown][] = []
  for (const [name, setting] of settingEntries()) {
    const value = flags[attributeName(setting.flag)]
    if (value !== undefined) given.push([name, await readFlag(name, setting, value)])
  }
  const settings = Object.fromEntries(given) as Partial<ProviderSettings>
  return { ...settings, ...(flags.public === true && { clientAuthentication: 'none' }) }
}

async function readFlag(name: SettingName, { flag, control }: Setting, value: unknown): Promise<unknown> {
  // The argument is a file name: every process on the machine can read arguments.
  if (isSecret(name)) return await readSecret(String(value), `--${longName(flag)}`)
  if (longName(flag).endsWith('-file')) return readText(String(value), `--${longName(flag)}`)
  return control === 'parameters' ? readParameters(value as string[], longName(flag)) : value
}

/** @param list flag names, separated by commas: `prompt,proxy` */
export function readResets(list: string): ProviderChanges {
  const names = new Map(settingEntries().map(([name, { flag }]) => [withoutFile(longName(flag)), name]))
  const entries = list.split(',').map((given) => {
    const flag = given.trim().replace(/^--/, '')
    const name = names.get(withoutFile(flag))
    if (!name)
      throw new ConfigurationError(`--unset: "${flag}" is not a setting; use ${[...names.keys()].join(', ')}`)
    return [name, null]
  })
  return Object.fromEntries(entries) as ProviderChanges
}

/** Replaces setting names in a `ManagementError` by flags: `emailDomains.0` becomes `--email-domain`. */
export async function withFlagNames<T>(result: Promise<T>): Promise<T> {
  try {
    return await result
  } catch (error) {
    if (!(error instanceof ManagementError) || error.code === 'test_failed') throw error
    throw new ManagementError(error.code, error.issues.map(withFlagName), { cause: error })
  }
}

function withFlagName({ path, message }: Issue): Issue {
  const name = path?.replace(/\..*/, '')
  const setting = settingEntries().find(([settingName]) => settingName === name)?.[1]
  if (setting) return { path: `--${longName(setting.flag)}`, message }
  const isQuestion = presets.some(({ asks }) => asks.some((question) => question.name === name))
  return { path: name === 'slug' || isQuestion ? `--${name}` : path, message }
}

function readParameters(given: readonly string[], flag: string): Record<string, string> {
  const pairs = given.map((pair): [string, string] => {
    const separator = pair.indexOf('=')
    if (separator < 1) throw new ConfigurationError(`--${flag}: write name=value, not "${pair}"`)
    return [pair.slice(0, separator), pair.slice(separator + 1)]
  })
  if (new Set(pairs.map(([name]) => name)).size < pairs.length)
    throw new ConfigurationError(`--${flag}: a name was given twice`)
  return Object.fromEntries(pairs)
}

/** `--email-domain <domain...>` → `email-domain` */
function longName(flag: string): string {
  return flag.replace(/^--/, '').replace(/ .*/, '')
}

function withoutFile(name: string): string {
  return name.replace(/-file$/, '')
}

/** `--email-domain <domain...>` → `emailDomain`, Commander's property */
function attributeName(flag: string): string {
  return new Option(flag).attributeName()
}
