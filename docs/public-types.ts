/**
 * Part of `npm run build`: bundles the declaration files of `dist` into `dist/index.d.ts`, with the public types only.
 * Fails if the public API mentions a type that is not exported, or has a symbol or a member without documentation.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Extractor, ExtractorConfig, type ExtractorMessage } from '@microsoft/api-extractor'

const root = path.resolve(import.meta.dirname, '..')
/** Messages of the extractor, besides its errors, that make the build fail. The others concern its own conventions. */
const problems = ['ae-forgotten-export', 'ae-undocumented']

/**
 * Expands types that are computed from a constant, so that the constant stays private: unions of a list's items or an object's
 * keys, and the values of a settings table.
 */
export function expandTypes(declarations: string): string {
  const constant = (name: string) =>
    new RegExp(`const ${name}: (?:readonly \\[(.*)\\]|\\{\\n([\\s\\S]*?\\n)\\});`).exec(declarations)
  return declarations
    .replace(
      /\(typeof (\w+)\)\[number\]/g,
      (type, name) => constant(name)?.[1]?.replaceAll(', ', ' | ') ?? type,
    )
    .replace(/keyof typeof (\w+);/g, (type, name) => {
      const keys = constant(name)?.[2]?.match(/(?<=^ {4}readonly )\w+(?=:)/gm)
      return keys ? `${keys.map((key) => `'${key}'`).join(' | ')};` : type
    })
    .replace(
      /type (\w+) = \{\n? *\[Name in keyof typeof (\w+)\]: \(typeof \2\)\[Name\] extends \w+<infer .*\n\}/,
      (type, name, table) => {
        const members = constant(table)?.[2]?.replace(/: \w+<(.*)>;$/gm, ': $1;')
        return members ? `interface ${name} {\n${members}}` : type
      },
    )
}

/** @returns the problems that were found */
function bundleTypes(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.d.ts'))
    .map((file) => path.join(folder, file))
  for (const file of files) writeFileSync(file, expandTypes(readFileSync(file, 'utf8')))
  const entry = path.join(folder, 'index.d.ts')
  const temporary = mkdtempSync(path.join(tmpdir(), 'public-types-'))
  const bundle = path.join(temporary, 'index.d.ts')
  const found: string[] = []
  try {
    Extractor.invoke(extractorConfig(entry, bundle), {
      localBuild: true,
      messageCallback(message) {
        if (message.logLevel === 'error' || problems.includes(message.messageId))
          found.push(describe(message))
        message.logLevel = 'none' as ExtractorMessage['logLevel']
      },
    })
    const text = readFileSync(bundle, 'utf8')
    for (const file of files) rmSync(file)
    writeFileSync(entry, text)
  } finally {
    rmSync(temporary, { recursive: true })
  }
  return found
}

function extractorConfig(entry: string, bundle: string): ExtractorConfig {
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023'],
    types: ['node'],
    strict: true,
    skipLibCheck: true,
  }
  return ExtractorConfig.prepare({
    configObject: {
      projectFolder: path.dirname(entry),
      mainEntryPointFilePath: entry,
      compiler: { overrideTsconfig: { compilerOptions, files: [entry] } },
      // The report is not kept, but documentation is checked only while it is written.
      apiReport: {
        enabled: true,
        reportFileName: 'report',
        reportFolder: path.dirname(bundle),
        reportTempFolder: path.dirname(bundle),
      },
      docModel: { enabled: false },
      tsdocMetadata: { enabled: false },
      dtsRollup: { enabled: true, untrimmedFilePath: bundle },
      newlineKind: 'lf',
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: path.join(root, 'package.json'),
  })
}

function describe({ text, sourceFilePath, sourceFileLine }: ExtractorMessage): string {
  return `${sourceFilePath ? path.relative(root, sourceFilePath) : ''}:${sourceFileLine ?? ''} ${text}`
}

const found = bundleTypes(path.resolve(process.argv[2] ?? path.join(root, 'dist')))
if (found.length > 0) {
  process.stderr.write(`${found.sort().join('\n')}\n`)
  process.exitCode = 1
}
