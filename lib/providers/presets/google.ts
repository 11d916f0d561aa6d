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
    // `hd` only preselects an account, and the browser can remove it. The domain of the address decides.
    ...(workspace && { authorizationParameters: { hd: workspace }, emailDomains: [workspace] }),
  }),
  // Google has no sign-out URL, so the next person at a shared computer must see which account is signed in.
  defaults: { prompt: 'select_account' },
  choosesAccount: true,
  logo: 'google',
  hints: [
    'Anyone can have a Google account. If you enter a Workspace domain, only addresses of that domain are trusted.',
    'People who sign out of the portal stay signed in at Google, because it has no sign-out URL.',
  ],
}
