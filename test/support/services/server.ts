import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export type Stop = () => Promise<void>

/** Asks the developer to do something before the tests can run. Has no stack trace. */
export class SetUpError extends Error {
  constructor(message: string) {
    super(message)
    this.stack = message
  }
}

const guardian = `
read -r _
if [ -n "$1" ]; then
  kill -s "$2" "$1" 2>/dev/null
  tries=0
  while kill -0 "$1" 2>/dev/null && [ $tries -lt 200 ]; do sleep 0.03; tries=$((tries + 1)); done
  kill -KILL "$1" 2>/dev/null
else
  for found in $(grep -lszFx "TMPDIR=$3" /proc/[0-9]*/environ); do
    found=\${found#/proc/}
    kill -KILL "\${found%/environ}" 2>/dev/null
  done
fi
tries=0
until rm -rf "$3" 2>/dev/null || [ $tries -ge 50 ]; do sleep 0.1; tries=$((tries + 1)); done
`

/**
 * Ends a process and removes its folder when `stop` is called or this process has ended, even by SIGKILL: a detached shell
 * waits for the end of its input. Without a process, it ends all processes that have the folder as their TMPDIR, such as
 * Jest's workers.
 */
export function guard(folder: string, pid?: number, signal: 'TERM' | 'QUIT' = 'TERM'): Stop {
  const child = spawn('/bin/sh', ['-c', guardian, 'guardian', String(pid ?? ''), signal, folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
    env: { PATH: `${process.env.PATH}:/usr/bin:/bin` },
  })
  const input = child.stdin as net.Socket
  const gone = once(child, 'exit')
  gone.catch(() => {})
  child.unref()
  input.unref()
  return async () => {
    child.ref()
    input.end()
    await gone
  }
}

/** PostgreSQL refuses to run as root, so root runs the servers as `nobody`. */
export function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const entry = /^nobody:[^:]*:(\d+):(\d+):/m.exec(fs.readFileSync('/etc/passwd', 'utf8'))
  if (!entry)
    throw new SetUpError('As root the tests run their servers as the user nobody: create that user.')
  return { uid: Number(entry[1]), gid: Number(entry[2]) }
}

/** Creates a folder that only the servers' user may read. */
export function privateFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-server-'))
  const user = unprivileged()
  if (user) fs.chownSync(folder, user.uid, user.gid)
  return folder
}

export interface ServerOptions {
  /** ends the server; default 'TERM' */
  signal?: 'TERM' | 'QUIT'
  /** is logged when the server accepts connections */
  ready?: RegExp
  env?: Record<string, string>
  /** Runs as this process's user, who can read the programs in the user's own cache. Default: unprivileged. */
  asThisUser?: boolean
  /** Receives the process id. */
  spawned?: ((pid: number) => void) | undefined
}

/** Starts a server and waits until it logs that it accepts connections. `stop` also removes its folder. */
export async function startServer(
  program: string,
  args: string[],
  folder: string,
  {
    signal = 'TERM',
    ready = /ready (?:to accept|for) connections/i,
    env,
    asThisUser = false,
    spawned,
  }: ServerOptions = {},
): Promise<Stop> {
  // A file needs no reader, unlike a pipe, so the server keeps running until its guardian ends it.
  const log = path.join(folder, 'log')
  const file = fs.openSync(log, 'w')
  let child: ChildProcess
  try {
    child = spawn(program, args, {
      ...(asThisUser ? {} : unprivileged()),
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C', ...env },
      stdio: ['ignore', file, file],
    })
    await once(child, 'spawn')
  } finally {
    fs.closeSync(file)
  }
  child.unref()
  spawned?.(child.pid!)
  const stop = guard(folder, child.pid, signal)
  const late = Date.now() + 120_000
  for (;;) {
    const text = fs.readFileSync(log, 'utf8')
    if (ready.test(text)) return stop
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > late) {
      await stop()
      throw new SetUpError(`${program} did not start:\n${text.trim().split('\n').slice(-10).join('\n')}`)
    }
    await delay(15)
  }
}

/**
 * Returns a port below the system's ephemeral range, so no outgoing connection can use it while its server is down.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    // Above 10080, which browsers and `fetch` refuse.
    const port = randomInt(10_100, 30_000)
    if (await isFree(port)) return port
  }
  throw new SetUpError('No free port was found on 127.0.0.1.')
}

export async function isFree(port: number): Promise<boolean> {
  const server = net.createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
