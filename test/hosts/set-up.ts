import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
// @ts-expect-error Jest loads reporters without a transform, so this one is JavaScript without types.
import { closeRunWith } from '../support/closing-line.js'
import { progress } from '../support/services/programs.ts'
import setUpServices from '../support/set-up.ts'
import { startProvider } from './provider.ts'

const root = path.resolve(import.meta.dirname, '../..')

/** Builds and packs the package as for a release. */
async function pack(folder: string): Promise<string> {
  progress('Packing express-portal-sso')
  await promisify(execFile)('npm', ['pack', '--pack-destination', folder], { cwd: root, maxBuffer: 1e8 })
  const tarball = fs.readdirSync(folder).find((file) => file.endsWith('.tgz'))
  return path.join(folder, tarball!)
}

/** Starts the services, one provider for all hosts, and packs the tarball that they install. */
export default async function setUp(): Promise<void> {
  await setUpServices()
  const stopServices = globalThis.stopTestServices
  try {
    const provider = await startProvider()
    globalThis.stopTestServices = async () => {
      provider.stop()
      await stopServices()
    }
    process.env.TEST_ISSUER = provider.issuer
    process.env.TEST_TARBALL = await pack(process.env.TEST_RUN_FOLDER!)
  } catch (error) {
    // Jest calls neither a reporter nor the tear-down if the set-up fails.
    closeRunWith(() => '0 passed, 1 failed')
    await globalThis.stopTestServices()
    throw error
  }
}
