import fs from 'node:fs'
import { refusalTable } from './refusal-table.js'

let closed = false

/** Prints the last lines of the run when the process ends, because Jest prints its summary and coverage after the reporters. */
export function closeRunWith(closing) {
  if (closed) return
  closed = true
  process.once('exit', () => print(`${closing()}\n`))
}

/** Writes to the file descriptor, because Jest mutes process.stdout when it exits. A pipe may be full temporarily. */
function print(text) {
  const late = Date.now() + 5000
  for (let left = Buffer.from(text); left.length > 0; ) {
    try {
      left = left.subarray(fs.writeSync(1, left))
    } catch (error) {
      if (error.code !== 'EAGAIN' || Date.now() > late) return
    }
  }
}

export function closingLine(results) {
  const { numPassedTests: passed, numPendingTests, numTodoTests } = results
  const failed = results.numFailedTests + results.numRuntimeErrorTestSuites
  const skipped = numPendingTests + numTodoTests
  // A run without tests, or one that failed for another reason, must not look successful.
  const atLeast = passed + failed === 0 || !results.success ? 1 : 0
  return `${passed} passed, ${Math.max(failed, atLeast)} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/** Ends a run with the refusal table and one line with the totals. */
export default class ClosingLine {
  results

  onRunComplete(_contexts, results) {
    this.results = results
    closeRunWith(() => refusalTable(results) + closingLine(results))
  }

  /** Makes Jest fail a run in which all tests were filtered out. */
  getLastError() {
    const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = this.results ?? {}
    if (numPassedTests + numFailedTests + numRuntimeErrorTestSuites === 0) return new Error('No test was run')
  }
}
