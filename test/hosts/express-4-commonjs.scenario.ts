import { describeHost } from './describe-host.ts'

describeHost('express-4-commonjs', { entry: 'host.js' })
