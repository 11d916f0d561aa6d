import { PortalSsoError } from '../errors.ts'
import type { Provider } from '../providers/provider.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { Identity } from './identity.ts'

export interface Linking {
  provider: Provider
  identity: Identity
  userId: string
  /** it was found again by what stays the same when a provider gives out new subjects */
  rebound?: boolean | undefined
}

/**
 * Links an identity to a user who was proved to be its owner.
 *
 * @param gone a user that it is still linked to but who exists no more
 * @returns false: it was linked to that user already, as after a double click, and there is nothing to tell anybody
 * @throws PortalSsoError when it was linked to somebody else meanwhile: of two the first one has it
 */
export async function link(
  identities: IdentitiesTable,
  { provider, identity, userId, rebound }: Linking,
  gone: string | undefined,
): Promise<boolean> {
  const { id: providerId, portal } = provider
  const { issuer, subject, email, directory } = identity
  const linked = { portal, userId, providerId, issuer, subject, email, directory, rebound }
  const { userId: linkedTo, made } = await identities.link(linked, gone)
  if (linkedTo !== userId)
    throw new PortalSsoError('attempt_gone', 'the identity was linked to another user meanwhile')
  return made
}
