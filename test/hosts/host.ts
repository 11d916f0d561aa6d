import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { type FreshDatabase, freshPostgres, postgresUrl } from '../support/databases.ts'
import { cacheFolder } from '../support/services/programs.ts'
import { freePort } from '../support/services/server.ts'

const execute = promisify(execFile)

/** Asks the registry only for packages that npm has not cached. */
export const npmInstall = ['install', '--prefer-offline', '--no-audit', '--no-fund']

/** Each clone has its own folders, because they contain its build. */
const clone = createHash('sha256')
  .update(import.meta.dirname)
  .digest('hex')
  .slice(0, 12)

export interface StartOptions {
  /** where the host mounts `sso.router()`; default: at `/` */
  mountPaths?: string[]
  env?: Record<string, string>
  /** Runs before the host starts. @param port where it will listen */
  prepare?: (port: number, database: FreshDatabase) => Promise<Prepared>
}

interface Prepared {
  /** public URL of the host; default: its own */
  url?: string
  env?: Record<string, string>
  /** called after the host has ended */
  stop?: () => Promise<void>
}

export interface RunningHost {
  url: string
  database: FreshDatabase
  /** everything that the process has written */
  output(): string
  /** Sends SIGTERM. @returns the exit code, `null` if the signal ended the process */
  stop(): Promise<number | null>
}

/** Registers a host at the provider, which it knows as `acme`. @param routers the URLs where it mounts `sso.router()` */
export async function registerClient(routers: string[]): Promise<{ clientId: string; clientSecret: string }> {
  const response = await fetch(`${process.env.TEST_ISSUER}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      redirect_uris: routers.map((url) => `${url}/login/acme/callback`),
      post_logout_redirect_uris: routers.map((url) => `${url}/logout/done`),
      backchannel_logout_uri: `${routers[0]}/logout/acme/backchannel`,
      backchannel_logout_session_required: true,
    }),
  })
  if (!response.ok) throw new Error(await response.text())
  const { client_id, client_secret } = (await response.json()) as Record<string, string>
  return { clientId: client_id!, clientSecret: client_secret! }
}

/** A host application, installed outside the repository so that it finds only its own dependencies. */
export class Host {
  readonly folder: string
  private readonly source: string

  constructor(name: string) {
    this.source = path.join(import.meta.dirname, name)
    this.folder = path.join(cacheFolder, `hosts-${clone}`, name)
  }

  /** Installs the tarball and the host's own dependencies, unless an earlier run has installed the same ones. */
  async install(): Promise<void> {
    const tarball = process.env.TEST_TARBALL!
    const hash = createHash('sha256').update(process.version)
    for (const file of [tarball, path.join(this.source, 'package.json')]) hash.update(fs.readFileSync(file))
    const [marker, key] = [path.join(this.folder, '.installed'), hash.digest('hex')]
    const isInstalled = fs.existsSync(marker) && fs.readFileSync(marker, 'utf8') === key
    if (!isInstalled) fs.rmSync(marker, { force: true })
    fs.cpSync(this.source, this.folder, { recursive: true })
    if (isInstalled) return
    await this.run('npm', ...npmInstall, '--no-save', '--no-package-lock', tarball)
    fs.writeFileSync(marker, key)
  }

  /** Runs a program, such as one of the host's dependencies. @returns its output */
  async run(program: string, ...args: string[]): Promise<string> {
    const bin = path.join(this.folder, 'node_modules/.bin')
    const env = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}` }
    try {
      const { stdout, stderr } = await execute(program, args, { cwd: this.folder, env, maxBuffer: 1e8 })
      return stdout + stderr
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
      throw new Error(`\`${program} ${args.join(' ')}\` failed:\n${stdout}${stderr}`)
    }
  }

  /** Starts the host with a new database, as a client of the provider, and waits until it logs `Listening`. */
  async start(
    entry: string,
    { mountPaths = [''], env = {}, prepare }: StartOptions = {},
  ): Promise<RunningHost> {
    const port = await freePort()
    const database = await freshPostgres()
    const prepared = (await prepare?.(port, database)) ?? {}
    const url = prepared.url ?? `http://localhost:${port}`
    const { clientId, clientSecret } = await registerClient(mountPaths.map((mountPath) => url + mountPath))
    const child = spawn(process.execPath, [entry], {
      cwd: this.folder,
      env: {
        ...{ PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: process.env.TMPDIR },
        ...{
          PORT: String(port),
          BASE_URL: url,
          SSO_SECRET: 'a-secret-for-tests-that-is-longer-than-32-characters',
        },
        ...{ DATABASE_URL: postgresUrl(database), REDIS_URL: process.env.TEST_REDIS_URL },
        ...{ ISSUER: process.env.TEST_ISSUER, CLIENT_ID: clientId, CLIENT_SECRET: clientSecret },
        ...env,
        ...prepared.env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const exited = once(child, 'close')
    let output = ''
    const stop = async () => {
      child.kill()
      const [code] = (await exited) as [number | null]
      await prepared.stop?.()
      await database.drop()
      return code
    }
    const isListening = await new Promise<boolean>((resolve) => {
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text
          if (output.includes('Listening')) resolve(true)
        })
      exited.then(
        () => resolve(false),
        () => resolve(false),
      )
    })
    if (isListening) return { url, database, output: () => output, stop }
    await stop()
    throw new Error(`The host did not start:\n${output}`)
  }
}
