import { phrase } from '../../shared/phrase.ts'
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
          ? phrase('enter the domain without `-admin`, which is the Admin Console')
          : undefined,
      ),
    },
    {
      name: 'server',
      label: 'Authorization server ID',
      hint: 'only for a custom authorization server, such as `default`; default: the one of the organisation',
      example: 'default',
      required: false,
      read: readName(
        /^[A-Za-z0-9]{1,64}$/,
        phrase('enter the ID at the end of the Issuer URI, such as `default`'),
      ),
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

/**
 * The cause and advice for the administrator, by words in Okta's `error_description` or its error codes. Okta may change them, so they
 * only select texts: no check depends on one.
 */
export const oktaErrors: readonly { pattern: RegExp; cause: string; hint: string }[] = [
  {
    pattern: /not assigned to the client application|user_not_assigned/i,
    cause: 'the user is not assigned to the application in Okta',
    hint: 'assign the user or a group: Applications, the application, Assignments',
  },
  {
    pattern: /policy evaluation failed|no_matching_policy/i,
    cause: 'no access policy of the authorization server matches the sign-in',
    hint: 'open Security, API, the authorization server, Access Policies, and add a rule for this application with the scopes openid, email and profile',
  },
  {
    pattern: /client secret supplied .* is invalid/i,
    cause: 'the client secret is wrong or was deactivated',
    hint: 'copy the active secret from the General tab of the application, and enter it here',
  },
  {
    pattern: /invalid value for ['’]client_id['’]|client_id.{0,20} is invalid/i,
    cause: 'Okta knows no application with this client ID',
    hint: 'compare the client ID and the Okta domain with the General tab of the application',
  },
  {
    pattern: /['’]?redirect_uri['’]? .*must be/i,
    cause: 'the redirect URI is not registered in Okta',
    hint: 'enter the sign-in redirect URI of this page under Sign-in redirect URIs of the application',
  },
  {
    pattern: /scopes are not configured/i,
    cause: 'the authorization server lacks a scope',
    hint: 'open Security, API, the authorization server, Scopes, and add openid, email and profile',
  },
  {
    pattern: /E0000015/,
    cause: 'this Okta organisation has no custom authorization servers (API Access Management)',
    hint: 'leave the authorization server empty in the settings: the issuer is then the Okta domain',
  },
  {
    pattern: /E0000047/,
    cause: 'Okta limits the rate of requests',
    hint: 'wait a minute; if it happens often, compare Reports, Rate Limits in the Admin Console',
  },
]
