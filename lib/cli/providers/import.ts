import type { Command } from 'commander'
import type { Imported } from '../../management/import-providers.ts'
import { longestFile } from '../../management/provider-file.ts'
import { ConfigurationError } from '../../shared/errors.ts'
import { sanitizeText } from '../../shared/sanitize-text.ts'
import { type Common, on, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printJson, progress } from '../output.ts'
import { ask, atTerminal } from '../prompt.ts'
import { readSecret, readText } from '../read-secret.ts'

interface ImportFlags extends Common {
  passphraseFile?: string
  clientSecretsFile?: string
  secrets: boolean
  update?: boolean
  dryRun?: boolean
}

export function addImport(providers: Command): void {
  subcommand(
    providers,
    'import <file>',
    'connect exported providers as drafts; the whole file is checked before anything is changed',
    'providers import providers.json --dry-run',
    'providers import providers.json --client-secrets-file secrets.json',
  )
    .option('--dry-run', 'show what would happen, without contacting any provider')
    .option('--update', 'also update providers that are already connected')
    .option('--passphrase-file <file>', 'opens the secrets of the file; left out: it is asked for')
    .option('--no-secrets', 'leave the secrets of the file sealed')
    .option(
      '--client-secrets-file <file>',
      'JSON of client secrets by slug: {"acme": "…"}; default: ask for them',
    )
    .action((file: string, flags: ImportFlags) => withSsoContext((context) => run(context, file, flags)))
}

async function run({ sso, actor }: SsoContext, file: string, flags: ImportFlags): Promise<void> {
  const { portal, update, dryRun } = flags
  const text = readText(file, 'the file', longestFile)
  const clientSecrets = readClientSecrets(flags)
  const withoutSecrets = !flags.secrets
  const passphrase = withoutSecrets ? undefined : await passphraseFor(text, flags)
  const how = { portal, actor, update, passphrase, withoutSecrets }
  const first = await sso.providers.importProviders(text, { ...how, clientSecrets, dryRun: true })
  if (dryRun) return conclude(first, flags)
  // Each secret is asked for once it is certain that the file is good.
  if (atTerminal() && !flags.json)
    for (const { slug } of first.filter(({ needsSecret }) => needsSecret))
      clientSecrets[slug] = await ask({
        question: `Client secret of ${slug}`,
        flag: '--client-secrets-file',
        hidden: true,
      })
  progress(flags, 'Testing the providers …')
  conclude(await sso.providers.importProviders(text, { ...how, clientSecrets }), flags)
}

function readClientSecrets({ clientSecretsFile: file }: ImportFlags): Record<string, string> {
  if (file === undefined) return {}
  const flag = '--client-secrets-file'
  const wrong = `${flag}: must be JSON such as {"acme": "its client secret"}`
  try {
    const value = JSON.parse(readText(file, flag)) as Record<string, string>
    if (Object.values(value).every((secret) => typeof secret === 'string')) return { ...value }
  } catch (error) {
    // What cannot be parsed is quoted by V8, and holds secrets.
    if (error instanceof ConfigurationError) throw error
  }
  throw new ConfigurationError(wrong)
}

/** @returns undefined where the file holds no secrets, or is none: then the import says what it is */
async function passphraseFor(text: string, { passphraseFile }: ImportFlags): Promise<string | undefined> {
  if (passphraseFile !== undefined) return await readSecret(passphraseFile, '--passphrase-file')
  if (!/"secrets"\s*:/.test(text)) return undefined
  return await ask({
    question: 'Passphrase of the file',
    flag: '--passphrase-file, or --no-secrets to leave the secrets sealed',
    hidden: true,
  })
}

function conclude(report: Imported[], flags: ImportFlags): void {
  if (report.some(({ outcome }) => outcome === 'failed')) process.exitCode = 1
  if (flags.json) printJson({ dryRun: flags.dryRun === true, providers: report })
  else printReport(report, flags)
}

function printReport(report: Imported[], flags: ImportFlags): void {
  if (report.length === 0) print('The file contains no providers.')
  for (const imported of report) {
    print(sentence(imported, flags))
    for (const [name, { here, file }] of Object.entries(imported.changes ?? {}))
      print(`    ${name}: ${short(here)} here, ${short(file)} in the file`)
  }
}

function short(value: unknown): string {
  return sanitizeText(JSON.stringify(value), 200)
}

function sentence(
  { slug, outcome, reason, changes = {} }: Imported,
  { dryRun, portal }: ImportFlags,
): string {
  const differs = Object.keys(changes).length > 0
  const sentences = {
    connected: dryRun
      ? 'would be connected, as a draft'
      : `is connected as a draft; next, run \`portal-sso providers rehearse ${slug}${on(portal)}\``,
    updated: dryRun ? 'would be updated' : 'is updated',
    left: differs
      ? 'is already connected and was not changed (use --update to change it)'
      : 'is already connected with these settings',
    failed: `${dryRun ? 'would fail' : 'failed'}: ${reason}`,
  }
  return `${slug} ${sentences[outcome]}`
}
