import { type ActOptions, resolveActOptions } from '../shared/act-options.ts'
import type { TestSignInLink, TestSignIns } from './test-sign-in.ts'

/** Test sign-ins, for code and the command line. */
export class TestSignInsApi {
  readonly #testSignIns: TestSignIns
  readonly #portal: string

  /** @internal */
  constructor(testSignIns: TestSignIns, portal = 'default') {
    this.#testSignIns = testSignIns
    this.#portal = portal
  }

  /**
   * A URL for an administrator's browser that starts a test sign-in. It works once and expires after 15 minutes.
   *
   * @throws ManagementError `not_found`
   */
  async link(slug: string, options: ActOptions = {}): Promise<TestSignInLink> {
    return await this.#testSignIns.link(slug, resolveActOptions(options, this.#portal))
  }

  /** Returns the outcome of a test sign-in. @param token of the link */
  async outcome(token: string): Promise<'waiting' | 'passed' | 'failed' | 'expired'> {
    return await this.#testSignIns.outcome(token)
  }
}
