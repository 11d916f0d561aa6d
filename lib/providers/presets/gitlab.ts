import { type Preset, readAddress } from './preset.ts'

export const gitlab: Preset = {
  name: 'gitlab',
  displayName: 'GitLab',
  asks: [
    {
      name: 'address',
      label: 'Address of GitLab',
      hint: 'of your own server; left out: https://gitlab.com',
      example: 'https://gitlab.example.com',
      required: false,
      read: readAddress('https://gitlab.example.com'),
    },
  ],
  settings: ({ address = 'https://gitlab.com' }) => ({ issuer: address }),
  defaults: {},
  logo: 'gitlab',
  hints: [
    'Anybody can have an account at gitlab.com: name the e-mail domains that it may vouch for.',
    'Signing out of the portal leaves people signed in at GitLab, which has no address to sign out at.',
  ],
  guide: 'gitlab.md',
}
