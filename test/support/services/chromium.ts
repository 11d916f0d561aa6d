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

/** Chromium from npm brings the libraries it needs, in a folder beside it. */
const ownLibraries = (executablePath: string): string => path.join(path.dirname(executablePath), 'al2023/lib')

/**
 * Chromium from npm brings a font, too, but a list of fonts that names other folders: every text would be 0 pixels wide.
 * Here it is its font first, the same on every machine, and then what the system has for other scripts.
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
 * Unpacks the Chromium of @sparticuz/chromium into TMPDIR, the place it insists on. In a process of its own, as
 * it changes the environment; the variable makes it unpack its libraries, too.
 */
async function unpackInto(folder: string): Promise<string> {
  const script = `import c from '@sparticuz/chromium'; process.stdout.write(await c.executablePath())`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    cwd: path.dirname(modules),
    env: { ...process.env, TMPDIR: folder, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs22.x' },
  })
  return stdout
}

async function chromiumFromNpm(): Promise<string | undefined> {
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
    // The modules belong to somebody else: unpack it for this run only.
    return unpackInto(fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-')))
  }
  const unguard = guard(folder)
  try {
    await unpackInto(folder)
    fs.chmodSync(folder, 0o755)
    fs.chmodSync(path.join(folder, 'chromium'), 0o755)
    // Moved when it is whole: it takes any file of its name for itself, also one that another run is writing.
    fs.renameSync(folder, kept)
  } catch (error) {
    if (!isProgram(path.join(kept, 'chromium'))) throw error
  } finally {
    await unguard()
  }
  return path.join(kept, 'chromium')
}

export const chromium = {
  name: 'Chromium',
  variable: 'CHROMIUM_PATH',
  debianPackage: 'chromium',

  async find() {
    const installed = findOnPath('chromium', 'google-chrome', 'google-chrome-stable')
    // A snap sees neither this run's temporary folder nor, in a container, any way to start.
    if (installed && !fs.realpathSync(installed).includes('/snap')) return installed
    return chromiumFromNpm().catch(() => undefined)
  },

  async start(executablePath: string) {
    const libraries = ownLibraries(executablePath)
    const own = fs.existsSync(libraries)
      ? { LD_LIBRARY_PATH: libraries, FONTCONFIG_FILE: ownFonts(executablePath) }
      : {}
    const server = await browserType.launchServer({
      executablePath,
      env: { ...process.env, ...own },
      // The run's guardian does this; playwright's handlers would keep the process alive after SIGTERM.
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
