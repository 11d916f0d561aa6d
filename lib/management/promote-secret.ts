import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'
import type { UpdateProvider } from './update-provider.ts'

/**
 * Ends an exchange of client secrets: the second one takes the place of the first, with its date, and the first is forgotten.
 * It need not be typed again, so nobody has to keep it.
 *
 * @throws ConfigurationError when there is no second one, or the provider does not take it
 */
export type PromoteSecret = (slug: string, how?: ActOptions) => Promise<Provider>

export function createPromoteSecret(parts: { table: ProvidersTable; update: UpdateProvider }): PromoteSecret {
  const { table, update } = parts
  return async (slug, { portal = 'default', actor } = {}) => {
    const provider = await table.existing(portal, slug)
    // The first is to be forgotten, so it does not matter whether anybody can still open it.
    const { secondClientSecret } = await table.clientSecrets(provider, ['clientSecret'])
    if (secondClientSecret === undefined)
      throw new ConfigurationError(
        `"${slug}" has no second client secret that could take the first one's place`,
      )
    const changes = {
      clientSecret: secondClientSecret,
      clientSecretExpiresAt: provider.secondClientSecretExpiresAt ?? null,
      secondClientSecret: null,
      secondClientSecretExpiresAt: null,
    }
    return await update(slug, changes, { portal, actor, version: provider.version })
  }
}
