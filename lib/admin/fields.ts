import {
  clientAuthentications,
  type ProviderSettings,
  prompts,
  signingAlgorithms,
} from '../providers/provider.ts'

export type SettingName = keyof ProviderSettings

/** One entry of the form. */
export interface Field {
  name: string
  label: string
  /** default `text` */
  type?: 'text' | 'password' | 'date' | 'select' | 'lines' | 'checkbox'
  hint?: string | undefined
  /** what whoever ticks it should have read */
  warning?: string
  example?: string | undefined
  required?: boolean
  /** takes a line of its own */
  wide?: boolean
  options?: readonly { value: string; label: string }[]
}

export type SettingField = Field & { name: SettingName }

const option = (value: string, label = value) => ({ value, label })
const unlessSaid = (label: string, values: readonly string[]) => [
  option('', label),
  ...values.map((value) => option(value)),
]

const displayName: SettingField = {
  name: 'displayName',
  label: 'Display name',
  hint: 'What people read on the login page.',
  example: 'Acme',
  required: true,
}
const issuer: SettingField = {
  name: 'issuer',
  label: 'Issuer',
  hint: 'The address before /.well-known/openid-configuration.',
  example: 'https://id.example.com',
  required: true,
}
const otherIssuer: SettingField = {
  name: 'issuer',
  label: 'Issuer',
  hint: 'Only if it is another one than the answers above make: a national cloud, a domain of your own.',
  example: 'https://id.example.com',
}
const clientId: SettingField = {
  name: 'clientId',
  label: 'Client ID',
  hint: 'Some consoles call it application ID.',
  required: true,
}
const clientSecret: SettingField = {
  name: 'clientSecret',
  label: 'Client secret',
  type: 'password',
  hint: 'The secret’s value, not its ID. Leave it empty only where the authentication method (Advanced) is none or private_key_jwt.',
}
const clientSecretExpiresAt: SettingField = {
  name: 'clientSecretExpiresAt',
  label: 'Client secret expires on',
  type: 'date',
  hint: 'As the provider’s console says. You are warned 60, 30, 7 days and one day before.',
}

const protocol: SettingField[] = [
  {
    name: 'clientAuthentication',
    label: 'Authentication method',
    type: 'select',
    options: unlessSaid('What the provider announces', clientAuthentications),
  },
  {
    name: 'signingAlgorithm',
    label: 'Signing algorithm of ID tokens',
    type: 'select',
    options: unlessSaid('What the provider announces', signingAlgorithms),
  },
  {
    name: 'responseMode',
    label: 'How the answer comes back',
    type: 'select',
    options: [option('', 'In the address (query)'), option('form_post', 'In a posted form (form_post)')],
  },
  {
    name: 'prompt',
    label: 'What the provider asks at each sign-in',
    type: 'select',
    options: [
      option('', 'Nothing, if the person is signed in there'),
      ...prompts.map((prompt) => option(prompt)),
    ],
  },
  {
    name: 'authorizationParameters',
    label: 'Extra authorization parameters',
    type: 'lines',
    hint: 'One on each line: name=value.',
    example: 'domain_hint=example.com',
  },
]
const addresses: SettingField[] = [
  { name: 'emailClaim', label: 'E-mail claim', hint: 'Left empty: email.', example: 'email' },
  {
    name: 'emailDomains',
    label: 'E-mail domains',
    hint: 'The provider may vouch for addresses of these only. Left empty: for any.',
    example: 'example.com, example.org',
  },
  {
    name: 'trustsEmail',
    label: 'Every address from this provider belongs to the person',
    type: 'checkbox',
    warning:
      'Whoever can set an e-mail address at this provider can then sign in as its owner here. Tick it only if your own administrators give the addresses out there.',
  },
]
const tenants: SettingField = {
  name: 'tenants',
  label: 'Tenants',
  hint: 'Directory (tenant) IDs of those who may come in, where the issuer is one for many.',
}
const leaving: SettingField = {
  name: 'logout',
  label: 'Signing out',
  type: 'select',
  options: [
    option('', 'of the portal, then of the provider'),
    option('portal', 'of the portal only'),
    option('ask', 'of the portal; of the provider, if the person says so'),
  ],
}
const frontChannel: SettingField = {
  name: 'frontChannelLogout',
  label: 'The provider’s pages may end sessions here',
  type: 'checkbox',
  hint: 'Front-channel logout, for a provider that knows no back-channel logout. Its ID tokens have to hold sid.',
}
const network: SettingField[] = [
  {
    name: 'proxy',
    label: 'Proxy',
    hint: 'Only if the provider is reached through one.',
    example: 'http://proxy.example.com:3128',
  },
  {
    name: 'certificateAuthority',
    label: 'Certificate authority',
    type: 'lines',
    hint: 'PEM certificates that its TLS is verified with, instead of the system’s.',
    example: '-----BEGIN CERTIFICATE-----',
  },
]

export interface FieldGroup {
  title: string
  fields: SettingField[]
}

function advanced(preset: string, ofProtocol = protocol): FieldGroup[] {
  return [
    { title: 'Protocol', fields: ofProtocol },
    { title: 'E-mail addresses', fields: preset === 'entra' ? [...addresses, tenants] : addresses },
    { title: 'Signing out and network', fields: [leaving, frontChannel, ...network] },
  ]
}

export interface FormFields {
  basic: SettingField[]
  advanced: FieldGroup[]
}

/** @param makesIssuer whether the preset makes it of its answers */
export function connectFields(preset: string, makesIssuer: boolean): FormFields {
  return {
    basic: [displayName, ...(makesIssuer ? [] : [issuer]), clientId, clientSecret, clientSecretExpiresAt],
    advanced: advanced(preset, makesIssuer ? [otherIssuer, ...protocol] : protocol),
  }
}

const keeps = 'Leave it empty to keep what is saved.'

export function editFields(preset: string): FormFields {
  return {
    basic: [
      displayName,
      clientId,
      { ...issuer, wide: true },
      { ...clientSecret, hint: keeps },
      clientSecretExpiresAt,
      {
        ...clientSecret,
        name: 'secondClientSecret',
        label: 'Second client secret',
        hint: `Live beside the first while you exchange them. ${keeps}`,
      },
      {
        ...clientSecretExpiresAt,
        name: 'secondClientSecretExpiresAt',
        label: 'Second client secret expires on',
        hint: undefined,
      },
    ],
    advanced: advanced(preset),
  }
}

export function allOf({ basic, advanced: groups }: FormFields): SettingField[] {
  return [...basic, ...groups.flatMap(({ fields }) => fields)]
}
