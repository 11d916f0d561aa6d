import { Option } from 'commander'
import { trustChoices } from '../../admin/form.ts'
import type { ProviderInput } from '../../management/provider-input.ts'
import { settingsOfTrust } from '../../oidc/vouches.ts'
import { maxLogoBytes, readLogo } from '../../providers/logo-image.ts'
import type { Preset, TrustChoice } from '../../providers/presets/preset.ts'
import { presets } from '../../providers/presets/presets.ts'
import type { Provider } from '../../providers/provider.ts'
import {
  isSecret,
  needsConnectionTest,
  type ProviderChanges,
  type ProviderSettings,
  type Setting,
  type SettingName,
  settingEntries,
  settings,
} from '../../providers/settings.ts'
import { ConfigurationError, type Issue, ManagementError } from '../../shared/errors.ts'
import type { CommandContext, PortalCommands } from '../command.ts'
import { ask, atTerminal, choose, readBytes, readSecret, readText } from '../input.ts'
import { checkText, printProgress, type Result } from '../output.ts'

/** The values of the options of settings, by Commander's names. */
export type Flags = Record<string, unknown>

type UpdateContext = CommandContext<Flags & { public?: boolean; unset?: string; logo?: string | false }>

export const logoOption = {
  '--logo <file>': 'its own logo: a PNG or WebP file, at most 256 × 256 pixels and 20 KB',
}

export const updateCommands: PortalCommands = {
  'update <slug>': {
    description:
      'change settings, which applies immediately; what affects sign-ins is tested with the provider first',
    examples: [
      'providers update acme --name "Acme AG" --email-domain acme.com acme.de',
      'providers update acme --client-secret-file new.txt --client-secret-expires 2027-01-31',
      'providers update acme --unset prompt,proxy',
      'providers update acme --logo acme.png --note "New here? Use Acme." --note-in "de=Neu hier? Nutzen Sie Acme."',
    ],
    get otherOptions() {
      return settingOptions()
    },
    options: {
      '--unset <settings>': 'reset settings to their defaults: flag names, separated by commas',
      ...logoOption,
      '--no-logo': 'remove its own logo',
    },
    async run({ providers, actor, flags }: UpdateContext, slug: string) {
      const changes: ProviderChanges = {
        ...(flags.unset !== undefined && readResets(flags.unset)),
        ...(await readSettings(flags)),
        ...(flags.public && { clientSecret: null, clientSecretReference: null }),
      }
      const names = Object.keys(changes) as SettingName[]
      const logo = await readLogoFlag(flags.logo)
      if (names.length === 0 && flags.logo === undefined)
        throw new ConfigurationError(
          'nothing to change; run `portal-sso providers update --help` to list all settings',
        )
      const isTested = needsConnectionTest(names)
      if (isTested) printProgress(flags, 'Testing the provider …')
      if (names.length > 0) await withFlagNames(providers.update(slug, changes, { actor }))
      if (logo) await providers.setLogo(slug, logo, { actor })
      else if (flags.logo === false) await providers.removeLogo(slug, { actor })
      const changed = flags.logo === undefined ? names : [...names, 'logo']
      return describeUpdated(await providers.get(slug), changed, isTested)
    },
  },
}

/** @throws ManagementError if the file is no logo that users may see */
export async function readLogoFlag(file: string | false | undefined): Promise<Buffer | undefined> {
  return file ? readLogo(await readBytes(file, '--logo', maxLogoBytes)).image : undefined
}

function describeUpdated(provider: Provider, changed: readonly string[], isTested: boolean): Result {
  const { enabled, lastTest, slug, testSignInAt } = provider
  const next = enabled || testSignInAt ? '' : ' Test a sign-in before you enable it.'
  const checks = isTested ? (lastTest?.checks ?? []) : []
  const text = [...checks.map(checkText), `${slug} is changed (${changed.join(', ')}).${next}`].join('\n')
  return { json: { provider, changed }, text }
}

export function settingOptions(): Option[] {
  const options = settingEntries().flatMap(([, { flag, label, hint, choices, effects, control }]) => {
    const choiceHints = Object.entries(effects ?? {}).map((effect) => effect.join(': '))
    const help = [hint, choiceHints.join('; ')].filter(Boolean).join(' ')
    const option = new Option(flag, help ? `${label}: ${help}` : label)
    if (choices) option.choices(choices)
    return control === 'checkbox' ? [option, new Option(`--no-${option.name()}`, `not: ${label}`)] : [option]
  })
  return [...options, new Option('--public', 'a public client without a secret')]
}

/**
 * Reads the settings and secrets that were given as flags. `connect` and `update` validate them.
 *
 * @throws ConfigurationError for a file that cannot be read
 */
export async function readSettings(flags: Flags): Promise<Partial<ProviderSettings>> {
  const given: Flags = {}
  for (const [name, setting] of settingEntries()) {
    const value = flags[new Option(setting.flag).attributeName()]
    if (value !== undefined) given[name] = await readFlag(name, setting, value)
  }
  return { ...given, ...(flags.public === true && { clientAuthentication: 'none' }) }
}

async function readFlag(name: SettingName, { flag, control }: Setting, value: unknown): Promise<unknown> {
  const longFlag = `--${longName(flag)}`
  // The argument is a file name: every process on the machine can read arguments.
  if (isSecret(name)) return await readSecret(String(value), longFlag)
  if (longFlag.endsWith('-file')) return await readText(String(value), longFlag)
  return control === 'parameters' ? readParameters(value as string[], longFlag) : value
}

function readParameters(given: readonly string[], flag: string): Record<string, string> {
  const parameters: Record<string, string> = {}
  for (const pair of given) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(pair) ?? []
    if (name === undefined || value === undefined)
      throw new ConfigurationError(`${flag}: write name=value, not "${pair}"`)
    if (Object.hasOwn(parameters, name)) throw new ConfigurationError(`${flag}: a name was given twice`)
    parameters[name] = value
  }
  return parameters
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

const trustQuestion = 'Whose addresses do you trust?'

export function trustOption(): Option {
  const all = presets.flatMap(trustChoices)
  const labels = all.map(({ value, label }) => `${value}: ${label}`)
  return new Option('--trust <answer>', `${trustQuestion} ${[...new Set(labels)].join('; ')}`).choices([
    ...new Set(all.map(({ value }) => value)),
  ])
}

export const isInteractive = ({ flags }: CommandContext) => atTerminal() && !flags.json

/**
 * The settings that follow from the answer to "Whose addresses do you trust?", as in the form. Without an answer, as in a script that
 * gives none, those of the flags count.
 */
export async function resolveTrust(
  context: CommandContext<{ trust?: string }>,
  preset: Preset,
  input: ProviderInput,
) {
  const { trust } = context.flags
  const { answers = {}, authorizationParameters, emailDomains, trustsEmail } = input
  const isSet =
    trustsEmail !== undefined || preset.asks.some((each) => each.askedAsTrust && each.name in answers)
  if (trust !== undefined && isSet)
    throw new ConfigurationError('--trust: the other flags already answer this')
  if (isSet || (trust === undefined && !isInteractive(context))) return {}
  const choices = trustChoices(preset)
  const value = trust ?? (await choose({ question: trustQuestion, flag: '--trust' }, choices))
  const choice = choices.find((each) => each.value === value)
  if (!choice) {
    const known = choices.map((each) => each.value).join(', ')
    throw new ConfigurationError(`--trust: the answers for ${preset.displayName} are ${known}`)
  }
  const listed = choice.domains === 'none' || emailDomains ? emailDomains : await askDomains(context, choice)
  if (choice.domains === 'none' && listed)
    throw new ConfigurationError(`--trust ${value}: leave out --email-domain`)
  if (choice.domains === 'required' && !listed?.length)
    throw new ConfigurationError(`--trust ${value}: give --email-domain`)
  return settingsOfTrust(choice, listed ?? [], { authorizationParameters: authorizationParameters ?? {} })
}

async function askDomains(context: CommandContext, { domains }: TrustChoice): Promise<string[] | undefined> {
  if (!isInteractive(context)) return undefined
  const { schema, label, example } = settings.emailDomains
  const read = (text: string) => {
    const { data, error } = schema.safeParse(text.split(/[\s,;]+/).filter(Boolean))
    return error ? { wrong: error.issues[0]?.message ?? 'enter a domain' } : { answer: data.join(' ') }
  }
  const isOptional = domains === 'optional'
  const hint = isOptional ? 'empty: any domain' : undefined
  const defaultAnswer = isOptional ? '' : undefined
  const answer = await ask({ question: label, flag: '--email-domain', hint, example, defaultAnswer, read })
  return answer.split(' ').filter(Boolean)
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

/** `--email-domain <domain...>` → `email-domain` */
function longName(flag: string): string {
  return new Option(flag).name()
}

function withoutFile(name: string): string {
  return name.replace(/-file$/, '')
}
