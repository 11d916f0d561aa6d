import { type Preset, readDomain, readName } from './preset.ts'

export const okta: Preset = {
  name: 'okta',
  displayName: 'Okta',
  asks: [
    {
      name: 'domain',
      label: 'Okta domain',
      hint: 'below your name at the top right of the Admin Console, or your custom domain',
      example: 'example.okta.com',
      read: readDomain('example.okta.com', (domain) =>
        /-admin\.okta[a-z-]*\.com$/.test(domain)
          ? 'enter the domain without `-admin`, which is the Admin Console'
          : undefined,
      ),
    },
    {
      name: 'server',
      label: 'Authorization server ID',
      hint: 'only for a custom authorization server, such as `default`; default: the one of the organisation',
      example: 'default',
      required: false,
      read: readName(/^[A-Za-z0-9]{1,64}$/, 'enter the ID at the end of the Issuer URI, such as `default`'),
    },
  ],
  settings: ({ domain, server }) => ({
    issuer: server ? `https://${domain}/oauth2/${server}` : `https://${domain}`,
  }),
  logo: 'okta',
  fields: {
    clientId: { hint: 'On the tab General of the application.' },
    clientSecret: { hint: 'Under Client Secrets, on the same tab.' },
  },
  urls: {
    redirectUri: { label: 'Sign-in redirect URI' },
    postLogoutRedirectUri: {
      label: 'Sign-out redirect URI',
      hint: 'People return here after they sign out.',
    },
  },
  hints: ['Leave the authorization server empty unless someone set one up for this portal.'],
}
