import { checkVouching } from '../management/checks/candidate.ts'
import {
  type Claims,
  identityFrom,
  type ReceivedClaims,
  trustedEmail,
  withAddress,
} from '../oidc/identity.ts'
import { listedDomains } from '../oidc/vouches.ts'
import { guid, isTemplated, personalAccounts } from '../providers/issuer.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import { decide } from '../sign-in/decide.ts'

/** An attacker signs in with their own account, whose claims contain the victim's e-mail address (nOAuth). */
interface Attack {
  /** the attacker's account and claims, for the report */
  description: string
  /** default: the attack is possible with every provider */
  appliesTo?(provider: Provider): boolean
  /** default: one with an address of `likelyTrustedDomain` */
  victims?(provider: Provider): Victim[]
  /** where the victim's address is; default: in the address claim of the ID token */
  addressIn?: 'userInfo' | 'username'
  /** other claims of the ID token, without those that identify the attacker */
  claims: Claims
}

interface Victim {
  domain: string
  /** the attacker's, at Entra; default: any that the settings admit */
  attackerTenant?: string | undefined
  /** whether the settings name the domain */
  listed?: true
}

const attackerEmail = 'attacker@attacker.example'
const unlistedTenant = '0badc0de-0000-4000-8000-00000000dead'

/** Providers where anyone can create an account, with any address that they once verified. */
const googleHost = 'accounts.google.com'
const publicHosts = [
  googleHost,
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
    victims: (provider) => [{ domain: unlistedDomain(provider) }],
    claims: { email_verified: true },
  },
  'personal-account': {
    description: 'a personal Google account with an address of the organisation (email_verified true, no hd)',
    appliesTo: ({ issuer }) => new URL(issuer).hostname === googleHost,
    // Google itself assigns the addresses of gmail.com.
    victims: (provider) => listedVictims(provider).filter(({ domain }) => domain !== 'gmail.com'),
    claims: { email_verified: true },
  },
  'other-domain': {
    description: 'a verified address of a domain that the settings do not list',
    appliesTo: ({ emailDomains }) => emailDomains.length > 0,
    victims: (provider) => [{ domain: unlistedDomain(provider) }],
    claims: { email_verified: true, xms_edov: true },
  },
  'tenant-admin': {
    description: 'an address set by a tenant administrator (email_verified true, without xms_edov)',
    appliesTo: isMicrosoft,
    claims: { email_verified: true },
  },
  'other-tenant': {
    description: 'an address of another tenant, set by the administrator of an admitted one',
    // A single tenant is trusted for its domains.
    appliesTo: (provider) => isTemplated(provider) && provider.tenants.length !== 1,
    victims: victimsOfOtherTenants,
    claims: { email_verified: true },
  },
  'edov-false': {
    description: "an address of a domain that is not the tenant's (xms_edov false)",
    appliesTo: isMicrosoft,
    victims: likelyVictims,
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
  const checks = possible.flatMap(([name, attack]) => simulateAttack(name, attack, provider))
  return [...checks, checkVouching(provider)]
}

/** @returns no check if the attack has no victim */
function simulateAttack(name: string, attack: Attack, provider: Provider): Check[] {
  const { description } = attack
  const victims: Victim[] = attack.victims?.(provider) ?? [{ domain: likelyTrustedDomain(provider) }]
  const attempts = victims.map((victim) => ({ victim, obstacle: findObstacle(attack, provider, victim) }))
  const attempt = attempts.find(({ obstacle }) => obstacle === undefined) ?? attempts[0]
  if (!attempt) return []
  const { obstacle, victim } = attempt
  const { attackerTenant: tenant, domain, listed } = victim
  const attacked = `${description}${listed ? `, of ${domain}` : ''}${tenant ? `, from tenant ${tenant}` : ''}`
  if (obstacle !== undefined) return [{ name, result: 'ok', message: `${attacked}: ${obstacle}` }]
  const message = `${attacked}: signed in as the owner of the address`
  return [{ name, result: 'failed', message, hint: hintFor(name, provider) }]
}

/** @returns what stops the attacker; `undefined` if they are signed in as the victim */
function findObstacle(attack: Attack, provider: Provider, target: Victim): string | undefined {
  const { domain, attackerTenant } = target
  const victim = `victim@${domain}`
  const now = Math.floor(Date.now() / 1000)
  try {
    const received = receivedClaims(attack, provider, victim, attackerClaims(provider, now, attackerTenant))
    const clock = { now, tolerance: 30, askedAt: now * 1000 }
    const subject = identityFrom(provider, { idToken: '', idClaims: received.idClaims }, clock)
    const address = trustedEmail(withAddress(subject, provider, received), undefined)
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

function receivedClaims(
  { addressIn, claims }: Attack,
  provider: Provider,
  victim: string,
  attacker: Claims,
): ReceivedClaims {
  const ownClaims = { ...attacker, ...claims }
  const address = { [provider.emailClaim]: victim }
  if (addressIn === 'userInfo') return { idClaims: ownClaims, userInfo: address }
  const username = { preferred_username: victim, upn: victim }
  return { idClaims: { ...ownClaims, ...(addressIn === 'username' ? username : address) } }
}

/** Valid claims of the attacker's own account, in a tenant that the settings allow. */
function attackerClaims(provider: Provider, now: number, tenant?: string): Claims {
  const issuerTenant = tenantOf(provider)
  const tid = tenant ?? provider.tenants[0] ?? (isGuid(issuerTenant) ? issuerTenant : unlistedTenant)
  return {
    iss: isMicrosoft(provider) ? provider.issuer.replace(`/${issuerTenant}/`, `/${tid}/`) : provider.issuer,
    sub: 'attacker',
    aud: provider.clientId,
    iat: now,
    exp: now + 300,
    ...(isMicrosoft(provider) && { tid, oid: unlistedTenant }),
  }
}

function hintFor(name: string, provider: Provider): string {
  if (provider.trustsEmail && acceptsPublicAccounts(provider))
    return 'turn off trustsEmail: anyone can have an account there, with any address'
  if (name === 'personal-account')
    return 'connect it again with the preset google, or accept only accounts that your Workspace manages: set organizationClaim to hd, and organizationValues to your domains'
  if (provider.trustsEmail || name === 'public-account')
    return 'list the domains that you trust it for (emailDomains); people of other domains then confirm their address with a code'
  if (isMicrosoft(provider) && provider.preset !== 'entra')
    return 'connect it again with the preset entra, which handles Microsoft’s claims correctly'
  return 'disable it, and report this as a bug: no setting explains it'
}

/** Avoids domains whose addresses the settings trust without verification: signing in with those is intended. */
function likelyTrustedDomain(provider: Provider): string {
  const trustsListed = provider.trustsEmail && !acceptsPublicAccounts(provider)
  const [listed] = listedDomains(provider)
  return trustsListed || !listed ? unlistedDomain(provider) : listed.domain
}

function unlistedDomain(provider: Provider): string {
  const listed = listedDomains(provider).map(({ domain }) => domain)
  let unlisted = 'elsewhere.example'
  while (listed.includes(unlisted)) unlisted = `not-${unlisted}`
  return unlisted
}

/** A victim in each domain that the settings name, attacked from the tenant to which it is bound. */
function listedVictims(provider: Provider): Victim[] {
  return listedDomains(provider).map(({ domain, tenant }) => ({
    domain,
    attackerTenant: tenant,
    listed: true,
  }))
}

function likelyVictims(provider: Provider): Victim[] {
  const listed = listedVictims(provider)
  return listed.length > 0 ? listed : [{ domain: likelyTrustedDomain(provider) }]
}

/** For each victim, an attacker in each tenant that the settings admit but do not bind the domain to. */
function victimsOfOtherTenants(provider: Provider): Victim[] {
  const tenants = provider.tenants.length > 0 ? provider.tenants : [unlistedTenant]
  return likelyVictims(provider).flatMap(({ attackerTenant: own, ...victim }) => {
    const others = tenants.filter((tenant) => tenant !== own)
    return others.map((attackerTenant) => ({ ...victim, attackerTenant }))
  })
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
