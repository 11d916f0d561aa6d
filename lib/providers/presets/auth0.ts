import { type Preset, readDomain } from './preset.ts'

export const auth0: Preset = {
  name: 'auth0',
  displayName: 'Auth0',
  asks: [
    {
      name: 'domain',
      label: 'Domain',
      hint: "on the application's Settings tab, or your custom domain",
      example: 'acme.eu.auth0.com',
      read: readDomain('acme.eu.auth0.com'),
    },
  ],
  // The slash belongs to it: without it no token of theirs is from this issuer.
  settings: ({ domain }) => ({ issuer: `https://${domain}/` }),
  defaults: { clientAuthentication: 'client_secret_post' },
  logo: 'auth0',
  hints: [
    'With a custom domain, people sign in and tokens are issued under it: write it, not the auth0.com one.',
    'Where the tenant lets people sign up by themselves, anybody can have an account there.',
  ],
  guide: 'auth0.md',
}
