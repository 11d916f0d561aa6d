import { type Preset, readDomain } from './preset.ts'

export const google: Preset = {
  name: 'google',
  displayName: 'Google',
  asks: [
    {
      name: 'workspace',
      label: 'Google Workspace domain',
      hint: 'the primary domain of your organisation; default: any Google account',
      example: 'example.com',
      required: false,
      read: readDomain('example.com'),
    },
  ],
  settings: ({ workspace }) => ({
    issuer: 'https://accounts.google.com',
    // The parameter only preselects an account, and the browser can remove it. The claim `hd` and the domain decide.
    ...(workspace && { authorizationParameters: { hd: workspace }, emailDomains: [workspace] }),
  }),
  // Google has no sign-out URL, so the next person at a shared computer must see which account is signed in.
  defaults: { prompt: 'select_account' },
  fields: {
    emailDomains: {
      hint: 'Domains of your Workspace. An address is trusted only if your Workspace manages the account, too (claim hd).',
    },
  },
  choosesAccount: true,
  logo: 'google',
  hints: [
    'Anyone can have a Google account, even with an address of your organisation. If you enter a Workspace domain, an address is trusted only if it is of that domain and your Workspace manages the account (claim hd).',
    'People who sign out of the portal stay signed in at Google, because it has no sign-out URL.',
  ],
}
