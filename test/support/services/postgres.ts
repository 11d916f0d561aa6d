import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { isProgram, searchPath } from './programs.ts'
import {
  freePort,
  guard,
  privateFolder,
  type ServerOptions,
  SetUpError,
  type Stop,
  startServer,
  unprivileged,
} from './server.ts'

const run = promisify(execFile)

/** Debian installs the server's programs outside PATH, in one folder for each version. */
function debianFolders(): string[] {
  const base = '/usr/lib/postgresql'
  if (!fs.existsSync(base)) return []
  const versions = fs.readdirSync(base).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => path.join(base, version, 'bin'))
}

/** The URL of the database that each server has. */
export const postgresUrlAt = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`

/** Creates the data of a server, which ends with this process. */
export async function initPostgres(bin: string): Promise<{ data: string; remove: Stop }> {
  const folder = privateFolder()
  const data = path.join(folder, 'data')
  const remove = guard(folder)
  const init = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync']
  try {
    await run(path.join(bin, 'initdb'), init, {
      ...unprivileged(),
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C' },
    })
  } catch (error) {
    await remove()
    throw new SetUpError(`initdb from ${bin} failed:\n${(error as { stderr?: string }).stderr ?? error}`)
  }
  return { data, remove }
}

/** @param folder contains the log, and is removed when the server ends */
export async function runPostgres(
  bin: string,
  data: string,
  { port, folder, spawned }: { port: number; folder: string; spawned?: ServerOptions['spawned'] },
): Promise<Stop> {
  const settings = [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    'unix_socket_directories=',
    'max_connections=300',
    'fsync=off',
    'synchronous_commit=off',
    'full_page_writes=off',
  ]
  const args = ['-D', data, ...settings.flatMap((setting) => ['-c', setting])]
  // QUIT is the fastest shutdown that still releases the shared memory.
  return await startServer(path.join(bin, 'postgres'), args, folder, { signal: 'QUIT', spawned })
}

export const postgres = {
  name: 'PostgreSQL',
  variable: 'TEST_DATABASE_URL',
  debianPackage: 'postgresql',

  /** The first folder with both programs. Some folders contain only the client. */
  find: async () =>
    [...debianFolders(), ...searchPath()].find((folder) =>
      ['initdb', 'postgres'].every((name) => isProgram(path.join(folder, name))),
    ),

  async start(bin: string) {
    const { data, remove } = await initPostgres(bin)
    const port = await freePort()
    const stopServer = await runPostgres(bin, data, { port, folder: path.dirname(data) })
    const stop = async () => {
      await stopServer()
      await remove()
    }
    return { env: { TEST_DATABASE_URL: postgresUrlAt(port) }, stop }
  },

  async use(url: string) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 })
    await client.connect()
    await client.end()
    return { env: { TEST_DATABASE_URL: url }, stop: async () => {} }
  },
}
