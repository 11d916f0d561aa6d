import asyncHooks from 'node:async_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { TestEnvironment } from 'jest-environment-node'

/** Time for late errors of a test file to appear. */
const graceMs = 100

/** Warnings about leaks and broken time limits, which are hard to find in production. */
const failingWarnings = ['MaxListenersExceededWarning', 'TimeoutOverflowWarning', 'TimeoutNegativeWarning']

const { AsyncLocalStorage } = asyncHooks

/**
 * Tells Jest which test is running. Jest's own AsyncLocalStorage makes promises five times as expensive on Node 20, and more with
 * each file that the worker has run. This needs no asynchronous context because no test is concurrent.
 */
class RunningTest {
  #store

  getStore() {
    return this.#store
  }

  run(store, callback) {
    const outer = this.#store
    this.#store = store
    return callback().finally(() => {
      this.#store = outer
    })
  }
}

/**
 * Fails a test file for errors that would end the portal's process or warn its operator. Jest itself notices rejections and
 * exceptions only while a test runs.
 */
export default class WatchfulEnvironment extends TestEnvironment {
  heard = []
  storages = []
  hear = (error) => this.heard.push(error)
  hearWarning = (warning) => {
    if (failingWarnings.includes(warning.name)) this.heard.push(warning)
  }

  async setup() {
    await super.setup()
    process.on('uncaughtException', this.hear)
    process.on('unhandledRejection', this.hear)
    process.on('warning', this.hearWarning)
    // Only for Jest's test framework, which is loaded next.
    asyncHooks.AsyncLocalStorage = RunningTest
  }

  handleTestEvent({ name }) {
    const { storages } = this
    if (name !== 'setup') return
    asyncHooks.AsyncLocalStorage = class extends AsyncLocalStorage {
      constructor(...options) {
        super(...options)
        storages.push(this)
      }
    }
  }

  async teardown() {
    await wait(graceMs)
    process.off('uncaughtException', this.hear)
    process.off('unhandledRejection', this.hear)
    process.off('warning', this.hearWarning)
    asyncHooks.AsyncLocalStorage = AsyncLocalStorage
    // Those of packages would slow down the next files too.
    for (const storage of this.storages) storage.disable()
    await super.teardown()
    if (this.heard.length === 0) return
    const errors = this.heard.map((error) => error?.stack ?? String(error))
    throw new Error(`A test left an uncaught error or a warning:\n${errors.join('\n')}`)
  }
}
