import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from '@jest/globals'
import { describeHost } from './describe-host.ts'

describeHost('express-5-typescript', {
  entry: 'dist/host.js',
  build: [
    ['passes the strictest type check, library declarations included', 'tsc'],
    ['passes it with TypeScript 5.4, too', 'npm', 'run', 'check:typescript-5'],
  ],
})

// Without `node_modules` above it, so that the bundle has to be complete.
const deployed = path.join(process.env.TEST_RUN_FOLDER!, 'deployed')

describeHost(
  'express-5-typescript',
  {
    title: 'express-5-typescript, as one file with the pages beside it',
    entry: path.join(deployed, 'host.mjs'),
    build: [
      [
        'passes the type check with the module resolution of bundlers, and is bundled',
        'npm',
        'run',
        'bundle',
      ],
      ['is deployed', 'cp', '-R', 'bundle', deployed],
    ],
  },
  (host) => {
    it('fails at start with advice if its pages are missing', async () => {
      const alone = path.join(process.env.TEST_RUN_FOLDER!, 'alone.mjs')
      fs.copyFileSync(path.join(host.folder, 'bundle/host.mjs'), alone)
      await expect(host.start(alone)).rejects.toThrow(/exclude express-portal-sso from your bundle, or copy/)
    })
  },
)
