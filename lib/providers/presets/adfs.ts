import { type Preset, readDomain, unconfirmedTrust } from './preset.ts'

export const adfs: Preset = {
  name: 'adfs',
  displayName: 'AD FS',
  asks: [
    {
      name: 'domain',
      label: 'Federation service name',
      hint: 'in AD FS Management under Edit Federation Service Properties',
      example: 'fs.example.com',
      read: readDomain('fs.example.com'),
    },
  ],
  settings: ({ domain }) => ({ issuer: `https://${domain}/adfs` }),
  // Without rules of its own, an ID token of AD FS names the user only by upn and unique_name.
  defaults: { emailClaim: 'upn' },
  // Microsoft documents only `sid` as a parameter of the logout URI.
  frontChannelWithoutIssuer: true,
  fields: {
    clientId: { label: 'Client Identifier' },
  },
  urls: {
    redirectUri: { label: 'Redirect URI' },
    postLogoutRedirectUri: {
      label: 'Second redirect URI',
      hint: 'AD FS returns people after sign-out only to a registered URI.',
    },
    frontChannelLogoutUri: {
      label: 'LogoutUri',
      hint: 'Optional, in PowerShell. It needs “Front-channel logout” under Advanced.',
    },
  },
  trust: unconfirmedTrust,
  hints: [
    'Requires AD FS 2016 or later. Enter the post-logout redirect URI as a second redirect URI.',
    'AD FS sends the user name (upn), not the e-mail address. It is trusted only if you trust AD FS for your domains; otherwise people confirm it with a code. The guide explains how to send the e-mail address.',
  ],
}
