import { type Preset, readAddress, readName } from './preset.ts'

export const keycloak: Preset = {
  name: 'keycloak',
  displayName: 'Keycloak',
  asks: [
    {
      name: 'address',
      label: 'Address of Keycloak',
      hint: 'what stands before /realms/ in its addresses; up to version 16 it ends with /auth',
      example: 'https://id.example.com',
      read: readAddress('https://id.example.com', ({ pathname }) =>
        /\/(realms|admin)(\/|$)/.test(pathname)
          ? 'write only what stands before `/realms/`, and the realm by itself'
          : undefined,
      ),
    },
    {
      name: 'realm',
      label: 'Realm',
      hint: 'its name in addresses, capitals as they are',
      example: 'acme',
      read: readName(
        /^\w[\w.~-]{0,99}$/,
        'write the name of the realm as it stands in addresses, such as `acme`',
      ),
    },
  ],
  settings: ({ address, realm }) => ({ issuer: `${address}/realms/${realm}` }),
  defaults: {},
  logo: 'keycloak',
  hints: [
    'Never connect the realm master: whoever administers Keycloak lives there, not the people of the portal.',
    'Keycloak vouches for an address once "Email verified" is on for the person.',
  ],
  guide: 'keycloak.md',
}
