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
    // `hd` only spares people a choice: a browser can leave it out. What counts is the domain of the address.
    ...(workspace && { authorizationParameters: { hd: workspace }, emailDomains: [workspace] }),
  }),
  // Signing out ends nothing at Google, so the next person at a shared computer must see whose account it would be.
  defaults: { prompt: 'select_account' },
  choosesAccount: true,
  logo: 'google',
  hints: [
    'Anyone can have a Google account. If you enter a Workspace domain, only addresses of that domain are trusted.',
    'People who sign out of the portal stay signed in at Google, because it has no sign-out URL.',
  ],
  guide: 'google.md',
}
