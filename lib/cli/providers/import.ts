import type { Command } from 'commander'
import type { ImportResult } from '../../management/import-providers.ts'
import { maxFileLength } from '../../management/provider-file.ts'
import { ConfigurationError } from '../../shared/errors.ts'
import { sanitizeText } from '../../shared/sanitize-text.ts'
import { type Common, on, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printJson, progress } from '../output.ts'
import { ask, atTerminal } from '../prompt.ts'
import { readText } from '../read-secret.ts'

interface ImportFlags extends Common {
  clientSecretsFile?: string
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
    .option(
      '--client-secrets-file <file>',
      'JSON of client secrets or references by slug: {"acme": "env:ACME_SECRET"}; default: ask for them',
    )
    .action((file: string, flags: ImportFlags) => withSsoContext((context) => run(context, file, flags)))
}

async function run({ sso, actor }: SsoContext, file: string, flags: ImportFlags): Promise<void> {
  const { portal, update, dryRun } = flags
  const text = readText(file, 'the file', maxFileLength)
  const clientSecrets = readClientSecrets(flags)
  const options = { portal, actor, update }
  const first = await sso.providers.import(text, { ...options, clientSecrets, dryRun: true })
  if (dryRun) return conclude(first, flags)
  // Ask for secrets only after the whole file was found to be valid.
  if (atTerminal() && !flags.json)
    for (const { slug } of first.filter(({ needsSecret }) => needsSecret))
      clientSecrets[slug] = await ask({
        question: `Client secret of ${slug}`,
        flag: '--client-secrets-file',
        hidden: true,
      })
  progress(flags, 'Testing the providers …')
  conclude(await sso.providers.import(text, { ...options, clientSecrets }), flags)
}

function readClientSecrets({ clientSecretsFile: file }: ImportFlags): Record<string, string> {
  if (file === undefined) return {}
  const flag = '--client-secrets-file'
  const wrong = `${flag}: must be JSON such as {"acme": "its client secret"}`
  try {
    const value = JSON.parse(readText(file, flag)) as Record<string, string>
    if (Object.values(value).every((secret) => typeof secret === 'string')) return { ...value }
  } catch (error) {
    // V8 quotes the text that it could not parse, and that contains secrets.
    if (error instanceof ConfigurationError) throw error
  }
  throw new ConfigurationError(wrong)
}

function conclude(report: ImportResult[], flags: ImportFlags): void {
  if (report.some(({ outcome }) => outcome === 'failed')) process.exitCode = 1
  if (flags.json) printJson({ dryRun: flags.dryRun === true, providers: report })
  else printReport(report, flags)
}

function printReport(report: ImportResult[], flags: ImportFlags): void {
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
  { slug, outcome, reason, changes = {} }: ImportResult,
  { dryRun, portal }: ImportFlags,
): string {
  const differs = Object.keys(changes).length > 0
  const sentences = {
    connected: dryRun
      ? 'would be connected, as a draft'
      : `is connected as a draft; next, run \`portal-sso providers test-sign-in ${slug}${on(portal)}\``,
    updated: dryRun ? 'would be updated' : 'is updated',
    unchanged: differs
      ? 'is already connected and was not changed (use --update to change it)'
      : 'is already connected with these settings',
    failed: `${dryRun ? 'would fail' : 'failed'}: ${reason}`,
  }
  return `${slug} ${sentences[outcome]}`
}
