import { describeHost } from './describe-host.ts'

describeHost('objection', { entry: 'host.js' })
