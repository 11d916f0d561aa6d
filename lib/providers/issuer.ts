import { CheckError } from '../shared/errors.ts'
import type { Provider } from './provider.ts'

/** Of a row, what says whose tokens it takes. */
export type Tenancy = Pick<Provider, 'preset' | 'issuer' | 'tenants'>

/** In lower case, as Entra writes it: a second spelling would be a second issuer, and a second person. */
export const guid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The word in place of a tenant in the issuer of a row for many. */
export const organizations = 'organizations'

/** Holds all personal accounts of the world: no administrator answers for it, so it is nobody's tenant. */
export const personalAccounts = '9188040d-6c67-4c5b-b112-36a304b66dad'

const shape = /^([^?#]+)\/([^/?#]+)\/v2\.0$/

/** What stands where the tenant stands in an issuer of Entra: a GUID, or `organizations`. */
export function tenantIn(issuer: string): string | undefined {
  const [, , tenant = ''] = shape.exec(issuer) ?? []
  return tenant === organizations || guid.test(tenant) ? tenant : undefined
}

/**
 * Whether a row is for the people of many tenants, each with an issuer of its own. Entra only: any other provider that names a
 * template could choose, token by token, as whom it speaks.
 */
export function isTemplated({ preset, issuer }: Pick<Tenancy, 'preset' | 'issuer'>): boolean {
  return preset === 'entra' && tenantIn(issuer) === organizations
}

/** What the discovery document of such a row has to name, to the letter: one rule, so that it cannot lead to another origin. */
export function templateOf(issuer: string): string {
  return issuer.replace(shape, '$1/{tenantid}/v2.0')
}

/** The issuer that tokens of a tenant have to name; `undefined` when its people do not come in by this provider. */
export function issuerFor(provider: Tenancy, tenant: unknown): string | undefined {
  if (!admits(provider, tenant)) return undefined
  return isTemplated(provider) ? provider.issuer.replace(shape, `$1/${tenant}/v2.0`) : provider.issuer
}

/** Whether tokens with this `iss` are the provider's. */
export function isIssuerOf(provider: Tenancy, issuer: string): boolean {
  return isTemplated(provider) ? issuerFor(provider, tenantIn(issuer)) === issuer : issuer === provider.issuer
}

/** Whether people of a tenant come in. Fails closed: a tenant that is none is not let in by an empty list either. */
export function admits(provider: Tenancy, tenant: unknown): boolean {
  if (typeof tenant !== 'string' || !guid.test(tenant)) return false
  if (!isTemplated(provider)) return tenant === tenantIn(provider.issuer)
  return provider.tenants.length === 0 ? tenant !== personalAccounts : provider.tenants.includes(tenant)
}

/**
 * Whether a key of Entra may sign for a tenant. Microsoft says of each key for which issuer it is (`issuer`, the template or one);
 * the keys of personal accounts, say, are none of an organisation's, in whatever set they stand: with one of them that was stolen
 * people came in as members of organisations (Storm-0558, 2023).
 *
 * @param keyIssuer the key's member, which other key sets do not have
 */
export function maySign({ issuer: own }: Tenancy, issuer: string, keyIssuer: unknown): boolean {
  return keyIssuer === undefined || keyIssuer === templateOf(own) || keyIssuer === issuer
}

/** Of a key set of Entra those that may sign for a tenant. */
export function keysForIssuer<Key>(provider: Tenancy, issuer: string, keys: readonly Key[]): Key[] {
  return keys.filter((key) => maySign(provider, issuer, (key as { issuer?: unknown } | null)?.issuer))
}

/** Whether the row names whose people come in, so that somebody can answer for what these tenants say. */
export function pinsTenants(provider: Tenancy): boolean {
  return isTemplated(provider) ? provider.tenants.length > 0 : tenantIn(provider.issuer) !== undefined
}

/**
 * The tenant that a verified token names (`tid`) has to be the one of its issuer.
 *
 * @throws CheckError for a token of another tenant
 */
export function assertTenant(provider: Tenancy, { iss, tid }: Readonly<Record<string, unknown>>): void {
  if (provider.preset !== 'entra') return
  // Where the issuer names the tenant it may go without saying.
  if (tid === undefined && !isTemplated(provider)) return
  const issuer = issuerFor(provider, tid)
  if (issuer === undefined || issuer !== iss) throw ofAnotherTenant(tid)
}

/** Names the tenant, so that an administrator can add it; anything but a GUID may be text of the sender's. */
export function ofAnotherTenant(tenant: unknown): Error {
  const named = typeof tenant === 'string' && guid.test(tenant) ? ` ${tenant}` : ''
  return new CheckError('tid', `the ID token is of a tenant${named} that does not come in by this row (tid)`)
}
