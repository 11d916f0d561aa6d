import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { chromium as browserType } from 'playwright-core'
import { findOnPath, isProgram, progress } from './programs.ts'
import { guard, SetUpError } from './server.ts'

const run = promisify(execFile)
const modules = path.resolve(import.meta.dirname, '../../../node_modules')

/** The pinned Chromium needs the libraries that were unpacked with it. */
function withLibraries(executablePath: string): NodeJS.ProcessEnv {
  const libraries = path.join(path.dirname(executablePath), 'al2023/lib')
  return { ...process.env, ...(fs.existsSync(libraries) && { LD_LIBRARY_PATH: libraries }) }
}

/**
 * The font list of @sparticuz/chromium names folders that do not exist here, so every text would be 0 pixels wide.
 * This list prefers the bundled font, which is the same on every machine, and falls back to the system's fonts.
 */
function ownFonts(executablePath: string): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-fonts-'))
  const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const preferred = ['sans-serif', 'sans'].map(
    (family) => `<alias><family>${family}</family><prefer><family>Open Sans</family></prefer></alias>`,
  )
  const list = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  ${preferred.join('\n  ')}
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>${escaped(path.join(path.dirname(executablePath), 'fonts'))}</dir>
  <cachedir>${escaped(folder)}</cachedir>
</fontconfig>
`
  const file = path.join(folder, 'fonts.conf')
  fs.writeFileSync(file, list)
  return file
}

/**
 * @sparticuz/chromium always unpacks to TMPDIR and changes the environment, so it runs in a process of its own.
 * AWS_EXECUTION_ENV makes it unpack its libraries too.
 */
async function unpackInto(folder: string): Promise<string> {
  const script = `import c from '@sparticuz/chromium'; process.stdout.write(await c.executablePath())`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    cwd: path.dirname(modules),
    env: { ...process.env, TMPDIR: folder, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs22.x' },
  })
  return stdout
}

/** The browser of the lockfile. Debian's newest changes every month, and would change the results. */
async function pinnedChromium(): Promise<string | undefined> {
  const manifest = path.join(modules, '@sparticuz/chromium/package.json')
  if (process.platform !== 'linux' || process.arch !== 'x64' || !fs.existsSync(manifest)) return undefined
  const { version } = JSON.parse(fs.readFileSync(manifest, 'utf8')) as { version: string }
  const cache = path.join(modules, '.cache')
  const kept = path.join(cache, `chromium-${version}`)
  if (isProgram(path.join(kept, 'chromium'))) return path.join(kept, 'chromium')
  progress('Unpacking the Chromium of @sparticuz/chromium for the tests')
  let folder: string
  try {
    fs.mkdirSync(cache, { recursive: true })
    folder = fs.mkdtempSync(`${kept}-`)
  } catch {
    // This user may not write to node_modules: unpack for this run only.
    return unpackInto(fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-')))
  }
  const unguard = guard(folder)
  try {
    await unpackInto(folder)
    fs.chmodSync(folder, 0o755)
    fs.chmodSync(path.join(folder, 'chromium'), 0o755)
    // @sparticuz/chromium reuses any file of its name, even a half-written one, so publish only a complete folder.
    fs.renameSync(folder, kept)
  } catch (error) {
    if (!isProgram(path.join(kept, 'chromium'))) throw error
  } finally {
    await unguard()
  }
  return path.join(kept, 'chromium')
}

/** False if its libraries do not fit the machine, for example on Alpine. */
async function starts(executablePath: string): Promise<boolean> {
  const started = run(executablePath, ['--version'], { env: withLibraries(executablePath) })
  return await started.then(
    () => true,
    () => false,
  )
}

export const chromium = {
  name: 'Chromium',
  variable: 'CHROMIUM_PATH',
  debianPackage: 'chromium',

  async find() {
    const pinned = await pinnedChromium().catch(() => undefined)
    if (pinned && (await starts(pinned))) return pinned
    const installed = findOnPath('chromium', 'google-chrome', 'google-chrome-stable')
    // A snap cannot read this run's temporary folder and does not start in a container.
    return installed && !fs.realpathSync(installed).includes('/snap') ? installed : undefined
  },

  async start(executablePath: string) {
    const env = withLibraries(executablePath)
    if (fs.existsSync(path.join(path.dirname(executablePath), 'fonts')))
      env.FONTCONFIG_FILE = ownFonts(executablePath)
    const server = await browserType.launchServer({
      executablePath,
      env,
      // guard() ends the browser; playwright's handlers would keep this process alive after SIGTERM.
      handleSIGINT: false,
      handleSIGTERM: false,
      handleSIGHUP: false,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    })
    return { env: { TEST_BROWSER_WS: server.wsEndpoint() }, stop: () => server.close() }
  },

  async use(executablePath: string) {
    if (!isProgram(executablePath)) throw new SetUpError('there is no such program')
    return chromium.start(executablePath)
  },
}
