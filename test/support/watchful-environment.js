import { setTimeout as wait } from 'node:timers/promises'
import { TestEnvironment } from 'jest-environment-node'

/** milliseconds that what a file has left behind may still come to light */
const grace = 100

/** A leak, or a time limit that is none: nothing that Node would end a process for, and in production hours of searching. */
const telling = ['MaxListenersExceededWarning', 'TimeoutOverflowWarning', 'TimeoutNegativeWarning']

/**
 * Fails a test file for whatever would have ended the portal's process or warned its operator. Jest itself hears rejections
 * and exceptions only while a test runs.
 */
export default class WatchfulEnvironment extends TestEnvironment {
  heard = []
  hear = (error) => this.heard.push(error)
  hearWarning = (warning) => {
    if (telling.includes(warning.name)) this.heard.push(warning)
  }

  async setup() {
    await super.setup()
    process.on('uncaughtException', this.hear)
    process.on('unhandledRejection', this.hear)
    process.on('warning', this.hearWarning)
  }

  async teardown() {
    await wait(grace)
    process.off('uncaughtException', this.hear)
    process.off('unhandledRejection', this.hear)
    process.off('warning', this.hearWarning)
    await super.teardown()
    if (this.heard.length === 0) return
    const told = this.heard.map((error) => error?.stack ?? String(error))
    throw new Error(`a test left something behind that nobody caught:\n${told.join('\n')}`)
  }
}
