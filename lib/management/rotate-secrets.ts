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

const sealedColumns = ['client_secret', 'client_keys'] as const

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
  const portals = await knex.transaction(async (transaction) => {
    const rows = () => transaction('sso_providers')
    // Locks all rows in every database: a concurrent writer waits, and then overwrites our values with newer ones.
    await rows().update({ id: transaction.ref('id') })
    const all: SealedRow[] = await rows().select('id', 'portal', 'slug', 'removed_at', ...sealedColumns)
    const changed: string[] = []
    for (const row of all) {
      const changes = await reseal(providersTable.secretBox, row)
      if (Object.keys(changes).length === 0) continue
      await rows().where({ id: row.id }).update(changes)
      changed.push(row.portal)
    }
    return changed
  })
  for (const portal of new Set(portals.length > 0 ? portals : ['default'])) {
    const providers = String(portals.filter((each) => each === portal).length)
    await events.record({ kind: 'secrets-rotated', portal, actor, detail: { providers } })
  }
  return { providers: portals.length }
}

async function reseal(secretBox: SecretBox, row: SealedRow): Promise<Partial<SealedRow>> {
  const changes: Partial<SealedRow> = {}
  for (const column of sealedColumns) {
    const sealed = row[column]
    if (sealed === null) continue
    const context = column === 'client_keys' ? clientKeysContext(row.id) : row.id
    // Opened in any case: an unreadable value is reported now, not at the first sign-in without the old secret.
    const secret = await open(secretBox, row, { sealed, context })
    if (secret !== undefined && !secretBox.isCurrent(sealed))
      changes[column] = await secretBox.close(secret, context)
  }
  return changes
}

async function open(
  secretBox: SecretBox,
  { slug, portal, removed_at }: SealedRow,
  { sealed, context }: { sealed: string; context: string },
): Promise<string | undefined> {
  try {
    return await secretBox.open(sealed, context)
  } catch (cause) {
    if (removed_at !== null) return undefined
    throw new ManagementError(
      'conflict',
      `a client secret or key of "${slug}" in the portal "${portal}" cannot be decrypted with any of the secrets, so nothing was ` +
        'changed: add the secret that it was encrypted with (secret: [new, old]), or set the client secret again',
      { cause },
    )
  }
}
