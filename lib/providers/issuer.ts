import { CheckError } from '../shared/errors.ts'
import type { Provider } from './provider.ts'

/** The settings that decide whose tokens a provider may issue. */
export type Tenancy = Pick<Provider, 'preset' | 'issuer' | 'tenants'>

/** Lower case, as Entra writes it: another spelling would be another issuer, and so another user. */
export const guid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Replaces the tenant in the issuer of a provider that accepts several tenants. */
export const organizations = 'organizations'

/** The tenant of all personal Microsoft accounts. Anyone can create one there, and no administrator is responsible for them. */
export const personalAccounts = '9188040d-6c67-4c5b-b112-36a304b66dad'

const issuerPattern = /^([^?#]+)\/([^/?#]+)\/v2\.0$/

export function tenantIn(issuer: string): string | undefined {
  const [, , tenant = ''] = issuerPattern.exec(issuer) ?? []
  return tenant === organizations || guid.test(tenant) ? tenant : undefined
}

/**
 * True if the provider accepts several tenants, each with its own issuer. Entra only: any other provider could use a template to
 * choose another issuer for every token.
 */
export function isTemplated({ preset, issuer }: Pick<Tenancy, 'preset' | 'issuer'>): boolean {
  return preset === 'entra' && tenantIn(issuer) === organizations
}

/** The issuer that the discovery document must name. It is derived from the setting, so it cannot lead to another origin. */
export function templateOf(issuer: string): string {
  return issuer.replace(issuerPattern, '$1/{tenantid}/v2.0')
}

/** Returns the issuer that tokens of a tenant must name; `undefined` if the provider does not accept the tenant. */
export function issuerFor(provider: Tenancy, tenant: unknown): string | undefined {
  if (!admits(provider, tenant)) return undefined
  return isTemplated(provider) ? provider.issuer.replace(issuerPattern, `$1/${tenant}/v2.0`) : provider.issuer
}

/** The issuer to which a URL of metadata belongs, unless the document names another one (RFC 8414, 3.1 inserts the path). */
export function issuerOfMetadata(url: string): string {
  return url.replace(/\/\.well-known\/[^/?#]*/, '').replace(/[?#].*$/s, '')
}

/** The values of the setting that a provider can have if tokens with this `iss` may come from it; see `isIssuerOf`. */
export function possibleIssuers(issuer: string): string[] {
  return [issuer, issuer.replace(issuerPattern, `$1/${organizations}/v2.0`)]
}

/** True if tokens with this `iss` may come from the provider. */
export function isIssuerOf(provider: Tenancy, issuer: string): boolean {
  return isTemplated(provider) ? issuerFor(provider, tenantIn(issuer)) === issuer : issuer === provider.issuer
}

/** True if the provider accepts the tenant. Fails closed: even an empty list admits only a valid tenant ID. */
export function admits(provider: Tenancy, tenant: unknown): boolean {
  if (typeof tenant !== 'string' || !guid.test(tenant)) return false
  if (!isTemplated(provider)) return tenant === tenantIn(provider.issuer)
  return provider.tenants.length === 0 ? tenant !== personalAccounts : provider.tenants.includes(tenant)
}

/**
 * Returns the values of `issuer` that a key of Entra may have to sign for this issuer. Attacker (Storm-0558, 2023): with a stolen key
 * of the personal accounts, they signed in as members of organisations. Microsoft adds it to a key; other key sets have none.
 */
export function keyIssuersFor({ issuer: own }: Pick<Tenancy, 'issuer'>, issuer: unknown): unknown[] {
  return [issuer, templateOf(own), undefined]
}

/** True if the settings list the accepted tenants, so that the operator has chosen whose claims to trust. */
export function pinsTenants(provider: Tenancy): boolean {
  return isTemplated(provider) ? provider.tenants.length > 0 : tenantIn(provider.issuer) !== undefined
}

/**
 * Requires that the tenant in a verified token of Entra (`tid`) is the tenant of its issuer.
 *
 * @throws CheckError for a token of another tenant
 */
export function assertTenant(provider: Tenancy, { iss, tid }: Readonly<Record<string, unknown>>): void {
  // The issuer already names the tenant, so the claim is optional.
  if (tid === undefined && !isTemplated(provider)) return
  const issuer = issuerFor(provider, tid)
  if (issuer === undefined || issuer !== iss) throw new CheckError('tid', otherTenantError(tid).message)
}

/** Names the tenant, so that an administrator can add it. Quotes only a GUID: anything else may be text from an attacker. */
export function otherTenantError(tenant: unknown): CheckError {
  const named = typeof tenant === 'string' && guid.test(tenant) ? ` ${tenant}` : ''
  // `tenant`: the user chose an account of another organisation. `tid`: the token contradicts itself.
  const code = named ? 'tenant' : 'tid'
  return new CheckError(code, `the ID token is of a tenant${named} that this provider does not accept (tid)`)
}
