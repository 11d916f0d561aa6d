import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from '@jest/globals'

/** Libraries that only some requests or commands need. Each of them would take 5 to 100 ms of every start. */
const loadedOnFirstUse = [
  '@clack/prompts',
  'cockatiel',
  'commander',
  'jose',
  'libsql',
  'mysql2',
  'oauth4webapi',
  'openid-client',
  'passport-openidconnect',
  'pg',
  'redis',
  'string-width',
  'undici',
]

/** @returns the URLs of all scripts that a new process loads to import the module */
function scriptsLoadedBy(module: string): string[] {
  const program = `
    import { Session } from 'node:inspector'
    const session = new Session()
    session.connect()
    const urls = []
    session.on('Debugger.scriptParsed', ({ params }) => urls.push(params.url))
    session.post('Debugger.enable')
    await import(${JSON.stringify(pathToFileURL(path.resolve(module)).href)})
    console.log(JSON.stringify(urls))`
  const flags = ['--import', 'tsx', '--input-type=module', '--eval', program]
  return JSON.parse(execFileSync(process.execPath, flags, { encoding: 'utf8' })) as string[]
}

describe('the import of the package', () => {
  const scripts = scriptsLoadedBy('lib/index.ts')
  const libraries = new Set(scripts.map((url) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1]))

  it('is measured', () => {
    expect([...libraries]).toEqual(expect.arrayContaining(['express', 'knex', 'zod']))
    expect(scripts.some((url) => url.endsWith('/lib/create-portal-sso.ts'))).toBe(true)
  })

  it.each(loadedOnFirstUse)('does not load %s', (library) => {
    expect(libraries).not.toContain(library)
  })

  it('does not load knex’s dialects, nor the checks of the connection test', () => {
    const unneeded = /\/knex\/lib\/dialects\/(?!index)|\/lib\/management\/(?:checks|test-provider)/
    expect(scripts.filter((url) => unneeded.test(url) && !url.includes('checks/candidate'))).toEqual([])
  })

  it('imports zod as a namespace: `npm run bundle` fails otherwise, because it would bring 62 languages along', () => {
    const files = fs.readdirSync('lib', { recursive: true, encoding: 'utf8' })
    const imports = files
      .filter((file) => file.endsWith('.ts'))
      .flatMap(
        (file) => fs.readFileSync(path.join('lib', file), 'utf8').match(/^import .* from 'zod'$/gm) ?? [],
      )
    expect(new Set(imports)).toEqual(new Set(["import * as z from 'zod'", "import type * as z from 'zod'"]))
  })

  it('loads the dependencies that docs/dependencies.md names', () => {
    const { dependencies } = JSON.parse(fs.readFileSync('package.json', 'utf8')) as { dependencies: object }
    const table = fs.readFileSync('docs/dependencies.md', 'utf8')
    const rows = [...table.matchAll(/^\| (`.*`) \| (.*) \| .+ \|$/gm)].flatMap(([, names = '', loads]) =>
      names.split(', ').map((name) => ({ name: name.slice(1, -1), loads })),
    )
    expect(rows.map(({ name }) => name)).toEqual(Object.keys(dependencies))
    const loaded = rows.filter(({ name }) => libraries.has(name))
    expect(loaded).toEqual(rows.filter(({ loads }) => loads === 'start'))
  })
})
