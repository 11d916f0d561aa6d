import { z } from 'zod'
import type { Provider, ProviderChanges, ProviderSettings } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { settingsOf } from '../providers/settings.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError, describeError } from '../shared/errors.ts'
import type { ConnectProvider } from './connect-provider.ts'
import { openUnderPassphrase } from './passphrase-seal.ts'
import { digestOf, type ProviderFile, type ProviderInFile, readProviderFile } from './provider-file.ts'
import { type ProviderInput, parse, readChanges, readInput } from './provider-input.ts'
import type { UpdateProvider } from './update-provider.ts'

export interface ImportOptions extends ActOptions {
  /** opens the secrets of the file */
  passphrase?: string | undefined
  /** leaves the file's secrets sealed; default false */
  withoutSecrets?: boolean | undefined
  /** client secrets in place of the file's, by slug */
  clientSecrets?: Readonly<Record<string, string>> | undefined
  /**
   * makes those that are connected already as the file says; default false: they stay as they are. Of one that is enabled a
   * file never changes who is believed
   */
  update?: boolean | undefined
  /** says what would happen, and asks no provider; default false */
  dryRun?: boolean | undefined
}

export interface Imported {
  slug: string
  /** `left`: it is connected already. As a dry run: what would become of it */
  outcome: 'connected' | 'updated' | 'left' | 'failed'
  /** why it failed */
  reason?: string
  /** its settings where they differ, as they stand here and in the file */
  changes?: Record<string, { here: unknown; file: unknown }>
  /** the file holds no secret for it, and none was given */
  needsSecret?: true
}

/**
 * Reads a file that an export wrote; those that are new are connected as drafts, each tested as usual. One that fails stops
 * no other.
 *
 * @throws ConfigurationError for a file that is wrong anywhere; nothing is changed then
 */
export type ImportProviders = (text: string, how?: ImportOptions) => Promise<Imported[]>

/** A client without a secret has none to give. */
type Secrets = { clientSecret?: string | undefined } | undefined

export interface ImportParts {
  connect: ConnectProvider
  table: ProvidersTable
  update: UpdateProvider
}

interface Step extends Imported {
  act?: () => Promise<unknown>
}

export function createImportProviders({ connect, table, update }: ImportParts): ImportProviders {
  return async (text, how = {}) => {
    const file = readProviderFile(text)
    const secrets = await secretsOf(file, how)
    const steps = await plan(file, secrets, how)
    const report: Imported[] = []
    for (const { act, ...step } of steps) {
      if (!how.dryRun && act) Object.assign(step, await failure(act))
      report.push(step)
    }
    return report
  }

  /** All of the file is judged before anything is done about any of it. */
  async function plan({ providers }: ProviderFile, secrets: Map<string, Secrets>, how: ImportOptions) {
    const { portal = 'default' } = how
    const wrong: string[] = []
    const steps: Step[] = []
    for (const provider of providers) {
      try {
        const here = await table.find(portal, provider.slug)
        const given = secrets.get(provider.slug)
        steps.push(here ? stepFor(here, provider, given, how) : newcomer(provider, given, how))
      } catch (error) {
        if (!(error instanceof ConfigurationError)) throw error
        wrong.push(`${provider.slug}: ${error.message}`)
      }
    }
    if (wrong.length > 0) throw new ConfigurationError(wrong.join('; '))
    return steps
  }

  function newcomer({ slug, preset, settings }: ProviderInFile, given: Secrets, how: ImportOptions): Step {
    const { portal = 'default', actor = 'code' } = how
    const input: ProviderInput = { ...settings, ...given, slug, preset, portal, enabled: false }
    const { settings: read } = readInput(input)
    // Told here, since the file cannot hold it in the clear, and the test would only say that there is none.
    if (lacksSecret(read))
      return { slug, outcome: 'failed', needsSecret: true, reason: 'its client secret is missing' }
    return { slug, outcome: 'connected', act: () => connect(input, actor) }
  }

  function stepFor(here: Provider, inFile: ProviderInFile, given: Secrets, how: ImportOptions): Step {
    const { slug } = here
    const changes = { ...inFile.settings, ...given } as ProviderChanges
    const { changed } = readChanges(changes)
    const differences = differencesOf(here, inFile.settings, changed)
    const nothing = Object.keys(differences).length === 0 && given?.clientSecret === undefined
    if (!how.update || nothing) return { slug, outcome: 'left', changes: differences }
    if (inFile.preset !== here.preset)
      throw new ConfigurationError(
        `is connected as ${here.preset} here, and is ${inFile.preset} in the file: remove it first`,
      )
    const believed = here.enabled ? whoIsBelieved.filter((name) => name in differences) : []
    if (believed.length > 0) {
      const reason = `a file does not change who is believed (${believed.join(', ')}) while it is enabled: disable it first, or change that by hand`
      return { slug, outcome: 'failed', changes: differences, reason }
    }
    const { portal, actor } = how
    const act = () => update(slug, changes, { portal, actor, version: here.version })
    return { slug, outcome: 'updated', changes: differences, act }
  }
}

// Of a draft these are looked at, and rehearsed, before anybody comes in. Of an enabled one whoever wrote the file would come in
// at once, as anybody. With the client, too: at many providers its owner has tokens for it hold whatever address he likes.
const whoIsBelieved = [
  'issuer',
  'clientId',
  'trustsEmail',
  'emailClaim',
  'emailDomains',
  'tenants',
  'signingAlgorithm',
  'certificateAuthority',
]

// Who knows the passphrase may still be another than who made the settings.
const sealedSchema = z.strictObject({
  digest: z.string(),
  bySlug: z.record(z.string(), z.strictObject({ clientSecret: z.string().optional() })),
})

async function secretsOf(file: ProviderFile, how: ImportOptions): Promise<Map<string, Secrets>> {
  const sealed = how.withoutSecrets ? {} : await openSecrets(file, how.passphrase)
  const given = new Map<string, Secrets>(Object.entries(sealed))
  for (const [slug, clientSecret] of Object.entries(how.clientSecrets ?? {}))
    given.set(slug, { clientSecret })
  return given
}

async function openSecrets({ secrets, providers }: ProviderFile, passphrase: string | undefined) {
  if (secrets === undefined) return {}
  if (passphrase === undefined)
    throw new ConfigurationError('the file holds sealed secrets: give its passphrase, or leave them out')
  const { digest, bySlug } = parse(sealedSchema, await openUnderPassphrase(secrets, passphrase))
  if (digest !== digestOf(providers))
    throw new ConfigurationError(
      'the settings were changed after the secrets were sealed: export again, or leave the secrets out',
    )
  return bySlug
}

function lacksSecret({ clientAuthentication, clientSecret }: ProviderSettings): boolean {
  return clientSecret === undefined && /^client_secret_/.test(clientAuthentication ?? 'client_secret_')
}

function differencesOf(here: Provider, file: Record<string, unknown>, read: Partial<ProviderSettings>) {
  const now: Record<string, unknown> = { ...settingsOf(here) }
  const then: Record<string, unknown> = { ...file, ...read }
  const names = Object.keys(file).filter(
    (name) => JSON.stringify(now[name] ?? null) !== JSON.stringify(then[name] ?? null),
  )
  return Object.fromEntries(
    names.map((name) => [name, { here: now[name] ?? null, file: then[name] ?? null }]),
  )
}

async function failure(act: () => Promise<unknown>): Promise<Partial<Imported>> {
  try {
    await act()
    return {}
  } catch (error) {
    return { outcome: 'failed', reason: describeError(error) }
  }
}
