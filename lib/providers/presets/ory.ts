import { type Preset, readDomain } from './preset.ts'

export const ory: Preset = {
  name: 'ory',
  displayName: 'Ory',
  asks: [
    {
      name: 'domain',
      label: 'Domain of the project',
      hint: 'its SDK URL, or your custom domain',
      example: 'acme-abc123.projects.oryapis.com',
      read: readDomain('acme-abc123.projects.oryapis.com'),
    },
  ],
  settings: ({ domain }) => ({ issuer: `https://${domain}` }),
  logo: 'ory',
  urls: {
    redirectUri: { label: 'Redirect URIs' },
    postLogoutRedirectUri: {
      label: 'Post Logout Redirect URIs',
      hint: 'People return here after they sign out.',
    },
    backChannelLogoutUri: { label: 'backchannel_logout_uri', hint: 'Optional, with the Ory CLI or API.' },
  },
  hints: [
    'For Ory Network. For Hydra on your own server, use the preset generic and its guide.',
    'The client needs the scopes openid, email and profile, and one authentication method: the portal finds out which.',
  ],
}
