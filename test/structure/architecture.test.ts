import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { examplesPage, optionsPage, settingsPage, templatesPage } from '../../docs/reference.ts'
import { connectDatabase } from '../../lib/database/connect.ts'
import { migrate } from '../../lib/database/migrate.ts'
import { freshSqlite } from '../support/databases.ts'

const root = path.resolve(import.meta.dirname, '../..')

/** From the bottom up: a layer imports only from itself and from earlier ones. Files directly in `lib` are listed by name. */
const layers = [
  ['shared'],
  ['web'],
  ['database'],
  ['events'],
  ['users'],
  ['mail'],
  ['providers'],
  ['oidc'],
  ['sessions'],
  ['health'],
  ['one-time-links'],
  ['sign-in'],
  ['registration'],
  ['logout'],
  ['consent'],
  ['account'],
  ['classic-login'],
  ['management'],
  ['test-sign-in'],
  ['callback'],
  ['maintenance'],
  ['admin'],
  [
    'options.ts',
    'modules.ts',
    'rate-limit-routes.ts',
    'guard.ts',
    'router.ts',
    'portal-sso.ts',
    'create-portal-sso.ts',
    'index.ts',
  ],
  ['cli'],
]

interface Source {
  /** relative to `lib`, such as `web/pages.ts` */
  file: string
  text: string
  /** without comments */
  code: string
  /** files of `lib` that it imports, types included */
  imports: string[]
}

const sources: Source[] = fs
  .readdirSync(path.join(root, 'lib'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => {
    const text = read('lib', file)
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$|\s\/\/ .*$/gm, '')
    const specifiers = [...code.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)]
    const imports = specifiers.map(([, specifier = '']) =>
      path.normalize(path.join(path.dirname(file), specifier)),
    )
    return { file, text, code, imports }
  })

function read(...parts: string[]): string {
  return fs.readFileSync(path.join(root, ...parts), 'utf8')
}

function layerOf(file: string): number {
  const [folderOrFile = ''] = file.split(path.sep)
  return layers.findIndex((layer) => layer.includes(folderOrFile))
}

/** Matches of a pattern in the code, with their files. */
function matches(pattern: RegExp, { except = [] as string[] } = {}): string[] {
  return sources
    .filter(({ file }) => !except.includes(file))
    .flatMap(({ file, code }) => [...code.matchAll(pattern)].map(([found]) => `${file}: ${found}`))
}

describe('the folders of lib', () => {
  it('are all checked by this test', () => {
    expect(sources.length).toBeGreaterThan(40)
    expect(sources.find(({ file }) => file === 'create-portal-sso.ts')!.imports).toContain(
      'sign-in/sign-in.ts',
    )
  })

  it('all belong to a layer', () => {
    expect(sources.filter(({ file }) => layerOf(file) === -1).map(({ file }) => file)).toEqual([])
  })

  it('import only from their own layer and from lower ones', () => {
    const upward = sources.flatMap(({ file, imports }) =>
      imports
        .filter((imported) => layerOf(imported) > layerOf(file))
        .map((imported) => `${file} → ${imported}`),
    )
    expect(upward).toEqual([])
  })

  it('import only existing files of lib', () => {
    const files = new Set(sources.map(({ file }) => file))
    const lost = sources.flatMap(({ file, imports }) =>
      imports.filter((imported) => !files.has(imported)).map((imported) => `${file} → ${imported}`),
    )
    expect(lost).toEqual([])
  })

  it('have no circular imports', () => {
    const importsOf = new Map(sources.map(({ file, imports }) => [file, imports]))
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (file: string, way: string[]): void => {
      const since = way.indexOf(file)
      if (since >= 0) circles.push([...way.slice(since), file].join(' → '))
      if (since >= 0 || done.has(file)) return
      for (const imported of importsOf.get(file) ?? []) visit(imported, [...way, file])
      done.add(file)
    }
    for (const { file } of sources) visit(file, [])
    expect(circles).toEqual([])
  })
})

describe('the code of lib', () => {
  it('never reads the host of a request, because the client chooses it', () => {
    expect(
      matches(/\breq(uest)?\.(hostname|host)\b|headers\.host\b|['"]x?-?(forwarded-)?host['"]/gi),
    ).toEqual([])
  })

  it('sends requests to the network in one file only', () => {
    const ways = /(?<![.\w])fetch\(|globalThis\.fetch|from '(node:)?(https?|http2|net|tls|undici|axios)'/g
    const connector = 'oidc/connector.ts'
    expect(matches(ways, { except: ['oidc/http-client.ts', connector] })).toEqual([])
    // The connector checks the target of each socket.
    const callers = sources.filter(({ imports }) => imports.includes(connector)).map(({ file }) => file)
    expect(callers).toEqual(['oidc/http-client.ts'])
    expect(sources.find(({ file }) => file === 'oidc/http-client.ts')!.code).toMatch(/dispatcher\.request\(/)
  })

  it('uses nothing that PgBouncer in transaction mode or a distributed PostgreSQL lacks', () => {
    expect(
      matches(
        /advisory_(?:xact_)?lock|\bGET_LOCK\b|'?\blisten \w+'|\bnotify \w+'|\bnextval\b|\bset session\b/gi,
      ),
    ).toEqual([])
  })

  it('has no top-level await, so that CommonJS can require it', () => {
    expect(matches(/^(await|for await)\b.*|^(export )?(const|let) [^\n]*= await\b.*/gm)).toEqual([])
  })
})

describe('the migrations', () => {
  const files = fs
    .readdirSync(path.join(root, 'lib/database/migrations'))
    .map((file) => path.basename(file, '.ts'))

  it('all run, in numeric order', async () => {
    const fresh = await freshSqlite()
    const { knex, close } = connectDatabase(fresh.config)
    try {
      expect(await migrate(knex)).toEqual(files.sort())
    } finally {
      await close()
      await fresh.drop()
    }
  })

  it('are numbered without gaps', () => {
    expect(files.sort().map((file) => Number(file.slice(0, 3)))).toEqual(files.map((_, at) => at + 1))
  })
})

describe('docs/architecture.md', () => {
  const text = read('docs', 'architecture.md')
  const [tree = ''] = /^lib\/\n(?: +\S.*\n)+/m.exec(text) ?? []

  it('lists the folders and files of lib in the order in which they may import each other', () => {
    const names = [...tree.matchAll(/^ {2}([\w.-]+)\/? /gm)].map(([, name]) => name)
    expect(names).toEqual(layers.flat())
  })

  it('lists the folders within folders', () => {
    const paths: string[] = []
    let parent = ''
    for (const [, indent = '', name = ''] of tree.matchAll(/^( {2}| {4})([\w-]+)\/ /gm))
      if (indent.length === 2) parent = name
      else paths.push(path.join(parent, name))
    const found = sources.map(({ file }) => path.dirname(file)).filter((folder) => folder.includes(path.sep))
    expect(paths.sort()).toEqual([...new Set(found)].sort())
  })

  it('names files that exist', () => {
    const named = [...text.matchAll(/`([\w-]+\/[\w/-]+\.\w+)`/g)].map(([, file = '']) => file)
    expect(named.length).toBeGreaterThan(20)
    const roots = ['', 'lib']
    expect(
      named.filter((file) => !roots.some((folder) => fs.existsSync(path.join(root, folder, file)))),
    ).toEqual([])
  })
})

describe('the documents', () => {
  const folders = ['', 'docs', 'docs/decisions', 'docs/providers', 'examples/branded', 'test/failures']
  const files = folders.flatMap((folder) =>
    fs
      .readdirSync(path.join(root, folder))
      .filter((file) => file.endsWith('.md'))
      .map((file) => path.join(folder, file)),
  )
  const textOf = (file: string) => read(file).replace(/^```.*?^```/gms, '')

  /** The names that GitHub gives to the headings. */
  function anchorsIn(file: string): string[] {
    const headings = [...textOf(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)
    return headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    )
  }

  it('link only to files and headings that exist', () => {
    const links = files.flatMap((file) =>
      [...textOf(file).matchAll(/\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)/g)].map(([, target, anchor]) => ({
        file,
        target: target ? path.join(path.dirname(file), target) : file,
        anchor,
      })),
    )
    expect(links.length).toBeGreaterThan(150)
    const broken = links.filter(
      ({ target, anchor }) =>
        !fs.existsSync(path.join(root, target)) || (anchor && !anchorsIn(target).includes(anchor)),
    )
    expect(broken).toEqual([])
  })
})

describe('docs/security.md', () => {
  const rows = read('docs', 'security.md')
    .split('\n')
    .filter((line) => /^\| (?!attack \||module \|)/.test(line))

  it('names a test in each row', () => {
    expect(rows.length).toBeGreaterThan(30)
  })

  it.each(rows.map((row) => [row.split('|')[1]!.trim(), row]))('%s', (_who, row) => {
    const [, file, title] = /`([\w/-]+(?:\.test)?\.ts)` "([^"]+)" \|$/.exec(row) ?? []
    expect([file, title]).toEqual([expect.any(String), expect.any(String)])
    expect(read('test', file!)).toContain(title)
  })
})

describe('the views', () => {
  const views = fs
    .readdirSync(path.join(root, 'views'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ejs'))
    .map((file) => ({ file, text: read('views', file) }))

  it('print nothing unescaped except other views', () => {
    const partial = /^<%- include\('((admin|mail)\/)?partials\/[\w-]+'[^+]*\) %>$/
    // Rendered when the package is built, and checked against a list of elements in test/admin/guides.test.ts.
    const guide = /^<%- include\(`admin\/guides\/\$\{preset\.name\}`\) %>$/
    const raw = views.flatMap(({ file, text }) =>
      [...text.matchAll(/<%-[\s\S]*?%>/g)].map(([tag]) => ({ file, tag })),
    )
    expect(raw.length).toBeGreaterThan(5)
    expect(raw.filter(({ tag }) => !guide.test(tag) && !partial.test(tag))).toEqual([])
  })

  /** Mails have no Content-Security-Policy, and mail programs support only inline styles. */
  const isMail = (file: string) => file.startsWith(`mail${path.sep}`)

  it('have no inline script, style or handler, which the Content-Security-Policy would block', () => {
    const inline = /<script(?![^>]*\bsrc=)[^>]*>|<style\b|\sstyle=|\son\w+=|javascript:/gi
    const found = views
      .filter(({ file }) => !isMail(file))
      .flatMap(({ file, text }) => (text.match(inline) ?? []).map((each) => `${file}: ${each}`))
    expect(found).toEqual([])
  })

  it('of mails contain no scripts, and of links and external resources only the account page and the logo', () => {
    const mails = views.filter(({ file }) => isMail(file))
    expect(mails).toHaveLength(8)
    for (const { text } of mails) expect(text).not.toMatch(/<script|\son\w+=|javascript:|url\(/i)
    const links = mails.flatMap(({ file, text }) =>
      [...text.matchAll(/\b(?:href|src)="[^"]*"/gi)].map(([link]) => `${file}: ${link}`),
    )
    expect(links).toEqual([
      'mail/method.html.ejs: href="<%= href %>"',
      'mail/partials/head.ejs: src="<%= logo %>"',
    ])
  })
})

describe('the reference', () => {
  it.each([
    ['docs/options.md', optionsPage],
    ['docs/settings.md', settingsPage],
    ['docs/examples.md', examplesPage],
    ['docs/templates.md', templatesPage],
  ])('%s is what `npm run reference` writes', (file, page) => {
    expect(fs.readFileSync(path.join(root, file), 'utf8')).toBe(page())
  })
})
