import type { How } from './how.ts'

/** A public key as the provider reads it. */
export interface PublishedKey {
  kid: string
  alg: string
  /** `next`: published, signs from `from` on, so that the provider has time to fetch it */
  state: 'next' | 'signing' | 'retired'
  from: string
}

/** The keys of `private_key_jwt`: made here, the private halves never leave the row. */
export interface ClientKeys {
  clientKeys(slug: string, portal?: string): Promise<PublishedKey[]>
  /** Publishes a new key now and signs with it an hour later; the old one stays published for a day after that. */
  rotateClientKey(slug: string, how?: How): Promise<PublishedKey>
  /** where the provider fetches them: `/login/:provider/jwks.json` */
  jwksUri(slug: string, portal?: string): string
}

export function createClientKeys(_parts: object): ClientKeys {
  const missing = () => Promise.reject(new Error('under construction'))
  return { clientKeys: missing, rotateClientKey: missing, jwksUri: () => '' }
}
