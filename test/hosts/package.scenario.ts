import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { npmInstall } from './host.ts'

const run = promisify(execFile)

describe('the packed tarball', () => {
  const folder = path.join(process.env.TEST_RUN_FOLDER!, 'empty-host')
  const installed = path.join(folder, 'node_modules/express-portal-sso')
  let files: string[]

  beforeAll(async () => {
    fs.mkdirSync(folder)
    fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }')
    await run('npm', [...npmInstall, process.env.TEST_TARBALL!], { cwd: folder })
    files = filesIn(installed)
  })

  it('contains only the program, its pages and its documents', () => {
    const kinds = new Set(files.map((file) => `${file.split('/')[0]} ${path.extname(file)}`))
    const inFolders = [...kinds].filter((kind) => /^(?:dist|docs|views) /.test(kind)).sort()
    expect(inFolders).toEqual([
      ...['dist .js', 'dist .ts', 'docs .md'],
      ...['views .css', 'views .ejs', 'views .js', 'views .json', 'views .svg'],
    ])
    const others = files.filter((file) => !file.includes('/')).sort()
    expect(others).toEqual([
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'package.json',
    ])
    // A third are administrators’ texts in nine languages.
    expect(megabytes(installed)).toBeLessThan(3.6)
  })

  it('contains a few scripts, because each one costs time at every start', () => {
    const scripts = files.filter((file) => /^dist\/.*\.js$/.test(file))
    expect(scripts).toEqual(expect.arrayContaining(['dist/index.js', 'dist/cli/portal-sso.js']))
    expect(scripts.length).toBeLessThanOrEqual(30)
    // zod is among them, and brings none of its 62 other languages.
    const texts = scripts.map((file) => fs.readFileSync(path.join(installed, file), 'utf8'))
    expect(texts.filter((text) => text.includes('Ungültige Eingabe'))).toEqual([])
    expect(texts.filter((text) => /from ['"]zod/.test(text))).toEqual([])
  })

  it('contains every page that its documents link to, except pictures', () => {
    const missing = files
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) => {
        const text = fs.readFileSync(path.join(installed, file), 'utf8')
        const targets = [...text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!)
        return targets
          .filter((target) => !target.endsWith('.png'))
          .map((target) => path.posix.join(path.posix.dirname(file), target))
          .filter((target) => !fs.existsSync(path.join(installed, target)))
          .map((target) => `${file}: ${target}`)
      })
    expect(missing).toEqual([])
  })

  it('installs no database driver and few packages', () => {
    const names = fs
      .readdirSync(path.join(folder, 'node_modules'), { recursive: true, encoding: 'utf8' })
      .filter((file) => /(?:^|node_modules\/)(?:@[^/]+\/)?[^/@]+\/package\.json$/.test(file))
    expect(names.filter((name) => /^(?:libsql|pg|mysql2)\//.test(name))).toEqual([])
    // Now 150 and 27; dependencies of dependencies change.
    expect(names.length).toBeLessThanOrEqual(156)
    expect(megabytes(path.join(folder, 'node_modules'))).toBeLessThan(36)
  })
})

function filesIn(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
}

function megabytes(folder: string): number {
  const sizes = filesIn(folder).map((file) => fs.statSync(path.join(folder, file)).size)
  return sizes.reduce((sum, size) => sum + size, 0) / 1e6
}
