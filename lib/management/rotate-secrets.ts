import { inTransaction } from '../database/connect.ts'
import { clientKeysContext } from '../providers/providers-table.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import { ManagementError } from '../shared/errors.ts'
import type { SecretBox } from '../shared/seal.ts'
import type { ManagementContext } from './context.ts'

interface SealedRow {
  id: string
  portal: string
  slug: string
  client_secret: string | null
  client_keys: string | null
  removed_at: string | null
}

/**
 * Encrypts all client secrets and keys of all portals under the first of the operator's secrets, in one transaction, while
 * instances run with both secrets. It may be repeated: rows that are already current stay as they are.
 *
 * @returns how many rows were encrypted again
 * @throws ManagementError when a value cannot be decrypted with any of the secrets; then nothing changes. Removed providers are skipped
 */
export async function rotateSecrets(
  { events, knex, providersTable }: ManagementContext,
  { actor }: Pick<ResolvedActOptions, 'actor'>,
): Promise<{ providers: number }> {
  const portals = await inTransaction(knex, async (transaction) => {
    const rows = () => transaction('sso_providers')
    // Locks all rows in every database: a concurrent writer waits, and then overwrites our values with newer ones.
    await rows().update({ id: transaction.ref('id') })
    const all: SealedRow[] = await rows()
    const changed: string[] = []
    for (const row of all) {
      const client_secret = await reseal(providersTable.secretBox, row, row.client_secret, row.id)
      const keysContext = clientKeysContext(row.id)
      const client_keys = await reseal(providersTable.secretBox, row, row.client_keys, keysContext)
      if (client_secret === row.client_secret && client_keys === row.client_keys) continue
      await rows().where({ id: row.id }).update({ client_secret, client_keys })
      changed.push(row.portal)
    }
    return changed
  })
  for (const portal of new Set(portals.length > 0 ? portals : ['default'])) {
    const providers = portals.filter((each) => each === portal).length
    await events.record({ kind: 'secrets-rotated', portal, actor, detail: { providers } })
  }
  return { providers: portals.length }
}

/** Opens even a current value: an unreadable one is reported now, not at the first sign-in without the old secret. */
async function reseal(
  secretBox: SecretBox,
  { slug, portal, removed_at }: SealedRow,
  sealed: string | null,
  context: string,
): Promise<string | null> {
  if (sealed === null) return null
  let secret: string
  try {
    secret = secretBox.open(sealed, context)
  } catch (cause) {
    if (removed_at !== null) return sealed
    throw new ManagementError(
      'conflict',
      `a client secret or key of "${slug}" in the portal "${portal}" cannot be decrypted with any of the secrets, so nothing was ` +
        'changed: add the secret that it was encrypted with (secret: [new, old]), or set the client secret again',
      { cause },
    )
  }
  return secretBox.isCurrent(sealed, context) ? sealed : secretBox.close(secret, context)
}
