import { type Preset, readSubdomain, unconfirmedTrust } from './preset.ts'

export const onelogin: Preset = {
  name: 'onelogin',
  displayName: 'OneLogin',
  asks: [
    {
      name: 'subdomain',
      label: 'Subdomain',
      hint: 'the part before .onelogin.com in your URLs',
      example: 'acme',
      read: readSubdomain('onelogin.com'),
    },
  ],
  settings: ({ subdomain }) => ({ issuer: `https://${subdomain}.onelogin.com/oidc/2` }),
  urls: {
    redirectUri: { label: 'Redirect URI’s' },
    postLogoutRedirectUri: {
      label: 'Post Logout Redirect URIs',
      hint: 'People return here after they sign out.',
    },
  },
  trust: unconfirmedTrust,
  hints: [
    'OneLogin does not report whether an address is verified. People confirm theirs with a code, unless you trust OneLogin for your domains.',
  ],
}
