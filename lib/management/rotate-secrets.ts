import type { Knex } from 'knex'
import type { EventLog } from '../events/event-log.ts'
import { keysOf } from '../providers/providers-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'
import type { SecretBox } from '../shared/seal.ts'

/**
 * Seals all client secrets and keys under the first of the operator's secrets, in one transaction, while instances run with both
 * secrets. Those that are sealed so already stay as they are, so that it may be run again.
 *
 * @returns how many rows were sealed anew
 * @throws ConfigurationError when one opens under none of the secrets; then all stay as they were. One of a provider that was
 *   removed is passed over: nobody could set it again
 */
export type RotateSecrets = (how?: Pick<ActOptions, 'actor'>) => Promise<{ providers: number }>

export interface RotateSecretsParts {
  events: EventLog
  knex: Knex
  secretBox: SecretBox
}

interface SealedRow {
  id: string
  portal: string
  slug: string
  client_secret: string | null
  client_keys: string | null
  removed_at: string | null
}

const sealedColumns = ['client_secret', 'client_keys'] as const

export function createRotateSecrets({ events, knex, secretBox }: RotateSecretsParts): RotateSecrets {
  /** What of a row is to be sealed anew. */
  async function resealed(row: SealedRow): Promise<Partial<SealedRow>> {
    const changes: Partial<SealedRow> = {}
    for (const column of sealedColumns) {
      const sealed = row[column]
      if (sealed === null) continue
      const context = column === 'client_keys' ? keysOf(row.id) : row.id
      // Opened in any case: what nobody can read is told now, and not at the first sign-in without the old secret.
      const secret = await opened(row, sealed, context)
      if (secret !== undefined && !secretBox.isCurrent(sealed))
        changes[column] = await secretBox.close(secret, context)
    }
    return changes
  }

  async function opened(
    { slug, portal, removed_at }: SealedRow,
    sealed: string,
    context: string,
  ): Promise<string | undefined> {
    try {
      return await secretBox.open(sealed, context)
    } catch (cause) {
      if (removed_at !== null) return undefined
      throw new ConfigurationError(
        `a client secret or key of "${slug}" in the portal "${portal}" opens under none of the secrets, so all stay as ` +
          'they were: add the one that it was sealed under (secret: [new, old]), or set the client secret again',
        { cause },
      )
    }
  }

  return async ({ actor = 'code' } = {}) => {
    const portals = await knex.transaction(async (transaction) => {
      const rows = () => transaction('sso_providers')
      // Locks all rows, in whatever database: who changes one now waits, and writes over ours what is newer. Readers wait for
      // nobody. A row that is added meanwhile is sealed by an instance that runs with the new secret already.
      await rows().update({ id: transaction.ref('id') })
      const all: SealedRow[] = await rows().select('id', 'portal', 'slug', 'removed_at', ...sealedColumns)
      const changed: string[] = []
      for (const row of all) {
        const changes = await resealed(row)
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
}
