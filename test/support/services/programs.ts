import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { SetUpError } from './server.ts'

const run = promisify(execFile)

/** Downloads and installations that later runs use again. */
export const cacheFolder = path.join(
  process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'),
  'express-portal-sso',
)

export const progress = (line: string): boolean => process.stderr.write(`${line}\n`)

export const searchPath = (): string[] =>
  (process.env.PATH ?? '').split(path.delimiter).filter(path.isAbsolute)

export function isProgram(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false
  }
}

/** The first of `names` that is on PATH. */
export function findOnPath(...names: string[]): string | undefined {
  return names.flatMap((name) => searchPath().map((folder) => path.join(folder, name))).find(isProgram)
}

// Installs only the programs: the packages must not start a service or create PostgreSQL's default cluster. The
// settings for that are removed at the end. If `update` fails, existing package lists may still suffice.
const installation = `
no_start=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/portal-sso-tests.conf
if [ -e $no_start ]; then no_start=; fi
trap 'rm -f $no_start $no_cluster; rmdir "\${no_cluster%/*}" 2>/dev/null' EXIT
trap 'exit 1' INT TERM HUP
if [ -n "$no_start" ]; then printf '#!/bin/sh\\nexit 101\\n' >$no_start && chmod 755 $no_start; fi
mkdir -p "\${no_cluster%/*}" && echo 'create_main_cluster = false' >$no_cluster
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=120 update
apt-get -qq -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@"
`

/** The command prefix that runs a program as root without a password prompt, if there is one. */
async function rootPrefix(): Promise<string[] | undefined> {
  if (process.getuid?.() === 0) return []
  const sudo = findOnPath('sudo')
  if (!sudo) return undefined
  const allowed = await run(sudo, ['-n', 'true']).catch(() => undefined)
  return allowed && [sudo, '-n']
}

/** @param instructions the error message if the packages cannot be installed */
export async function aptInstall(packages: string[], instructions: string): Promise<void> {
  const root = findOnPath('apt-get') ? await rootPrefix() : undefined
  if (!root) throw new SetUpError(instructions)
  progress(`Installing ${packages.join(', ')} with apt-get for the tests`)
  const [program, ...args] = [...root, '/bin/sh', '-c', installation, 'install', ...packages] as [string]
  try {
    await run(program, args, { maxBuffer: 1e8 })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    const output = `${stdout}\n${stderr}`.trim().split('\n').slice(-10).join('\n')
    throw new SetUpError(`${instructions}\napt-get failed:\n${output}`)
  }
}
