import type { Provider } from '../providers/provider.ts'

/** In Entra whoever runs a tenant may write anybody's address: only this claim tells that its domain is theirs. */
export function verifiedBy({ preset }: Provider): string {
  return preset === 'entra' ? 'xms_edov' : 'email_verified'
}
