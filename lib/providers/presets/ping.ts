import { phrase } from '../../shared/phrase.ts'
import { type Preset, readChoice, readGuid } from './preset.ts'

export const ping: Preset = {
  name: 'ping',
  displayName: 'PingOne',
  asks: [
    {
      name: 'environment',
      label: 'Environment ID',
      hint: 'under Settings > Environment Properties, a GUID',
      example: '00000000-0000-0000-0000-000000000000',
      read: readGuid(phrase('enter the Environment ID, a GUID, from Settings > Environment Properties')),
    },
    {
      name: 'region',
      label: 'Region',
      hint: 'the ending of your console URL: com (North America), ca, eu, com.au, sg or asia; default: com',
      example: 'eu',
      required: false,
      read: readChoice(['com', 'ca', 'eu', 'com.au', 'sg', 'asia']),
    },
  ],
  settings: ({ environment, region = 'com' }) => ({
    issuer: `https://auth.pingone.${region}/${environment}/as`,
  }),
  urls: {
    redirectUri: { label: 'Redirect URIs' },
    postLogoutRedirectUri: { label: 'Signoff URLs', hint: 'People return here after they sign out.' },
  },
  hints: ['For a custom domain or PingFederate, use the preset generic and enter the issuer.'],
}
