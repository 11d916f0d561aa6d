// Slow: it builds the package and compiles a host application.
import { execFile } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'

const root = path.resolve(import.meta.dirname, '../..')
const nodeModules = path.join(root, 'node_modules')

/** A host application that uses the main parts of the API. The test adds a mention of every exported type. */
const hostCode = `
import express from 'express'
import { ConfigurationError, createPortalSso, EmailTakenError, ManagementError, normaliseEmail, ProviderTestError } from 'express-portal-sso'
import type { Logger, Mailer, PortalSso, PortalSsoOptions, User, UserDirectory } from 'express-portal-sso'

declare global {
  namespace Express {
    interface User { id: string; email: string; name: string }
  }
}

const found = new Map<string, User>()
const users: UserDirectory = {
  findById: async (id) => found.get(id),
  findByEmail: async (email) => [...found.values()].find((user) => user.email === normaliseEmail(email)),
  async create({ email, name, fields }, portal) {
    if (found.has(email)) throw new EmailTakenError()
    return { id: portal + String(fields.team), email, name }
  },
}
const logger: Logger = { info: console.info, warn: console.warn, error: console.error }
const mailer: Mailer = async ({ to, subject, text }) => logger.info({ to, subject }, text)
const options: PortalSsoOptions = {
  baseUrl: 'https://portal.example.com',
  secret: process.env.SSO_SECRET,
  database: 'sqlite:portal.sqlite3',
  users,
  logger,
  mailer,
  registration: ({ email, emailTrusted }, portal) => emailTrusted && portal !== email,
  session: { idleMinutes: 15, portals: { north: { absoluteHours: 8 } } },
  rateLimits: { code: 100 },
}
const sso: PortalSso = await createPortalSso(options)
sso.events.on('signed-in', ({ userId, provider }) => logger.info({ userId, provider }, 'signed in'))
const app = express()
app.use(sso.session(), sso.router())
app.use('/admin', sso.admin({ authorize: (req) => req.user?.email === 'admin@example.com' }))
app.get('/', sso.guard({ maxAge: '15m' }), (req, res) => {
  const name: string | undefined = req.user?.name
  res.send([name, req.session.id])
})
try {
  const provider = await sso.providers.connect({ slug: 'acme', issuer: 'https://id.example.com', clientId: 'portal' }, { actor: 'cli' })
  await sso.providers.update('acme', { prompt: 'login', clientSecret: null }, { version: provider.version })
  const [session] = await sso.sessions.list({ provider: provider.slug })
  if (session) await sso.sessions.end(session.id)
  const { events, next } = await sso.history.list({ kind: 'sign-in-failed', before: undefined })
  logger.info({ next }, events.map(({ at }) => at).join())
} catch (error) {
  if (error instanceof ProviderTestError) throw new ConfigurationError(error.checks.map(({ hint }) => hint).join())
  if (error instanceof ManagementError) throw new Error(error.issues.map(({ path, message }) => path ?? message).join())
}
await sso.close()
`

/** Arguments of the exported types that have parameters. */
const typeArguments: Record<string, string> = {
  EventFields: '<string>',
  UserEventFields: '<string>',
  ProviderEventFields: '<string>',
  EmailVerificationEvent: "<'email-verified'>",
  EventOf: "<'signed-in'>",
}

/** Names that the snippets of the documents use without declaring them. */
const snippetNames = `
import type { Express, RequestHandler } from 'express'
import type { createClient } from 'redis'
import type { Knex } from 'knex'
import type * as api from 'express-portal-sso'

declare global {
  namespace Express {
    interface User { id: string; email: string; name: string }
  }
  const app: Express
  const sso: api.PortalSso
  const options: api.PortalSsoOptions
  const createPortalSso: typeof api.createPortalSso
  const redis: ReturnType<typeof createClient>
  const knex: Knex
  const mailer: api.Mailer
  const users: api.UserDirectory
  const logger: api.Logger
  const admin: api.User
  const [id, userId]: [string, string]
  const isAdmin: (user: Express.User | undefined) => boolean
  const staffPages: RequestHandler
  const customerPages: RequestHandler
  const table: {
    find(where: { id?: string; email?: string; portal: string }): Promise<api.User | undefined>
    insertUnlessTaken(row: Record<string, unknown>): Promise<api.User | undefined>
    deletePassword(id: string): Promise<void>
  }
}
`

/** The code in a document. */
function snippetsIn(file: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8')
  return [...text.matchAll(/^ *```(?:ts|js)\n(.*?)^ *```/gms)].map(([, code = '']) => code)
}

describe('the published types', () => {
  let folder: string
  let declarations: string

  const run = async (script: string, ...parameters: string[]) => {
    const options = { cwd: folder, timeout: 200_000 }
    try {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [script, ...parameters], options)
      return stdout + stderr
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string }
      return `${stdout}${stderr}` || String(error)
    }
  }
  const tsc = (...parameters: string[]) => run(path.join(nodeModules, 'typescript/bin/tsc'), ...parameters)

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'portal-sso-types-'))
    symlinkSync(nodeModules, path.join(folder, 'node_modules'))
    mkdirSync(path.join(folder, 'package'))
    copyFileSync(path.join(root, 'package.json'), path.join(folder, 'package/package.json'))
    const dist = path.join(folder, 'package/dist')
    expect(await tsc('-p', path.join(root, 'tsconfig.build.json'), '--outDir', dist)).toBe('')
    const tsx = path.join(nodeModules, 'tsx/dist/cli.mjs')
    // Prints each type that is mentioned but not exported, and each symbol or member without documentation.
    expect(await run(tsx, path.join(root, 'docs/public-types.ts'), dist)).toBe('')
    declarations = readFileSync(path.join(dist, 'index.d.ts'), 'utf8')
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('are one file, which imports only Node.js, Express and Knex', () => {
    const files = readdirSync(path.join(folder, 'package/dist'), { recursive: true, encoding: 'utf8' })
    expect(files.filter((file) => /\.d\.[cm]?ts$/.test(file))).toEqual(['index.d.ts'])
    const imported = [...declarations.matchAll(/^import .* from '(.+)';$/gm)].map(([, name]) => name)
    expect([...new Set(imported)].sort()).toEqual(['express', 'knex', 'node:events'])
  })

  it('are all exported: no declaration is private', () => {
    expect(declarations.match(/^declare .*/gm)).toBeNull()
  })

  it('compile in a strict host that names each of them, with all snippets of the documents, against Express 5 and without skipLibCheck', async () => {
    const names = [...declarations.matchAll(/^export declare (?:class|interface|type) (\w+)/gm)].map(
      ([, name]) => name!,
    )
    expect(names.length).toBeGreaterThan(80)
    const mentions = names.map((name) => `type _${name} = api.${name}${typeArguments[name] ?? ''}`)
    const host = path.join(folder, 'host')
    mkdirSync(path.join(host, 'node_modules'), { recursive: true })
    symlinkSync(path.join(folder, 'package'), path.join(host, 'node_modules/express-portal-sso'))
    writeFileSync(path.join(host, 'package.json'), '{ "type": "module" }')
    writeFileSync(path.join(host, 'host.ts'), hostCode)
    writeFileSync(path.join(host, 'snippet-names.d.ts'), snippetNames)
    const documents = readdirSync(path.join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    const snippets = ['README.md', ...documents.map((file) => `docs/${file}`)]
      .filter((file) => file.endsWith('.md'))
      .flatMap(snippetsIn)
    expect(snippets.length).toBeGreaterThan(15)
    for (const [at, code] of snippets.entries())
      writeFileSync(path.join(host, `snippet-${at}.ts`), `export {}\n${code}`)
    writeFileSync(
      path.join(host, 'names.ts'),
      `import type * as api from 'express-portal-sso'\nexport ${mentions.join('\nexport ')}\n`,
    )
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      noEmit: true,
    }
    writeFileSync(path.join(host, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
    expect(await tsc('-p', host)).toBe('')
  })
})
