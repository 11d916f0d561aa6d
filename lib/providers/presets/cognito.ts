import { phrase } from '../../shared/phrase.ts'
import { type Preset, readName } from './preset.ts'

export const cognito: Preset = {
  name: 'cognito',
  displayName: 'Amazon Cognito',
  asks: [
    {
      name: 'pool',
      label: 'User pool ID',
      hint: 'on the overview page of the user pool; it begins with the region',
      example: 'eu-central-1_AbCdEfGhI',
      read: readName(
        /^[a-z]{2}(?:-[a-z]{2,12}){1,3}-\d_[A-Za-z0-9]{1,55}$/,
        phrase('enter the user pool ID with its region, such as `eu-central-1_AbCdEfGhI`'),
      ),
    },
  ],
  settings: ({ pool = '' }) => ({
    issuer: `https://cognito-idp.${pool.slice(0, pool.indexOf('_'))}.amazonaws.com/${pool}`,
  }),
  // Its sign-out URL requires a parameter of its own in place of the standard one, and shows an error page without it.
  defaults: { logout: 'portal' },
  urls: {
    redirectUri: { label: 'Allowed callback URLs' },
  },
  hints: [
    'The user pool needs a domain, and the app client the scopes openid, email and profile.',
    'Self-registration is often on: anyone can then have an account in the user pool. List the e-mail domains that you trust it for.',
    'People who sign out of the portal stay signed in at Cognito, because its sign-out URL does not follow the standard.',
  ],
}
