import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { SetUpError } from './server.ts'

const run = promisify(execFile)

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

// Only the programs are wanted: while this runs the packages may neither start a service of the system nor
// make PostgreSQL's default cluster, and nothing of that is left behind. An `update` that fails may have left
// good lists, so the installation decides.
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

/** How this user becomes root without being asked anything, or undefined. */
async function asRoot(): Promise<string[] | undefined> {
  if (process.getuid?.() === 0) return []
  const sudo = findOnPath('sudo')
  if (!sudo) return undefined
  const allowed = await run(sudo, ['-n', 'true']).catch(() => undefined)
  return allowed && [sudo, '-n']
}

/** @param what the sentence's end, said when the packages cannot be installed */
export async function aptInstall(packages: string[], what: string): Promise<void> {
  const root = findOnPath('apt-get') ? await asRoot() : undefined
  if (!root) throw new SetUpError(what)
  progress(`Installing ${packages.join(', ')} with apt-get for the tests`)
  const [program, ...args] = [...root, '/bin/sh', '-c', installation, 'install', ...packages] as [string]
  try {
    await run(program, args, { maxBuffer: 1e8 })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    const output = `${stdout}\n${stderr}`.trim().split('\n').slice(-10).join('\n')
    throw new SetUpError(`${what}\napt-get could not do it:\n${output}`)
  }
}
