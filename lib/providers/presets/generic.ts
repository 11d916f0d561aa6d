import type { Preset } from './preset.ts'

export const generic: Preset = {
  name: 'generic',
  displayName: 'OpenID Connect',
  asks: [],
  fields: {
    clientSecretExpiresAt: { section: 'basic' },
  },
  hints: [
    'Any provider that supports OpenID Connect. Its issuer is the URL before /.well-known/openid-configuration.',
  ],
}
