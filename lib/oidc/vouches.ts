import { isTemplated, pinsTenants, tenantIn } from '../providers/issuer.ts'
import type { TrustChoice } from '../providers/presets/preset.ts'
import { splitEmailDomain } from '../providers/setting-values.ts'
import type { ProviderSettings, StoredSettings } from '../providers/settings.ts'
import { type AdminText, listed, Phrase, phrase } from '../shared/phrase.ts'
import { domainOf } from '../users/email-address.ts'

/** The settings that decide which addresses a provider vouches for. */
export type TrustSettings = { readonly preset: string } & Pick<
  StoredSettings,
  | 'emailClaim'
  | 'emailDomains'
  | 'issuer'
  | 'organizationClaim'
  | 'organizationValues'
  | 'tenants'
  | 'trustsEmail'
>

/** An address that a provider sent, and the claims that decide whether it is trusted. */
export interface ClaimedAddress {
  /** normalized */
  email: string
  idClaims: Readonly<Record<string, unknown>>
  /** of the same subject */
  userInfo?: Readonly<Record<string, unknown>> | undefined
  /** the claims that contain the address: of the ID token, of UserInfo, or both */
  sources: readonly Readonly<Record<string, unknown>>[]
}

export type Condition = 'verification' | 'domain' | 'organization'

/** One condition with its text, so that a description always says what a sign-in does. */
interface Rule {
  condition: Condition
  /** The first rule names addresses, and each other one limits them. Not called at sign-ins. */
  text(): Phrase
  /** the claim that decides, if UserInfo may contain it */
  claim?: string
  holds(address: ClaimedAddress): boolean
}

/** Returns the conditions that an address does not meet. The provider vouches for it if it meets all. */
export function unmetConditions(provider: TrustSettings, address: ClaimedAddress): Condition[] {
  const unmet: Condition[] = []
  for (const rule of rulesFor(provider)) if (!rule.holds(address)) unmet.push(rule.condition)
  return unmet
}

/** True if the address is not trusted, but would be with claims that are missing and that UserInfo may contain. */
export function wantsUserInfo(provider: TrustSettings, address: ClaimedAddress): boolean {
  const unmet = rulesFor(provider).filter((rule) => !rule.holds(address))
  // A claim that is present decides: an explicit "no" stays.
  const isMissing = ({ claim }: Rule) => claim !== undefined && address.idClaims[claim] === undefined
  return unmet.length > 0 && unmet.every(isMissing)
}

export interface Vouching {
  /** completes "vouches for …" */
  description: Phrase
  /** claims that name the organisation, if the provider vouches only for accounts of some */
  organizationClaims: string[]
  /** why an administrator should change the settings, and how */
  warning: { reason: string; hint: string } | undefined
}

export function describeVouching(provider: TrustSettings): Vouching {
  const rules = rulesFor(provider)
  const texts = rules.map((rule) => rule.text())
  const described = texts[0]?.text.startsWith('nobody') ? texts.slice(0, 1) : texts
  const organizationClaims = rules.flatMap(({ claim, condition }) =>
    condition === 'organization' ? (claim ?? []) : [],
  )
  return {
    description: described.reduce(
      (addresses, { text, values }) => new Phrase(text, { ...values, addresses }),
    ),
    organizationClaims,
    warning: findWarning(provider, organizationClaims.length > 0),
  }
}

/** The settings that follow from an answer to "Whose addresses do you trust?". @param listed domains */
export function settingsOfTrust(
  choice: TrustChoice,
  listed: readonly string[],
  saved?: Pick<ProviderSettings, 'authorizationParameters'>,
) {
  const emailDomains = choice.domains === 'none' ? [] : [...listed]
  const more = choice.settings?.(emailDomains, saved?.authorizationParameters ?? {})
  return { trustsEmail: choice.trustsAll === true, emailDomains, ...more }
}

/** True if the answer results in the saved settings. */
export function isTrustAnswer(choice: TrustChoice, { emailDomains, trustsEmail }: TrustSettings): boolean {
  if (trustsEmail !== (choice.trustsAll === true)) return false
  return choice.domains === 'optional' || (choice.domains === 'required') === emailDomains.length > 0
}

export function listedDomains({ emailDomains }: Pick<TrustSettings, 'emailDomains'>) {
  return emailDomains.map(splitEmailDomain)
}

/** @param domain in normal form */
export function servesDomain(provider: Pick<TrustSettings, 'emailDomains'>, domain: string): boolean {
  return listedDomains(provider).some((listed) => listed.domain === domain)
}

function rulesFor(provider: TrustSettings): Rule[] {
  const { emailDomains, organizationClaim, preset } = provider
  const rules = [preset === 'entra' ? entraVerification(provider) : verification(provider)]
  if (emailDomains.length > 0) rules.push(domainLimit(provider))
  if (preset === 'google') rules.push(googleLimit(provider))
  if (organizationClaim !== undefined) rules.push(organizationLimit(provider, organizationClaim))
  return rules
}

const nobody = () => phrase('nobody: users confirm their address with a code', {})

const verifiedBy = (claim: string, isLimited: boolean) =>
  isLimited
    ? phrase('verified addresses ({{claim}})', { claim })
    : phrase('every verified address ({{claim}})', { claim })

function verification({ emailClaim, emailDomains, trustsEmail }: TrustSettings): Rule {
  const condition = 'verification'
  const isLimited = emailDomains.length > 0
  if (trustsEmail) {
    const text = () => (isLimited ? phrase('addresses', {}) : phrase('every address', {}))
    return { condition, text, holds: () => true }
  }
  // Core 5.1: `email_verified` is about the claim `email` only. Some providers send it as text.
  if (emailClaim !== 'email') return { condition, text: nobody, holds: () => false }
  return {
    condition,
    text: () => verifiedBy('email_verified', isLimited),
    // Core 5.4: with an access token, claims of the scope `email` are in UserInfo. Okta repeats only the address in the ID token.
    claim: 'email_verified',
    holds: (address) => isConfirmed(address, 'email_verified', [true, 'true']) === true,
  }
}

/**
 * Returns what the claims beside an address say about it: `undefined` if nothing. A "no" of the ID token or of UserInfo stays,
 * whatever the other one says.
 */
function isConfirmed(
  { idClaims, sources }: ClaimedAddress,
  claim: string,
  accepted: readonly unknown[],
): boolean | undefined {
  const isPresent = (value: unknown) => value !== undefined
  const stated = sources.map((source) => source[claim]).filter(isPresent)
  if (![idClaims[claim], ...stated].filter(isPresent).every((value) => accepted.includes(value))) return false
  return stated.length > 0 ? true : undefined
}

/**
 * nOAuth: anyone can create an Entra tenant and set `email` to any address there. No tenant can set `xms_edov`, which proves the
 * domain's owner. `email_verified` is ignored, because Microsoft does not document it.
 */
function entraVerification(provider: TrustSettings): Rule {
  const isTrusted = isTrustedEntra(provider)
  const isProvable = provider.emailClaim === 'email'
  const isLimited = provider.emailDomains.length > 0
  const holds = (address: ClaimedAddress) => {
    const confirmed = isConfirmed(address, 'xms_edov', [true, 1, 'true', '1'])
    // Microsoft's explicit "no" is never overruled by a setting.
    return confirmed !== false && (isTrusted || (isProvable && confirmed === true))
  }
  const text = () => {
    const claim = 'xms_edov'
    if (isTrusted)
      return isLimited
        ? phrase('addresses (unless {{claim}} is false)', { claim })
        : phrase('every address (unless {{claim}} is false)', { claim })
    if (!isProvable) return nobody()
    return provider.trustsEmail ? phrase('nobody without {{claim}}', { claim }) : verifiedBy(claim, isLimited)
  }
  return { condition: 'verification', text, holds }
}

/**
 * Attacker: the administrator of one listed tenant, who gives a user an address of another one. So trust requires one tenant, or
 * domains that are each bound to their tenant.
 */
function isTrustedEntra(provider: TrustSettings): boolean {
  if (!provider.trustsEmail || !pinsTenants(provider)) return false
  if (!isTemplated(provider) || provider.tenants.length === 1) return true
  const domains = listedDomains(provider)
  return domains.length > 0 && domains.every(({ tenant }) => tenant !== undefined)
}

/** One company's provider, or tenant, must not confirm another company's addresses. */
function domainLimit(provider: TrustSettings): Rule {
  const { issuer, preset } = provider
  const entries = listedDomains(provider)
  return {
    condition: 'domain',
    text() {
      const names = entries.map(({ domain, tenant }) =>
        tenant ? phrase('@{{domain}} from tenant {{tenant}}', { domain, tenant }) : `@${domain}`,
      )
      return phrase('{{addresses}} of {{domains}} only', { domains: listed(names) })
    },
    holds({ email, idClaims }) {
      const ownTenant = preset === 'entra' ? (idClaims.tid ?? tenantIn(issuer)) : undefined
      return entries.some(
        ({ domain, tenant }) => domain === domainOf(email) && (tenant === undefined || tenant === ownTenant),
      )
    },
  }
}

/** From outside: never translated. */
function alternatives([first = '', ...others]: readonly string[]): AdminText {
  return others.reduce<AdminText>(
    (list, next) => phrase('{{first}} or {{next}}', { first: list, next }),
    first,
  )
}

/**
 * Attacker: a former employee whose personal account still has the company's address, verified long ago. Only the accounts that
 * the organisation itself manages have its value in the claim.
 */
function organizationLimit({ organizationValues: values }: TrustSettings, claim: string): Rule {
  return {
    condition: 'organization',
    text: () => phrase('{{addresses}}, with {{claim}} {{values}}', { claim, values: alternatives(values) }),
    claim,
    holds: (address) => [claimOf(address, claim)].flat().some((value) => values.includes(value as string)),
  }
}

/** Google is authoritative for gmail.com and for the Workspace organisation in `hd`, and for no other address. */
function googleLimit(provider: TrustSettings): Rule {
  const domains = listedDomains(provider).map(({ domain }) => domain)
  const isAnyDomain = domains.length === 0
  const workspaces = domains.filter((domain) => domain !== 'gmail.com')
  return {
    condition: 'organization',
    text() {
      const claim = 'hd'
      if (workspaces.length === 0) return phrase('{{addresses}}, with {{claim}} or at gmail.com', { claim })
      const values = alternatives(workspaces)
      return workspaces.length < domains.length
        ? phrase('{{addresses}}, with {{claim}} {{values}} or at gmail.com', { claim, values })
        : phrase('{{addresses}}, with {{claim}} {{values}}', { claim, values })
    },
    claim: 'hd',
    holds(address) {
      const hd = claimOf(address, 'hd')
      if (domainOf(address.email) === 'gmail.com') return true
      return typeof hd === 'string' && hd !== '' && (isAnyDomain || domains.includes(hd.toLowerCase()))
    },
  }
}

/** Reads a claim about the account, which may be in either source, because both have the same subject. */
export function claimOf({ idClaims, userInfo }: ClaimedAddress, name: string): unknown {
  return idClaims[name] === undefined ? userInfo?.[name] : idClaims[name]
}

function findWarning(provider: TrustSettings, hasOrganization: boolean): Vouching['warning'] {
  const { emailClaim, emailDomains, preset, trustsEmail } = provider
  const isEntra = preset === 'entra'
  if (isEntra && trustsEmail && !isTrustedEntra(provider))
    return {
      reason: phrase(
        'trustsEmail has no effect, because one tenant could claim the addresses of another: not every domain is bound to a tenant',
      ),
      hint: phrase('list the tenants, and write each of their domains as `contoso.com@<tenant id>`'),
    }
  const isUnlimited = emailDomains.length === 0 && (trustsEmail || (!isEntra && emailClaim === 'email'))
  if (!isUnlimited) return undefined
  let reason = trustsEmail
    ? phrase('there is no domain limit, so anyone who can set an address there can sign in as its owner')
    : phrase('there is no domain limit, so anyone who can verify an address there can sign in as its owner')
  if (hasOrganization) reason = phrase('there is no domain limit')
  return {
    reason,
    hint: phrase(
      'list the domains that you trust it for (emailDomains); people of other domains then confirm their address with a code',
    ),
  }
}
