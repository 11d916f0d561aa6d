import { describeHost } from './describe-host.ts'

describeHost('express-5-typescript', {
  entry: 'dist/host.js',
  build: [
    ['passes the strictest type check, library declarations included', 'tsc'],
    ['passes it with TypeScript 5.4, too', 'npm', 'run', 'check:typescript-5'],
  ],
})
