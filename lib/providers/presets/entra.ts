import { type Issue, issueAt, type ProblemCode } from '../../shared/errors.ts'
import { phrase } from '../../shared/phrase.ts'
import { admits, guid, organizations, personalAccounts, pinsTenants, tenantIn } from '../issuer.ts'
import { splitEmailDomain } from '../setting-values.ts'
import type { ProviderSettings } from '../settings.ts'
import { type Preset, type PresetQuestion, readDomain, trustByCode } from './preset.ts'

const host = 'https://login.microsoftonline.com'

const enterTenantId = phrase(
  'enter the Directory (tenant) ID, a GUID, from the overview page of the app registration, or a domain of your organisation; several of them, separated by spaces; or the word `organizations` for every organisation',
)

const readTenantDomain = readDomain('contoso.com')

const tenant: PresetQuestion = {
  name: 'tenant',
  label: 'Directory (tenant) ID',
  hint: 'a GUID, from the overview page of the app registration, or a domain of your organisation; several, separated by spaces; or `organizations`',
  example: '00000000-0000-0000-0000-000000000000',
  read(answer) {
    const tenants = [...new Set(answer.toLowerCase().match(/[^\s,;]+/g))]
    if (tenants.length === 1 && tenants[0] === organizations) return { answer: organizations }
    // `connect` replaces a domain by its ID: the issuer in the tokens contains the GUID, never a domain name.
    const isTenant = (each: string) => guid.test(each) || 'answer' in readTenantDomain(each)
    if (tenants.length === 0 || !tenants.every(isTenant)) return { wrong: enterTenantId }
    return tenants.includes(personalAccounts) ? { wrong: personalRefused } : { answer: tenants.join(' ') }
  },
}

const personalRefused = phrase('personal Microsoft accounts belong to no organisation and cannot sign in')

const [issuerOfOne, issuerOfMany] = [(id: string) => `${host}/${id}/v2.0`, `${host}/${organizations}/v2.0`]

const enterIssuer = phrase(
  'for Microsoft Entra ID it is {{issuer}}, with a GUID in lower case or `organizations` for the tenant; `common`, `consumers` and domain names are not accepted',
  { issuer: issuerOfOne('<tenant>') },
)
const ofOneTenant = phrase(
  'the issuer belongs to one tenant: leave the tenants out, or use the issuer of `organizations`',
)
const listTenants = phrase(
  'anyone can have a tenant and claim any address there: list the tenants that you trust, or add the optional claim xms_edov',
)

export const entra: Preset = {
  name: 'entra',
  displayName: 'Microsoft Entra ID',
  buttonName: 'Microsoft',
  logo: 'microsoft',
  asks: [tenant],
  settings({ tenant = '' }) {
    if (tenant === organizations) return { issuer: issuerOfMany, tenants: [] }
    const tenants = tenant.split(' ')
    return tenants.length > 1
      ? { issuer: issuerOfMany, tenants }
      : { issuer: issuerOfOne(tenant), tenants: [] }
  },
  defaults: { clientAuthentication: 'client_secret_post' },
  objections: (settings) => [
    ...checkTenants(settings),
    ...checkEmailTrust(settings),
    ...checkDomains(settings),
    ...checkClientAuthentication(settings),
  ],
  fields: {
    clientId: { label: 'Application (client) ID', hint: 'From the overview page of the app registration.' },
    clientSecret: {
      hint: 'The “Value” from Certificates & secrets, not the “Secret ID”.',
      required: true,
    },
    clientSecretExpiresAt: {
      hint: 'Microsoft shows it beside the secret. We warn you 60, 30, 7 and 1 days before.',
      section: 'basic',
    },
    emailDomains: {
      hint: 'Addresses of other domains are never trusted. With several tenants, write each as contoso.com@<tenant ID>.',
    },
  },
  urls: {
    redirectUri: { label: 'Redirect URI', hint: 'Platform Web. For the sign-in.' },
    adminConsentUri: { label: 'Second redirect URI', hint: 'Platform Web. For admin consent.' },
    postLogoutRedirectUri: {
      label: 'Third redirect URI',
      hint: 'Platform Web. People return here after sign-out.',
    },
    frontChannelLogoutUri: {
      label: 'Front-channel logout URL',
      hint: 'Optional. It needs “Front-channel logout” under Advanced.',
    },
  },
  trust: [
    {
      value: 'domains',
      label: 'People of this tenant, with these domains',
      hint: 'Your own administrators assign these addresses. Guests with other addresses confirm theirs with a code.',
      domains: 'required',
      trustsAll: true,
    },
    {
      value: 'confirmed',
      label: 'Addresses that Microsoft confirms',
      hint: 'First add the optional claim xms_edov to the app registration, see the guide. It says that the tenant owns the domain.',
      domains: 'optional',
    },
    trustByCode,
  ],
  // An application with its own signing keys, such as for claims mapping, has its own document.
  metadataQuery: (clientId) => `appid=${encodeURIComponent(clientId)}`,
  choosesAccount: true,
  supportsPkce: true,
  // Microsoft documents the path {tenant}/v2.0/adminconsent.
  adminConsent: (issuer) => `${issuer}/adminconsent`,
  // Known: https://github.com/nginxinc/nginx-openid-connect/issues/117, https://github.com/OpenIDC/mod_auth_openidc/pull/855
  frontChannelWithoutIssuer: true,
  hints: [
    'For one tenant, keep the supported account types at “this organizational directory only”. For several tenants or `organizations`, choose “any organizational directory”.',
  ],
}

function checkTenants({ issuer, tenants }: ProviderSettings): Issue[] {
  const named = tenantIn(issuer)
  if (named === undefined) return [issueAt('issuer', enterIssuer)]
  if (named === personalAccounts || tenants.includes(personalAccounts))
    return [issueAt('tenants', personalRefused)]
  return named !== organizations && tenants.length > 0 ? [issueAt('tenants', ofOneTenant)] : []
}

/**
 * Attacker (nOAuth): anyone can have a tenant, and its administrator can set any `email`. Trusting it from any tenant would
 * hand over every account of the portal.
 */
function checkEmailTrust({ issuer, tenants, trustsEmail }: ProviderSettings): Issue[] {
  const isTrustworthy = pinsTenants({ preset: entra.name, issuer, tenants })
  return trustsEmail && !isTrustworthy ? [issueAt('trustsEmail', listTenants)] : []
}

/** Entra finds the key of a client assertion by the thumbprint of an uploaded certificate (`x5t#S256`), and reads no public keys. */
function checkClientAuthentication({ clientAuthentication }: ProviderSettings): Issue[] {
  const message = phrase(
    'Microsoft Entra ID accepts private_key_jwt only with an uploaded certificate, which the portal does not support: use a client secret (client_secret_post)',
  )
  return clientAuthentication === 'private_key_jwt' ? [issueAt('clientAuthentication', message)] : []
}

function checkDomains({ emailDomains, issuer, tenants }: ProviderSettings): Issue[] {
  const admitted = (tenant: string) => admits({ preset: entra.name, issuer, tenants }, tenant)
  return emailDomains
    .map(splitEmailDomain)
    .filter(({ tenant }) => tenant !== undefined && !admitted(tenant))
    .map(({ domain }) =>
      issueAt(
        'emailDomains',
        phrase('{{domain}} is bound to a tenant whose users are not admitted', { domain }),
      ),
    )
}

/**
 * The problem shown to the user, and the cause and advice for the administrator, by the number in `AADSTS65001`. Microsoft may change
 * its numbers, so they only select texts: no check depends on one.
 */
export const entraErrors: readonly {
  numbers: readonly number[]
  problem: ProblemCode
  cause?: string
  hint: string
}[] = [
  {
    numbers: [16000, 50020, 51004, 90072, 500208],
    problem: 'organization_not_admitted',
    hint: 'test with an account of your tenant; or invite this account as a guest; or allow its tenant in the settings',
  },
  {
    numbers: [50072, 50074, 50076, 50078, 50079],
    problem: 'authentication_too_weak',
    hint: 'set up a second factor for this account, or read in the Sign-in logs of Entra which policy requires one',
  },
  {
    numbers: [50105],
    problem: 'account_not_assigned',
    hint: 'assign this account: Enterprise apps, the application, Users and groups',
  },
  {
    numbers: [53000, 53001, 53003],
    problem: 'provider_denied',
    hint: 'read in the Sign-in logs of Entra which Conditional Access policy blocked the sign-in',
  },
  {
    numbers: [65001, 90008, 90093, 90094, 90095, 900941],
    problem: 'consent_missing',
    hint: 'an administrator must consent for the whole organisation, on the admin consent page of this provider',
  },
  {
    numbers: [65004],
    problem: 'consent_declined',
    hint: 'sign in again, and accept when Microsoft asks',
  },
  {
    numbers: [90033],
    problem: 'provider_unavailable',
    hint: 'wait a few minutes, then test the sign-in again',
  },
  {
    numbers: [650052],
    problem: 'consent_missing',
    hint: 'remove the API permissions of services other than Microsoft Graph, which this organisation may lack, from the app registration; then consent as an administrator',
  },
  {
    numbers: [700016],
    problem: 'provider_error',
    cause: 'the tenant has no application with this client ID',
    hint: 'compare the client ID and the tenant with the overview page of the app registration; in another tenant, an administrator must consent first',
  },
  {
    numbers: [700025],
    problem: 'provider_error',
    cause: 'the application is registered as a public client, which must not send a secret',
    hint: 'under Authentication, enter the redirect URI for the platform Web, and remove it from the others',
  },
]
