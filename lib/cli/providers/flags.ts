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
  { setting: 'issuer', flag: '--issuer <url>', says: 'issuer, exactly as the provider spells it' },
  { setting: 'clientId', flag: '--client-id <id>', says: 'client id from the provider' },
  {
    setting: 'clientSecretExpiresAt',
    flag: '--client-secret-expires <date>',
    says: 'when the client secret expires at the provider, such as 2027-01-31',
  },
  {
    setting: 'secretEncoding',
    flag: '--secret-encoding <how>',
    says: 'how client_secret_basic spells id and secret; left out: form, as RFC 6749 says',
    choices: secretEncodings,
  },
  {
    setting: 'clientAuthentication',
    flag: '--client-authentication <method>',
    says: 'how the portal proves itself; left out: chosen from what the provider offers',
    choices: clientAuthentications,
  },
  {
    setting: 'signingAlgorithm',
    flag: '--signing-algorithm <alg>',
    says: 'how ID tokens are signed; left out: chosen from what the provider offers',
    choices: signingAlgorithms,
  },
  {
    setting: 'responseMode',
    flag: '--response-mode <mode>',
    says: 'how the answer comes back; left out: query',
    choices: ['query', 'form_post'],
  },
  {
    setting: 'prompt',
    flag: '--prompt <prompt>',
    says: 'what the provider asks each time; left out: up to it',
    choices: prompts,
  },
  {
    setting: 'authorizationParameters',
    flag: '--authorization-parameter <name=value...>',
    says: 'sent along with every sign-in, such as hd=example.com',
    read: readParameters,
  },
  { setting: 'emailClaim', flag: '--email-claim <claim>', says: 'claim that holds the address to match' },
  {
    setting: 'trustsEmail',
    flag: '--trusts-email',
    says: 'every address from this provider belongs to the person (your word for it)',
  },
  {
    setting: 'emailDomains',
    flag: '--email-domain <domain...>',
    says: 'domains this provider may vouch for',
  },
  {
    setting: 'tenants',
    flag: '--allowed-tenant <guid...>',
    says: 'entra, organizations: tenants whose people may come in',
  },
  {
    setting: 'logout',
    flag: '--logout <reach>',
    says: 'what signing out ends; left out: provider, which is both; ask: the person says',
    choices: logoutReaches,
  },
  {
    setting: 'frontChannelLogout',
    flag: '--front-channel-logout',
    says: 'its pages may end sessions here through the browser, where it knows no back-channel logout',
  },
  { setting: 'proxy', flag: '--proxy <url>', says: 'proxy that leads to the provider' },
  {
    setting: 'certificateAuthority',
    flag: '--certificate-authority-file <pem>',
    says: 'certificates that its TLS is verified with',
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
    .option('--no-trusts-email', 'only addresses that the provider vouches for itself')
    .option('--no-front-channel-logout', 'they may not')
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
        `--unset: "${name}" is no setting; they are ${[...known.keys()].join(', ')}`,
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
