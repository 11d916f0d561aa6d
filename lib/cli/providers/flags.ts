import { type Command, Option } from 'commander'
import { presets } from '../../providers/presets/presets.ts'
import {
  clientAuthentications,
  logoutReaches,
  type ProviderChanges,
  type ProviderSettings,
  prompts,
  secretEncodings,
  signingAlgorithms,
} from '../../providers/provider.ts'
import { ConfigurationError } from '../../shared/errors.ts'
import { readText } from '../read-secret.ts'

export type Flags = Record<string, unknown>

interface SettingFlag {
  setting: keyof ProviderSettings
  flag: string
  says: string
  choices?: readonly string[]
  /** from what was written to what the setting is */
  read?: (given: never) => unknown
}

const settingFlags: readonly SettingFlag[] = [
  { setting: 'displayName', flag: '--name <text>', says: 'name on the login page' },
  { setting: 'issuer', flag: '--issuer <url>', says: 'issuer URL, exactly as the provider gives it' },
  { setting: 'clientId', flag: '--client-id <id>', says: 'client ID from the provider' },
  {
    setting: 'clientSecretExpiresAt',
    flag: '--client-secret-expires <date>',
    says: 'when the client secret expires at the provider, such as 2027-01-31',
  },
  {
    setting: 'secretEncoding',
    flag: '--secret-encoding <how>',
    says: 'how client_secret_basic encodes ID and secret; default: form (RFC 6749)',
    choices: secretEncodings,
  },
  {
    setting: 'clientAuthentication',
    flag: '--client-authentication <method>',
    says: 'client authentication method; default: chosen from what the provider announces',
    choices: clientAuthentications,
  },
  {
    setting: 'signingAlgorithm',
    flag: '--signing-algorithm <alg>',
    says: 'ID token signing algorithm; default: chosen from what the provider announces',
    choices: signingAlgorithms,
  },
  {
    setting: 'responseMode',
    flag: '--response-mode <mode>',
    says: 'response mode of the authorization response; default: query',
    choices: ['query', 'form_post'],
  },
  {
    setting: 'prompt',
    flag: '--prompt <prompt>',
    says: 'prompt parameter of every sign-in; default: none',
    choices: prompts,
  },
  {
    setting: 'authorizationParameters',
    flag: '--authorization-parameter <name=value...>',
    says: 'extra parameter for every sign-in, such as hd=example.com',
    read: readParameters,
  },
  { setting: 'emailClaim', flag: '--email-claim <claim>', says: 'claim with the e-mail address' },
  {
    setting: 'trustsEmail',
    flag: '--trusts-email',
    says: 'trust every e-mail address from this provider',
  },
  {
    setting: 'emailDomains',
    flag: '--email-domain <domain...>',
    says: 'trust addresses of these domains only',
  },
  {
    setting: 'tenants',
    flag: '--allowed-tenant <guid...>',
    says: 'entra with organizations: tenants that may sign in',
  },
  {
    setting: 'logout',
    flag: '--logout <reach>',
    says: 'what sign-out ends: provider (both, default), portal, ask',
    choices: logoutReaches,
  },
  {
    setting: 'frontChannelLogout',
    flag: '--front-channel-logout',
    says: 'allow front-channel logout, for a provider without back-channel logout',
  },
  { setting: 'proxy', flag: '--proxy <url>', says: 'proxy for connections to the provider' },
  {
    setting: 'certificateAuthority',
    flag: '--certificate-authority-file <pem>',
    says: 'certificates that verify its TLS',
    read: (file: string) => readText(file, '--certificate-authority-file'),
  },
]

const secretFlag: SettingFlag = {
  setting: 'clientSecret',
  flag: '--client-secret-file <file>',
  says: 'file that holds the client secret; - for standard input',
}

/** Adds a flag for every setting, and one for the file that holds the client secret. */
export function addSettingFlags(command: Command): Command {
  for (const { flag, says, choices } of [...settingFlags, secretFlag]) {
    const option = new Option(flag, says)
    command.addOption(choices ? option.choices([...choices]) : option)
  }
  return command
    .option('--no-trusts-email', 'trust only addresses that the provider verified')
    .option('--no-front-channel-logout', 'do not allow front-channel logout')
    .option('--public', 'a public client without a secret')
}

/** @throws ConfigurationError for what cannot be read; whether a value will do is the act's to judge */
export function settingsFrom(flags: Flags): Partial<ProviderSettings> {
  const given = settingFlags.flatMap(({ setting, flag, read }) => {
    const value = flags[nameOf(flag)]
    return value === undefined ? [] : [[setting, read ? read(value as never) : value]]
  })
  return { ...Object.fromEntries(given), ...(flags.public === true && { clientAuthentication: 'none' }) }
}

/** @param list names of flags, separated by commas: `prompt,proxy` */
export function takenBack(list: string): ProviderChanges {
  const known = new Map(
    [...settingFlags, secretFlag].map(({ setting, flag }) => [longName(flag).replace(/-file$/, ''), setting]),
  )
  const entries = list.split(',').map((given) => {
    const name = given.trim().replace(/^--/, '')
    const setting = known.get(name.replace(/-file$/, ''))
    if (!setting)
      throw new ConfigurationError(
        `--unset: "${name}" is not a setting; the settings are ${[...known.keys()].join(', ')}`,
      )
    return [setting, null]
  })
  return Object.fromEntries(entries) as ProviderChanges
}

/** An act speaks of settings; whoever typed flags reads of those: `emailDomains.0: …` becomes `--email-domain: …`. */
export async function inFlags<T>(act: Promise<T>): Promise<T> {
  try {
    return await act
  } catch (error) {
    if (error instanceof ConfigurationError)
      error.message = error.message.replace(/(^|; )([a-zA-Z]+)(?:\.[\w-]+)?(?=: )/g, (all, before, name) => {
        const flag = flagOf(name)
        return flag ? `${before}--${flag}` : all
      })
    throw error
  }
}

function flagOf(name: string): string | undefined {
  const setting = [...settingFlags, secretFlag].find((each) => each.setting === name)
  if (setting) return longName(setting.flag)
  return name === 'slug' || presets.some(({ asks }) => asks.some((question) => question.name === name))
    ? name
    : undefined
}

function readParameters(given: string[]): Record<string, string> {
  const pairs = given.map((pair): [string, string] => {
    const at = pair.indexOf('=')
    if (at < 1) throw new ConfigurationError(`--authorization-parameter: write name=value, not "${pair}"`)
    return [pair.slice(0, at), pair.slice(at + 1)]
  })
  if (new Set(pairs.map(([name]) => name)).size < pairs.length)
    throw new ConfigurationError('--authorization-parameter: a name was given twice')
  return Object.fromEntries(pairs)
}

/** `--email-domain <domain...>` → `email-domain` */
function longName(flag: string): string {
  return flag.replace(/^--/, '').replace(/ .*/, '')
}

/** → `emailDomain`, as Commander hands it over */
function nameOf(flag: string): string {
  return new Option(flag).attributeName()
}
