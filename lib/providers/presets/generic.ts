import type { Preset } from './preset.ts'

export const generic: Preset = {
  name: 'generic',
  displayName: 'OpenID Connect',
  asks: [],
  defaults: {},
  hints: [
    'Any provider that speaks OpenID Connect: its issuer is the address before /.well-known/openid-configuration.',
  ],
  guide: 'generic.md',
}
