import { readEncodedLogo } from '../providers/logo-image.ts'
import type { Provider } from '../providers/provider.ts'
import {
  type ProviderChanges,
  type ProviderSettings,
  settingNamesWhere,
  settingsOf,
} from '../providers/settings.ts'
import type { ActOptions, ResolvedActOptions } from '../shared/act-options.ts'
import { describeError, type Issue, ManagementError } from '../shared/errors.ts'
import type { ManagementContext } from './context.ts'
import { type ProviderInFile, readProviderFile } from './provider-file.ts'
import { type ProviderInput, readChanges, readInput } from './provider-input.ts'
import { hashLogo, setProviderLogo } from './provider-logos.ts'
import { connectProvider, updateProvider } from './save-provider.ts'
import { assertMayReference } from './secret-reference-rules.ts'

/** Options of `import`. */
export interface ImportOptions extends ActOptions {
  /** Client secrets by slug. A value such as `env:NAME` or `file:/path` is a reference, see `secretReferences`. */
  clientSecrets?: Readonly<Record<string, string>> | undefined
  /** Update providers that are already connected. Default false. A file never changes who is trusted while one is enabled. */
  update?: boolean | undefined
  /** Report what would happen, and send no request. Default false. */
  dryRun?: boolean | undefined
}

/** The outcome for one provider of the file. */
export interface ImportResult {
  /** Name in URLs. */
  slug: string
  /** `unchanged`: it is already connected. In a dry run: what would happen. */
  outcome: 'connected' | 'updated' | 'unchanged' | 'failed'
  /** Why it failed. */
  reason?: string
  /** Settings that differ, here and in the file. Of a logo, both hashes. */
  changes?: Record<string, { here: unknown; file: unknown }>
  /** Its client secret is neither in the file nor given. */
  needsSecret?: true
}

interface Step extends ImportResult {
  run?: () => Promise<unknown>
}

/** A secret or a reference to one, as the caller gives it for a provider of the file. */
type GivenSecret = Pick<ProviderInput, 'clientSecret' | 'clientSecretReference'>

/**
 * Reads a file that an export wrote. New providers are connected as drafts, each tested as usual; one that fails does not
 * stop the others.
 *
 * @throws ManagementError `invalid` for a file with any mistake; nothing is changed then
 */
export async function importProviders(
  context: ManagementContext,
  text: string,
  options: ResolvedActOptions & ImportOptions,
): Promise<ImportResult[]> {
  const steps = await planImport(context, text, options)
  const results: ImportResult[] = []
  for (const { run, ...result } of steps) {
    try {
      if (!options.dryRun) await run?.()
      results.push(result)
    } catch (error) {
      results.push({ ...result, outcome: 'failed', reason: formatReason(error) })
    }
  }
  return results
}

/** Validates the whole file before any of it is applied. */
async function planImport(
  context: ManagementContext,
  text: string,
  options: ResolvedActOptions & ImportOptions,
): Promise<Step[]> {
  const issues: Issue[] = []
  const steps: Step[] = []
  for (const inFile of readProviderFile(text).providers) {
    const { slug } = inFile
    try {
      const existing = await context.providersTable.find(options.portal, slug)
      const stepOptions = { ...options, given: readGivenSecret(options.clientSecrets?.[slug]) }
      steps.push(
        existing
          ? updateStep(context, existing, inFile, stepOptions)
          : connectStep(context, inFile, stepOptions),
      )
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      issues.push({ path: slug, message: error.message })
    }
  }
  if (issues.length > 0) throw new ManagementError('invalid', issues)
  return steps
}

type StepOptions = ResolvedActOptions & ImportOptions & { given: GivenSecret }

function connectStep(
  context: ManagementContext,
  { slug, preset, settings, logo: encoded }: ProviderInFile,
  { given, ...options }: StepOptions,
): Step {
  // A file cannot set a reference: its author would choose which of our secrets is sent to the issuer.
  const { clientSecretReference } = settings
  const { clientSecretReference: named } = readChanges({ clientSecretReference } as ProviderChanges)
  const input: ProviderInput = { ...withoutCodeOnly(settings), ...given, slug, preset, enabled: false }
  const logo = encoded === undefined ? undefined : readEncodedLogo(encoded)
  if (needsSecret(readInput(input).settings)) {
    const reason = named
      ? `its client secret is missing; to read it from ${named}, as in the file, give that reference in \`clientSecrets\``
      : 'its client secret is missing'
    return { slug, outcome: 'failed', needsSecret: true, reason }
  }
  const run = async () => {
    await connectProvider(context, input, options)
    if (logo) await setProviderLogo(context, slug, logo, options)
  }
  return { slug, outcome: 'connected', run }
}

function updateStep(
  context: ManagementContext,
  existing: Provider,
  inFile: ProviderInFile,
  { given, ...options }: StepOptions,
): Step {
  const { slug } = existing
  const isSecretGiven = Object.keys(given).length > 0
  // The given secret or reference replaces the file's reference.
  const fileChanges: ProviderChanges = isSecretGiven ? withoutCodeOnly(inFile.settings) : inFile.settings
  const settings = listDifferences(existing, fileChanges)
  const hasNewSettings = isSecretGiven || Object.keys(settings).length > 0
  const logo = newLogo(existing, inFile)
  const changes = { ...settings, ...(logo && { logo: logo.difference }) }
  if (!options.update || !(hasNewSettings || logo)) return { slug, outcome: 'unchanged', changes }
  if (inFile.preset !== existing.preset)
    throw new ManagementError(
      'conflict',
      `is connected with the preset ${existing.preset} here, and has ${inFile.preset} in the file: remove it first`,
    )
  const reason = findRefusal(fileChanges, existing, changes)
  if (reason !== undefined) return { slug, outcome: 'failed', changes, reason }
  const { version } = existing
  const run = async () => {
    if (hasNewSettings)
      await updateProvider(context, slug, { ...fileChanges, ...given }, { ...options, version })
    if (logo) await setProviderLogo(context, slug, logo.image, options)
  }
  return { slug, outcome: 'updated', changes, run }
}

/** @returns `undefined` if the file has no logo, or the same */
function newLogo(existing: Provider, { logo }: ProviderInFile) {
  if (logo === undefined) return undefined
  const image = readEncodedLogo(logo)
  const difference = { here: existing.logoHash ?? null, file: hashLogo(existing.id, image) }
  return difference.here === difference.file ? undefined : { image, difference }
}

function withoutCodeOnly(settings: ProviderInFile['settings']): ProviderChanges {
  const codeOnly: string[] = settingNamesWhere((setting) => setting.codeOnly)
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !codeOnly.includes(name)))
}

/** Returns why a file may not make these changes: its author could sign in as anyone, or receive a client secret. */
function findRefusal(
  fileChanges: ProviderChanges,
  existing: Provider,
  differences: NonNullable<ImportResult['changes']>,
): string | undefined {
  const trust = existing.enabled
    ? settingNamesWhere(({ decidesTrust }) => decidesTrust).filter((name) => name in differences)
    : []
  // A draft is reviewed and tested before it is enabled.
  if (trust.length > 0)
    return `a file cannot change whose identities are trusted (${trust.join(', ')}) while the provider is enabled: disable it first, or change it manually`
  try {
    assertMayReference(readChanges(fileChanges), 'file', existing)
    return undefined
  } catch (error) {
    return formatReason(error)
  }
}

function readGivenSecret(secret: string | undefined): GivenSecret {
  if (secret === undefined) return {}
  return /^(env|file):/.test(secret) ? { clientSecretReference: secret } : { clientSecret: secret }
}

function needsSecret(settings: ProviderSettings): boolean {
  const { clientAuthentication = 'client_secret_basic', clientSecret, clientSecretReference } = settings
  return (
    clientSecret === undefined &&
    clientSecretReference === undefined &&
    clientAuthentication.startsWith('client_secret_')
  )
}

function listDifferences(existing: Provider, inFile: ProviderChanges): NonNullable<ImportResult['changes']> {
  const now: Record<string, unknown> = { ...settingsOf(existing) }
  const then: Record<string, unknown> = readChanges(inFile)
  return Object.fromEntries(
    Object.keys(inFile)
      .map((name) => [name, { here: now[name] ?? null, file: then[name] ?? null }] as const)
      .filter(([, { here, file }]) => JSON.stringify(here) !== JSON.stringify(file)),
  )
}

function formatReason(error: unknown): string {
  return error instanceof ManagementError ? error.message : describeError(error)
}
