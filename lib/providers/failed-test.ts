import { ConfigurationError } from '../errors.ts'
import type { Check } from './provider.ts'

/** A provider that cannot work is not saved: names each failed check and says what to do. */
export class FailedTest extends ConfigurationError {
  readonly checks: readonly Check[]

  constructor(checks: readonly Check[]) {
    const failed = checks.filter(({ result }) => result === 'failed')
    super(failed.map(({ finding, remedy }) => (remedy ? `${finding} – ${remedy}` : finding)).join('; '))
    this.name = 'FailedTest'
    this.checks = checks
  }
}
