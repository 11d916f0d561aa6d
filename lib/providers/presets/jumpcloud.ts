import { type Preset, readChoice } from './preset.ts'

export const jumpcloud: Preset = {
  name: 'jumpcloud',
  displayName: 'JumpCloud',
  asks: [
    {
      name: 'region',
      label: 'Region',
      hint: 'eu or in if your console is console.eu.jumpcloud.com or console.in.jumpcloud.com; default: us',
      example: 'eu',
      required: false,
      read: readChoice(['us', 'eu', 'in']),
    },
  ],
  settings: ({ region = 'us' }) => ({
    issuer: region === 'us' ? 'https://oauth.id.jumpcloud.com/' : `https://oauth.id.${region}.jumpcloud.com/`,
  }),
  // It announces an end_session_endpoint, but accepts no post-logout redirect URI: users would see an error page there.
  defaults: { logout: 'portal' },
  urls: {
    redirectUri: { label: 'Redirect URIs' },
  },
  hints: [
    'All organisations of a region share one issuer. Only people with access to the application can sign in.',
    'People who sign out of the portal stay signed in at JumpCloud, because it accepts no post-logout redirect URI.',
  ],
}
