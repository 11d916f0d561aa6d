import { phrase } from '../../shared/phrase.ts'
import { type Preset, readAddress, readSegment } from './preset.ts'

export const keycloak: Preset = {
  name: 'keycloak',
  displayName: 'Keycloak',
  asks: [
    {
      name: 'address',
      label: 'Address of Keycloak',
      hint: 'the part before /realms/ in its URLs; up to version 16 it ends with /auth',
      example: 'https://id.example.com',
      read: readAddress('https://id.example.com', ({ pathname }) =>
        /\/(realms|admin)(\/|$)/.test(pathname)
          ? phrase('enter only the part before `/realms/`, and the realm separately')
          : undefined,
      ),
    },
    {
      name: 'realm',
      label: 'Realm',
      hint: 'its name, not its display name; case-sensitive',
      example: 'acme',
      read: readSegment(phrase('enter the name of the realm, such as `acme`')),
    },
  ],
  settings: ({ address, realm }) => ({ issuer: `${address}/realms/${realm}` }),
  logo: 'keycloak',
  signsOutWithoutHint: true,
  fields: {
    clientId: { hint: 'As you named the client.' },
    clientSecret: { hint: 'On the tab Credentials of the client.' },
  },
  urls: {
    redirectUri: { label: 'Valid redirect URIs' },
    postLogoutRedirectUri: {
      label: 'Valid post logout redirect URIs',
      hint: 'People return here after they sign out.',
    },
    backChannelLogoutUri: {
      label: 'Backchannel logout URL',
      hint: 'Turn Front channel logout off first: it hides this field.',
    },
  },
  hints: [
    'Never connect the realm master. It contains the administrators of Keycloak, not the users of the portal.',
    'Keycloak reports an address as verified once “Email verified” is on for the user.',
  ],
}
