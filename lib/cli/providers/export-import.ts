import type { ImportResult } from '../../management/import-providers.ts'
import { maxFileLength } from '../../management/provider-file.ts'
import { ConfigurationError } from '../../shared/errors.ts'
import { sanitizeText } from '../../shared/sanitize-text.ts'
import { type CommandContext, type CommonFlags, type PortalCommands, suggest } from '../command.ts'
import { ask, atTerminal, readText } from '../input.ts'
import { printProgress, type Result } from '../output.ts'

interface ImportFlags extends CommonFlags {
  clientSecretsFile?: string
  update?: boolean
  dryRun?: boolean
}

const secretsFlag = '--client-secrets-file'

export const fileCommands: PortalCommands = {
  'export [slugs...]': {
    description:
      'write settings as JSON to standard output, to import them elsewhere; all providers, or those you name',
    examples: ['providers export > providers.json', 'providers export acme > acme.json'],
    notes: `
The file contains no secrets, only references to them (env:NAME, file:/path). Keys for private_key_jwt are never exported:
the other portal creates its own.`,
    async run({ providers, actor }, slugs: string[]) {
      return { json: await providers.export(slugs, { actor }) }
    },
  },
  'import <file>': {
    description: 'connect exported providers as drafts; the whole file is checked before anything is changed',
    examples: [
      'providers import providers.json --dry-run',
      'providers import providers.json --client-secrets-file secrets.json',
    ],
    options: {
      '--dry-run': 'show what would happen, without contacting any provider',
      '--update': 'also update providers that are already connected',
      '--client-secrets-file <file>':
        'JSON of client secrets or references by slug: {"acme": "env:ACME_SECRET"}; default: ask for them',
    },
    async run({ providers, actor, flags }: CommandContext<ImportFlags>, file: string) {
      const { update, dryRun } = flags
      const text = await readText(file, 'the file', maxFileLength)
      const clientSecrets = await readClientSecrets(flags)
      const preview = await providers.import(text, { actor, update, clientSecrets, dryRun: true })
      if (dryRun) return describeResults(preview, flags)
      // Ask for secrets only after the whole file was found to be valid.
      if (atTerminal() && !flags.json)
        for (const { slug } of preview.filter(({ needsSecret }) => needsSecret))
          clientSecrets[slug] = await ask({
            question: `Client secret of ${slug}`,
            flag: secretsFlag,
            hidden: true,
          })
      printProgress(flags, 'Testing the providers …')
      return describeResults(await providers.import(text, { actor, update, clientSecrets }), flags)
    },
  },
}

async function readClientSecrets({ clientSecretsFile: file }: ImportFlags): Promise<Record<string, string>> {
  if (file === undefined) return {}
  try {
    const value = JSON.parse(await readText(file, secretsFlag)) as Record<string, string>
    if (Object.values(value).every((secret) => typeof secret === 'string')) return { ...value }
  } catch (error) {
    // Drop a SyntaxError: V8 quotes the text, which holds secrets.
    if (error instanceof ConfigurationError) throw error
  }
  throw new ConfigurationError(`${secretsFlag}: must be JSON such as {"acme": "its client secret"}`)
}

function describeResults(results: ImportResult[], flags: ImportFlags): Result {
  return {
    json: { dryRun: flags.dryRun === true, providers: results },
    text:
      results.map((result) => describeResult(result, flags)).join('\n') || 'The file contains no providers.',
    failed: results.some(({ outcome }) => outcome === 'failed'),
  }
}

function describeResult({ slug, outcome, reason, changes = {} }: ImportResult, flags: ImportFlags): string {
  const { dryRun } = flags
  const differences = Object.entries(changes).map(
    ([name, { here, file }]) => `\n    ${name}: ${shortJson(here)} here, ${shortJson(file)} in the file`,
  )
  const sentences = {
    connected: dryRun
      ? 'would be connected, as a draft'
      : `is connected as a draft; next, run \`${suggest(`providers test-sign-in ${slug}`, flags)}\``,
    updated: dryRun ? 'would be updated' : 'is updated',
    unchanged:
      differences.length > 0
        ? 'is already connected and was not changed (use --update to change it)'
        : 'is already connected with these settings',
    failed: `${dryRun ? 'would fail' : 'failed'}: ${reason}`,
  }
  return `${slug} ${sentences[outcome]}${differences.join('')}`
}

function shortJson(value: unknown): string {
  return sanitizeText(JSON.stringify(value), 200)
}
