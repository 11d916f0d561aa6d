import { type Preset, readAddress } from './preset.ts'

export const gitlab: Preset = {
  name: 'gitlab',
  displayName: 'GitLab',
  asks: [
    {
      name: 'address',
      label: 'Address of GitLab',
      hint: 'of your own server; default: https://gitlab.com',
      example: 'https://gitlab.example.com',
      required: false,
      read: readAddress('https://gitlab.example.com'),
    },
  ],
  settings: ({ address = 'https://gitlab.com' }) => ({ issuer: address }),
  logo: 'gitlab',
  fields: {
    clientId: { label: 'Application ID' },
    clientSecret: { label: 'Secret', hint: 'GitLab shows it only once, when you save the application.' },
  },
  urls: {
    redirectUri: { label: 'Redirect URI' },
  },
  hints: [
    'Anyone can have an account at gitlab.com. List the e-mail domains that you trust it for.',
    'People who sign out of the portal stay signed in at GitLab, because it has no sign-out URL.',
  ],
}
