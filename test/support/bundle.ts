import fs from 'node:fs'
import path from 'node:path'
import { build, type Plugin } from 'esbuild'

/** Database drivers and native programs, which are loaded only if they are used. */
const external = [
  'libsql',
  'pg',
  'pg-native',
  'pg-query-stream',
  'redis',
  'better-sqlite3',
  'mariadb',
  'mysql',
  'mysql2',
  'oracledb',
  'sqlite3',
  'tedious',
]

/** Bundled CommonJS modules use these. */
const commonJs = `
import { createRequire as requireIn } from 'node:module'
const require = requireIn(import.meta.url)
const __dirname = import.meta.dirname
`

/** Runs a bundled command with the code that V8 compiled for an earlier one, which saves a third of the time of its start. */
const launcher = `
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import vm from 'node:vm'

const filename = path.join(import.meta.dirname, 'command.cjs')
const compiled = path.join(import.meta.dirname, 'compiled')
const code = fs.readFileSync(filename, 'utf8').replace(/^#!.*/, '')
const cachedData = fs.existsSync(compiled) ? fs.readFileSync(compiled) : undefined
const script = new vm.Script('(function (require, metaUrl, __dirname) {' + code + '\\n})', { filename, cachedData })
if (!cachedData)
  process.once('exit', () => {
    const draft = compiled + process.pid
    fs.writeFileSync(draft, script.createCachedData())
    fs.renameSync(draft, compiled)
  })
script.runInThisContext()(createRequire(filename), import.meta.url, import.meta.dirname)
`

/** Bundles a command that tests start often. It may not use top-level await. */
export const bundleCommand = (entry: string): Promise<string> =>
  bundle(entry, {
    name: 'compiled-once',
    setup({ initialOptions, onEnd }) {
      const program = initialOptions.outfile!
      Object.assign(initialOptions, {
        outfile: path.join(path.dirname(program), 'command.cjs'),
        format: 'cjs',
        // Compiled code cannot import.
        supported: { 'dynamic-import': false },
        banner: {},
        define: { 'import.meta.url': 'metaUrl', 'import.meta.dirname': '__dirname' },
      })
      onEnd(() => fs.writeFileSync(program, launcher))
    },
  })

/** Bundles a program once in each run: a command spends half of its time on finding and reading its 1,100 modules. */
export async function bundle(entry: string, ...plugins: Plugin[]): Promise<string> {
  const name = [path.basename(entry, '.ts'), ...plugins.map((plugin) => plugin.name)].join('-')
  const home = path.join(process.env.TEST_RUN_FOLDER!, 'bundles', name)
  // Two folders below `views`, like the module that looks for them.
  const program = path.join(home, 'lib', 'bundle', 'program.mjs')
  if (fs.existsSync(program)) return program
  fs.mkdirSync(path.dirname(home), { recursive: true })
  const draft = fs.mkdtempSync(`${home}-`)
  for (const part of ['node_modules', 'package.json', 'views'])
    fs.symlinkSync(path.resolve(part), path.join(draft, part))
  await build({
    entryPoints: [entry],
    outfile: path.join(draft, path.relative(home, program)),
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minifyWhitespace: true,
    banner: { js: commonJs },
    external,
    plugins,
    logLevel: 'error',
  })
  try {
    fs.renameSync(draft, home)
  } catch (error) {
    // Another worker has bundled the program at the same time.
    if (!fs.existsSync(program)) throw error
  }
  return program
}
