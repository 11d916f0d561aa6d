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
  hints: [
    'For Ory Network. For Hydra on your own server, use the preset generic and its guide.',
    'The client needs the scopes openid, email and profile, and one authentication method: the portal finds out which.',
  ],
}
