/** Identifies a person at a provider (OpenID Connect Core 5.7). */
export interface Subject {
  /** The `iss` claim. */
  readonly issuer: string
  /** The `sub` claim. */
  readonly subject: string
}

/** The `tid` and `oid` claims: the same in every app registration of an Entra tenant, where `sub` differs. */
export interface EntraAccount {
  /** The `tid` claim. */
  readonly tenantId: string
  /** The `oid` claim. */
  readonly objectId: string
}
