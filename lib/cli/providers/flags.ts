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

/** An option for every setting. */
export function addSettingFlags(command: Command): Command {
  for (const [, { flag, label, hint, choices, control }] of settingEntries()) {
    const option = new Option(flag, hint ? `${label}: ${hint}` : label)
    command.addOption(choices ? option.choices([...choices]) : option)
    if (control === 'checkbox') command.option(`--no-${longName(flag)}`, `not: ${label}`)
  }
  return command.option('--public', 'a public client without a secret')
}

/**
 * The settings that were given, secrets included; whether a value is valid is checked where it is saved.
 *
 * @throws ConfigurationError for a file that cannot be read
 */
export async function settingsFrom(flags: Flags): Promise<Partial<ProviderSettings>> {
  const given: [SettingName, unknown][] = []
  for (const [name, setting] of settingEntries()) {
    const value = flags[attributeName(setting.flag)]
    if (value !== undefined) given.push([name, await readFlag(name, setting, value)])
  }
  const settings = Object.fromEntries(given) as Partial<ProviderSettings>
  return { ...settings, ...(flags.public === true && { clientAuthentication: 'none' }) }
}

async function readFlag(name: SettingName, { flag, control }: Setting, value: unknown): Promise<unknown> {
  // Never in the argument list, where every process of the machine could read it.
  if (isSecret(name)) return await readSecret(String(value), `--${longName(flag)}`)
  if (longName(flag).endsWith('-file')) return readText(String(value), `--${longName(flag)}`)
  return control === 'parameters' ? readParameters(value as string[], longName(flag)) : value
}

/** @param list names of options, separated by commas: `prompt,proxy` */
export function resetFlags(list: string): ProviderChanges {
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

/** Problems name settings; on the command line they name the options: `emailDomains.0` becomes `--email-domain`. */
export async function withFlagNames<T>(action: Promise<T>): Promise<T> {
  try {
    return await action
  } catch (error) {
    if (!(error instanceof ManagementError) || error.code === 'test_failed') throw error
    throw new ManagementError(error.code, error.issues.map(withFlagName), { cause: error })
  }
}

function withFlagName({ path, message }: Issue): Issue {
  const name = path?.replace(/\..*/, '')
  const setting = settingEntries().find(([each]) => each === name)?.[1]
  const isOption = name === 'slug' || presets.some(({ asks }) => asks.some((each) => each.name === name))
  const flag = setting ? longName(setting.flag) : isOption ? name : undefined
  return { path: flag === undefined ? path : `--${flag}`, message }
}

function readParameters(given: readonly string[], flag: string): Record<string, string> {
  const pairs = given.map((pair): [string, string] => {
    const at = pair.indexOf('=')
    if (at < 1) throw new ConfigurationError(`--${flag}: write name=value, not "${pair}"`)
    return [pair.slice(0, at), pair.slice(at + 1)]
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

/** → `emailDomain`, the property in which Commander returns it */
function attributeName(flag: string): string {
  return new Option(flag).attributeName()
}
