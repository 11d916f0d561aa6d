import { type Preset, readDomain } from './preset.ts'

export const zitadel: Preset = {
  name: 'zitadel',
  displayName: 'ZITADEL',
  asks: [
    {
      name: 'domain',
      label: 'Domain of the instance',
      hint: 'as in the address of its console',
      example: 'acme-abc123.eu1.zitadel.cloud',
      read: readDomain('acme-abc123.eu1.zitadel.cloud'),
    },
  ],
  settings: ({ domain }) => ({ issuer: `https://${domain}` }),
  choosesAccount: true,
  urls: {
    redirectUri: { label: 'Redirect URIs' },
    postLogoutRedirectUri: { label: 'Post Logout URIs', hint: 'People return here after they sign out.' },
    backChannelLogoutUri: { label: 'Back-Channel Logout URI', hint: 'If your version has the field.' },
  },
  hints: [
    'Enter the domain under which people sign in: each domain of an instance is an issuer of its own.',
    'At first, everyone in the instance can sign in. To limit that, turn on the authorization checks of the project.',
  ],
}
