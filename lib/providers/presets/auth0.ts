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
  // The trailing slash is part of the issuer in the tokens.
  settings: ({ domain }) => ({ issuer: `https://${domain}/` }),
  defaults: { clientAuthentication: 'client_secret_post' },
  logo: 'auth0',
  fields: {
    clientId: { hint: 'On the tab Settings of the application.' },
    clientSecret: { hint: 'On the same tab.' },
  },
  urls: {
    redirectUri: { label: 'Allowed Callback URLs' },
    postLogoutRedirectUri: { label: 'Allowed Logout URLs', hint: 'People return here after they sign out.' },
    backChannelLogoutUri: { label: 'Back-Channel Logout URI', hint: 'Only in the Enterprise plan.' },
  },
  hints: [
    'If you use a custom domain, enter it instead of the auth0.com domain. Tokens are issued under it.',
    'If the tenant allows sign-up, anyone can have an account there.',
  ],
}
