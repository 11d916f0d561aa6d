import { phrase } from '../../shared/phrase.ts'
import { type Preset, readDomain } from './preset.ts'

export const salesforce: Preset = {
  name: 'salesforce',
  displayName: 'Salesforce',
  asks: [
    {
      name: 'domain',
      label: 'My Domain',
      hint: 'in Setup under My Domain, or the domain of an Experience Cloud site',
      example: 'acme.my.salesforce.com',
      read: readDomain('acme.my.salesforce.com', (domain) => {
        // Users of every organisation sign in there.
        if (/^(login|test)\.salesforce\.com$/.test(domain))
          return phrase('enter the domain of your own organisation, which ends with `.my.salesforce.com`')
        return domain.endsWith('.lightning.force.com')
          ? phrase('enter the domain that ends with `.my.salesforce.com`, not the one of the Lightning pages')
          : undefined
      }),
    },
  ],
  settings: ({ domain }) => ({ issuer: `https://${domain}` }),
  // It announces an end_session_endpoint, but accepts no post-logout redirect URI.
  defaults: { logout: 'portal' },
  fields: {
    clientId: { label: 'Consumer Key' },
    clientSecret: { label: 'Consumer Secret' },
  },
  urls: {
    redirectUri: { label: 'Callback URL' },
  },
  hints: [
    'A new or changed app takes some minutes to work.',
    'People who sign out of the portal stay signed in at Salesforce, because it accepts no post-logout redirect URI.',
  ],
}
