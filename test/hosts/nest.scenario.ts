import { describeHost } from './describe-host.ts'

describeHost('nest', { entry: 'dist/main.js', build: [['passes the strict type check as CommonJS', 'tsc']] })
