import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from '@jest/globals'
import { describeHost } from './describe-host.ts'

// Without `node_modules` above it, so that the bundle has to be complete.
const deployed = path.join(process.env.TEST_RUN_FOLDER!, 'deployed')

describeHost(
  'bundler',
  {
    entry: path.join(deployed, 'host.mjs'),
    build: [
      ['passes the type check with the module resolution of bundlers', 'tsc'],
      ['is bundled', 'npm', 'run', 'bundle'],
      ['is deployed as one file, with the pages beside it', 'cp', '-R', 'dist', deployed],
    ],
  },
  (host) => {
    it('is told at start if it bundles the plugin without its pages', async () => {
      const alone = path.join(process.env.TEST_RUN_FOLDER!, 'alone.mjs')
      fs.copyFileSync(path.join(host.folder, 'dist/host.mjs'), alone)
      await expect(host.start(alone)).rejects.toThrow(/exclude express-portal-sso from your bundle, or copy/)
    })
  },
)
