import { type Preset, readSubdomain } from './preset.ts'

export const onelogin: Preset = {
  name: 'onelogin',
  displayName: 'OneLogin',
  asks: [
    {
      name: 'subdomain',
      label: 'Subdomain',
      hint: 'what stands before .onelogin.com in your addresses',
      example: 'acme',
      read: readSubdomain('onelogin.com'),
    },
  ],
  settings: ({ subdomain }) => ({ issuer: `https://${subdomain}.onelogin.com/oidc/2` }),
  defaults: {},
  hints: [
    'OneLogin does not say whether an address is verified: people prove theirs by a code, unless you trust it for your domains.',
  ],
  guide: 'onelogin.md',
}
