import { setTimeout as wait } from 'node:timers/promises'
import { TestEnvironment } from 'jest-environment-node'

/** Time for late errors of a test file to appear. */
const graceMs = 100

/** Warnings about leaks and broken time limits, which are hard to find in production. */
const failingWarnings = ['MaxListenersExceededWarning', 'TimeoutOverflowWarning', 'TimeoutNegativeWarning']

/**
 * Fails a test file for errors that would end the portal's process or warn its operator. Jest itself notices rejections and
 * exceptions only while a test runs.
 */
export default class WatchfulEnvironment extends TestEnvironment {
  heard = []
  hear = (error) => this.heard.push(error)
  hearWarning = (warning) => {
    if (failingWarnings.includes(warning.name)) this.heard.push(warning)
  }

  async setup() {
    await super.setup()
    process.on('uncaughtException', this.hear)
    process.on('unhandledRejection', this.hear)
    process.on('warning', this.hearWarning)
  }

  async teardown() {
    await wait(graceMs)
    process.off('uncaughtException', this.hear)
    process.off('unhandledRejection', this.hear)
    process.off('warning', this.hearWarning)
    await super.teardown()
    if (this.heard.length === 0) return
    const errors = this.heard.map((error) => error?.stack ?? String(error))
    throw new Error(`A test left an uncaught error or a warning:\n${errors.join('\n')}`)
  }
}
