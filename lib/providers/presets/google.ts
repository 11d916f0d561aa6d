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
      askedAsTrust: true,
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
    clientId: { hint: 'It ends with .apps.googleusercontent.com.' },
    clientSecret: { hint: 'Google shows it only once, when you create the client.', required: true },
    emailDomains: {
      hint: 'Domains of your Workspace. An address is trusted only if your Workspace manages the account, too (claim hd).',
    },
  },
  urls: { redirectUri: { label: 'Authorized redirect URI', hint: 'Under Clients, in your web client.' } },
  trust: [
    {
      value: 'domains',
      label: 'People of our Google Workspace, with these domains',
      hint: 'Your Workspace must also manage the account (claim hd). People with a personal account confirm their address with a code.',
      domains: 'required',
      settings: ([hd = ''], saved) => ({ authorizationParameters: { ...saved, hd } }),
    },
    {
      value: 'anyone',
      label: 'Anyone with an address of gmail.com or of any Google Workspace',
      hint: 'People outside your organisation can then sign in, or register.',
      domains: 'none',
      settings: (_domains, { hd: _, ...others }) => ({ authorizationParameters: others }),
    },
  ],
  choosesAccount: true,
  logo: 'google',
  hints: ['People who sign out of the portal stay signed in at Google, because it has no sign-out URL.'],
}
