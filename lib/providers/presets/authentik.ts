import { phrase } from '../../shared/phrase.ts'
import { type Preset, readAddress, readName, unconfirmedTrust } from './preset.ts'

export const authentik: Preset = {
  name: 'authentik',
  displayName: 'authentik',
  asks: [
    {
      name: 'address',
      label: 'Address of authentik',
      hint: 'the part before /application/ or /if/ in its URLs',
      example: 'https://id.example.com',
      read: readAddress('https://id.example.com', ({ pathname }) =>
        /\/(application|if)(\/|$)/.test(pathname)
          ? phrase('enter only the part before `/application/`, and the slug separately')
          : undefined,
      ),
    },
    {
      name: 'application',
      label: 'Application slug',
      hint: 'its name in URLs, below the name of the application',
      example: 'portal',
      read: readName(/^[A-Za-z0-9_-]{1,100}$/, phrase('enter the slug of the application, such as `portal`')),
    },
  ],
  // The trailing slash is part of the issuer in the tokens.
  settings: ({ address, application }) => ({ issuer: `${address}/application/o/${application}/` }),
  logo: 'authentik',
  urls: {
    redirectUri: { label: 'Redirect URIs/Origins', hint: 'Strict.' },
    postLogoutRedirectUri: {
      label: 'Redirect URIs/Origins: second entry',
      hint: 'Of the type Post Logout, in newer versions.',
    },
    backChannelLogoutUri: { label: 'Logout URI', hint: 'Method Back-channel, since version 2025.8.' },
  },
  trust: unconfirmedTrust,
  hints: [
    'Choose a signing key for the provider in authentik. Without one it signs with HS256, which is refused. Leave the encryption key empty.',
    'Since version 2025.10, authentik reports no address as verified. People confirm theirs with a code, unless you trust authentik for your domains.',
  ],
}
