import type { Command } from 'commander'
import type { ImportResult } from '../../management/import-providers.ts'
import { maxFileLength } from '../../management/provider-file.ts'
import { ConfigurationError } from '../../shared/errors.ts'
import { sanitizeText } from '../../shared/sanitize-text.ts'
import { type CommonFlags, portalFlag, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printJson, printProgress } from '../output.ts'
import { ask, atTerminal } from '../prompt.ts'
import { readText } from '../read-secret.ts'

interface ImportFlags extends CommonFlags {
  clientSecretsFile?: string
  update?: boolean
  dryRun?: boolean
}

export function addExport(providers: Command): void {
  subcommand(
    providers,
    'export [slugs...]',
    'write settings as JSON to standard output, to import them elsewhere; all providers, or those you name',
    'providers export > providers.json',
    'providers export acme > acme.json',
  )
    .addHelpText(
      'after',
      `
The file contains no secrets, only references to them (env:NAME, file:/path). Keys for private_key_jwt are never exported:
the other portal creates its own.`,
    )
    .action((slugs: string[], flags: CommonFlags) =>
      withSsoContext(async ({ sso, actor }) =>
        printJson(await sso.providers.export(slugs, { portal: flags.portal, actor })),
      ),
    )
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
    .action((file: string, flags: ImportFlags) =>
      withSsoContext((context) => importFile(context, file, flags)),
    )
}

async function importFile({ sso, actor }: SsoContext, file: string, flags: ImportFlags): Promise<void> {
  const { portal, update, dryRun } = flags
  const text = readText(file, 'the file', maxFileLength)
  const clientSecrets = readClientSecrets(flags)
  const options = { portal, actor, update }
  const preview = await sso.providers.import(text, { ...options, clientSecrets, dryRun: true })
  if (dryRun) return printResults(preview, flags)
  // Ask for secrets only after the whole file was found to be valid.
  if (atTerminal() && !flags.json)
    for (const { slug } of preview.filter(({ needsSecret }) => needsSecret))
      clientSecrets[slug] = await ask({
        question: `Client secret of ${slug}`,
        flag: '--client-secrets-file',
        hidden: true,
      })
  printProgress(flags, 'Testing the providers …')
  printResults(await sso.providers.import(text, { ...options, clientSecrets }), flags)
}

function readClientSecrets({ clientSecretsFile: file }: ImportFlags): Record<string, string> {
  if (file === undefined) return {}
  const flag = '--client-secrets-file'
  try {
    const value = JSON.parse(readText(file, flag)) as Record<string, string>
    if (Object.values(value).every((secret) => typeof secret === 'string')) return { ...value }
  } catch (error) {
    // Drop a SyntaxError: V8 quotes the text, which holds secrets.
    if (error instanceof ConfigurationError) throw error
  }
  throw new ConfigurationError(`${flag}: must be JSON such as {"acme": "its client secret"}`)
}

function printResults(results: ImportResult[], flags: ImportFlags): void {
  if (results.some(({ outcome }) => outcome === 'failed')) process.exitCode = 1
  if (flags.json) printJson({ dryRun: flags.dryRun === true, providers: results })
  else if (results.length === 0) print('The file contains no providers.')
  else for (const result of results) printImported(result, flags)
}

function printImported(result: ImportResult, flags: ImportFlags): void {
  print(describeImported(result, flags))
  for (const [name, { here, file }] of Object.entries(result.changes ?? {}))
    print(`    ${name}: ${shortJson(here)} here, ${shortJson(file)} in the file`)
}

function shortJson(value: unknown): string {
  return sanitizeText(JSON.stringify(value), 200)
}

function describeImported(
  { slug, outcome, reason, changes = {} }: ImportResult,
  { dryRun, portal }: ImportFlags,
): string {
  const differs = Object.keys(changes).length > 0
  const sentences = {
    connected: dryRun
      ? 'would be connected, as a draft'
      : `is connected as a draft; next, run \`portal-sso providers test-sign-in ${slug}${portalFlag(portal)}\``,
    updated: dryRun ? 'would be updated' : 'is updated',
    unchanged: differs
      ? 'is already connected and was not changed (use --update to change it)'
      : 'is already connected with these settings',
    failed: `${dryRun ? 'would fail' : 'failed'}: ${reason}`,
  }
  return `${slug} ${sentences[outcome]}`
}
