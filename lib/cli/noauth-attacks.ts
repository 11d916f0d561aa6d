import { type Claims, identityFrom, type ReceivedClaims, trustedEmail } from '../oidc/identity.ts'
import { guid, personalAccounts } from '../providers/issuer.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import { decide } from '../sign-in/decide.ts'

/** An attacker signs in with their own account, whose claims contain the victim's e-mail address (nOAuth). */
interface Attack {
  /** the attacker's account and claims, for the report */
  description: string
  /** default: the attack is possible with every provider */
  appliesTo?(provider: Provider): boolean
  /** domain of the victim's address; default: `likelyTrustedDomain` */
  victimDomain?(provider: Provider): string
  /** where the victim's address is; default: in the address claim of the ID token */
  addressIn?: 'userInfo' | 'username'
  /** other claims of the ID token, without those that identify the attacker */
  claims: Claims
}

const attackerEmail = 'attacker@attacker.example'
const attackerTenant = '0badc0de-0000-4000-8000-00000000dead'

/** Providers where anyone can create an account, with any address that they once verified. */
const publicHosts = [
  'accounts.google.com',
  'api.login.yahoo.com',
  'appleid.apple.com',
  'gitlab.com',
  'www.facebook.com',
  'www.linkedin.com',
]

/** Entra's issuers: global, national clouds, and v1 tokens (`sts.windows.net`). */
const microsoftHosts = [
  'login.microsoftonline.com',
  'login.microsoftonline.us',
  'login.partner.microsoftonline.cn',
  'login.windows.net',
  'sts.chinacloudapi.cn',
  'sts.windows.net',
]

const attacks: Record<string, Attack> = {
  unverified: {
    description: 'an unverified address (email_verified false)',
    claims: { email_verified: false },
  },
  'flag-missing': {
    description: 'an address without email_verified',
    claims: {},
  },
  'flag-as-text': {
    description: 'an unverified address, with the flag as text (email_verified "false")',
    claims: { email_verified: 'false' },
  },
  'mixed-sources': {
    description: 'an address from UserInfo, and email_verified from the ID token',
    addressIn: 'userInfo',
    claims: { email_verified: true },
  },
  username: {
    description: 'a user name equal to the address (preferred_username, upn), with another verified address',
    addressIn: 'username',
    claims: { email: attackerEmail, email_verified: true },
  },
  'public-account': {
    description: 'an account that anyone can create, with an address that was verified there once',
    appliesTo: acceptsPublicAccounts,
    victimDomain: unlistedDomain,
    claims: { email_verified: true },
  },
  'other-domain': {
    description: 'a verified address of a domain that the settings do not list',
    appliesTo: ({ emailDomains }) => emailDomains.length > 0,
    victimDomain: unlistedDomain,
    claims: { email_verified: true, xms_edov: true },
  },
  'tenant-admin': {
    description: 'an address set by a tenant administrator (email_verified true, without xms_edov)',
    appliesTo: isMicrosoft,
    claims: { email_verified: true },
  },
  'edov-false': {
    description: "an address of a domain that is not the tenant's (xms_edov false)",
    appliesTo: isMicrosoft,
    claims: { email_verified: true, xms_edov: false },
  },
  'edov-as-text': {
    description: 'an address of a domain that is not the tenant\'s, with the flag as text (xms_edov "0")',
    appliesTo: isMicrosoft,
    claims: { email_verified: true, xms_edov: '0' },
  },
}

/**
 * Runs every attack through the sign-in code, with the provider's settings and a made-up victim in place of the tables.
 *
 * @returns a check per attack that is possible with this provider; `failed` if the attacker becomes the victim
 */
export function simulateAttacks(provider: Provider): Check[] {
  const possible = Object.entries(attacks).filter(([, { appliesTo }]) => appliesTo?.(provider) ?? true)
  const checks = possible.map(([name, attack]) => simulateAttack(name, attack, provider))
  return provider.trustsEmail ? [...checks, checkTrust(provider)] : checks
}

function simulateAttack(name: string, attack: Attack, provider: Provider): Check {
  const { description, victimDomain = likelyTrustedDomain } = attack
  const victim = `victim@${victimDomain(provider)}`
  const obstacle = findObstacle(attack, provider, victim)
  if (obstacle !== undefined) return { name, result: 'ok', message: `${description}: ${obstacle}` }
  const message = `${description}: signed in as the owner of the address`
  return { name, result: 'failed', message, hint: hintFor(name, provider) }
}

/** @returns what stops the attacker; `undefined` if they are signed in as the victim */
function findObstacle(attack: Attack, provider: Provider, victim: string): string | undefined {
  const now = Math.floor(Date.now() / 1000)
  try {
    const received = receivedClaims(attack, provider, victim, now)
    const identity = identityFrom(provider, received, { now, tolerance: 30, askedAt: now * 1000 })
    const address = trustedEmail(identity, undefined)
    const userWithAddress = address === victim ? { id: 'victim', email: victim, name: 'Victim' } : undefined
    const { kind } = decide({ address, linkedUser: undefined, userWithAddress, registrationOpen: true })
    if (kind === 'link') return undefined
    return kind === 'verify-email'
      ? 'stopped, a code goes to the owner of the address'
      : 'stopped, the attacker only gets an account of their own'
  } catch (error) {
    return `refused, ${describeError(error)}`
  }
}

function receivedClaims(attack: Attack, provider: Provider, victim: string, now: number): ReceivedClaims {
  const { addressIn, claims } = attack
  const ownClaims = { ...attackerClaims(provider, now), ...claims }
  const address = { [provider.emailClaim]: victim }
  if (addressIn === 'userInfo') return { idToken: '', idClaims: ownClaims, userInfo: address }
  const username = { preferred_username: victim, upn: victim }
  return { idToken: '', idClaims: { ...ownClaims, ...(addressIn === 'username' ? username : address) } }
}

/** Valid claims of the attacker's own account, in a tenant that the settings allow. */
function attackerClaims(provider: Provider, now: number): Claims {
  const issuerTenant = tenantOf(provider)
  const tid = provider.tenants[0] ?? (isGuid(issuerTenant) ? issuerTenant : attackerTenant)
  return {
    iss: isMicrosoft(provider) ? provider.issuer.replace(`/${issuerTenant}/`, `/${tid}/`) : provider.issuer,
    sub: 'attacker',
    aud: provider.clientId,
    iat: now,
    exp: now + 300,
    ...(isMicrosoft(provider) && { tid, oid: attackerTenant }),
  }
}

function hintFor(name: string, provider: Provider): string {
  if (provider.trustsEmail && acceptsPublicAccounts(provider))
    return 'turn off trustsEmail: anyone can have an account there, with any address'
  if (provider.trustsEmail || name === 'public-account')
    return 'list the domains that you trust it for (emailDomains); people of other domains then confirm their address with a code'
  if (isMicrosoft(provider) && provider.preset !== 'entra')
    return 'connect it again with the preset entra, which handles Microsoft’s claims correctly'
  return 'disable it, and report this as a bug: no setting explains it'
}

function checkTrust({ emailDomains }: Provider): Check {
  const name = 'trust'
  if (emailDomains.length > 0) {
    const message = `every address is trusted, verified or not, for ${emailDomains.join(', ')} only`
    return { name, result: 'ok', message }
  }
  const message =
    'every address is trusted (trustsEmail without emailDomains): anyone who can set addresses there can sign in as anyone'
  const hint =
    'list the domains whose addresses your own administrators assign there, or turn off trustsEmail'
  return { name, result: 'warning', message, hint }
}

/** Avoids domains whose addresses the settings trust without verification: signing in with those is intended. */
function likelyTrustedDomain(provider: Provider): string {
  const trustsListed = provider.trustsEmail && !acceptsPublicAccounts(provider)
  return trustsListed ? unlistedDomain(provider) : (provider.emailDomains[0] ?? unlistedDomain(provider))
}

function unlistedDomain({ emailDomains }: Provider): string {
  let domain = 'elsewhere.example'
  while (emailDomains.includes(domain)) domain = `not-${domain}`
  return domain
}

function acceptsPublicAccounts(provider: Provider): boolean {
  if (publicHosts.includes(new URL(provider.issuer).hostname)) return true
  const tenants = provider.tenants.length > 0 ? provider.tenants : [tenantOf(provider)]
  return isMicrosoft(provider) && tenants.some((tenant) => !isGuid(tenant) || tenant === personalAccounts)
}

function isMicrosoft({ preset, issuer }: Provider): boolean {
  return preset === 'entra' || microsoftHosts.includes(new URL(issuer).hostname)
}

function tenantOf({ issuer }: Provider): string {
  return new URL(issuer).pathname.split('/')[1] ?? ''
}

function isGuid(text: string): boolean {
  return guid.test(text.toLowerCase())
}
