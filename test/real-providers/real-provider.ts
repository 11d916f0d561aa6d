import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Page } from 'playwright-core'
import { aptInstall, cacheFolder } from '../support/services/programs.ts'

const run = promisify(execFile)

/** All installations run at the same time. `.ci/run` has three minutes for them and the tests. */
const installTimeoutMs = process.env.CI ? 90_000 : 600_000
const installDeadline = Date.now() + installTimeoutMs

/** Runs a program of an installation in a folder. */
export async function runIn(
  cwd: string,
  [program, ...args]: [string, ...string[]],
  env: NodeJS.ProcessEnv = {},
): Promise<void> {
  const timeout = Math.max(1, installDeadline - Date.now())
  const options = { cwd, timeout, maxBuffer: 1e8, env: { ...process.env, ...env } }
  try {
    await run(program, args, options)
  } catch (error) {
    const {
      killed,
      stderr = '',
      stdout = '',
    } = error as { killed?: boolean; stderr?: string; stdout?: string }
    const reason = killed
      ? `did not end within ${installTimeoutMs / 1000} seconds`
      : `failed: ${(stderr.trim() || stdout.trim()).split('\n').at(-1)}`
    throw new Error(`\`${program} ${args[0]}\` ${reason}`)
  }
}

let lastInstallation: Promise<unknown> = Promise.resolve()

/** Installs what is missing, one call after the other. @returns the reason if that is not possible */
export function installPackages(packages: string[]): Promise<string | undefined> {
  const install = async () => {
    const selections = await run('dpkg', ['--get-selections']).catch(() => ({ stdout: '' }))
    const installed = new Set(selections.stdout.split('\n').map((line) => line.replace(/\s+/, ' ')))
    const missing = packages.filter((name) => !installed.has(`${name} install`))
    if (missing.length > 0) await aptInstall(missing, `needs the Debian packages ${missing.join(', ')}`)
    return undefined
  }
  const installation = lastInstallation.then(install)
  lastInstallation = installation.catch(() => {})
  return installation
}

/** URLs that an administrator enters at the provider. */
export interface PortalUrls {
  redirectUri: string
  postLogoutRedirectUri: string
  backChannelLogoutUri: string
  frontChannelLogoutUri: string
}

/** The user of all providers, unless they have one of their own. */
export const ada = {
  username: 'ada',
  password: 'a-password-for-tests',
  email: 'ada@example.com',
  name: 'Ada Lovelace',
}
export const client = { id: 'portal', secret: 'a-client-secret-for-tests' }

export interface RealProvider {
  name: string
  slug: string
  /** its user's address; default: Ada's */
  email?: string
  /** Finds or builds the provider. @returns the reason if that is not possible on this machine */
  prepare(): Promise<string | undefined>
  start(urls: PortalUrls): Promise<StartedProvider>
}

export interface StartedProvider {
  /** Arguments of `portal-sso providers add`, without name and client */
  flags: string[]
  issuer: string
  /** Signs Ada in on the provider's own pages. */
  signIn(page: Page): Promise<void>
  /** Whether the browser is signed in there; default: whether the provider returns a code without showing a page. */
  hasSession?(page: Page): Promise<boolean>
  /** Answers the question of the provider whether Ada wants to sign out. */
  confirmSignOut?(page: Page): Promise<void>
  /** Signs Ada out on the provider's own pages. */
  signOut(page: Page): Promise<void>
  /** Replaces the key that signs ID tokens. */
  rotateKey(): Promise<void>
  stop(): Promise<void>
}

/** Returns a folder of the user's cache, which `fill` completes once. Later runs, and other clones, use it too. */
export async function cached(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const kept = path.join(cacheFolder, name)
  if (fs.existsSync(kept)) return kept
  fs.mkdirSync(cacheFolder, { recursive: true })
  const draft = fs.mkdtempSync(`${kept}-`)
  try {
    await fill(draft)
    fs.renameSync(draft, kept)
  } catch (error) {
    fs.rmSync(draft, { recursive: true, force: true })
    if (!fs.existsSync(kept)) throw error
  }
  return kept
}

/** Sends JSON to a provider's own API. */
export async function callApi(
  url: string,
  {
    method = 'GET',
    body,
    headers = {},
  }: { method?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Response> {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  })
  if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}: ${await response.text()}`)
  return response
}

export async function newSigningKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  return { ...(await exportJWK(privateKey)), kid: randomUUID(), use: 'sig', alg: 'RS256' }
}
