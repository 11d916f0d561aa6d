import fs from 'node:fs'
import { refusalTable } from './refusal-table.js'

let closed = false

/** Prints what closes the run, its last line above all, when the process ends: Jest's own summary and coverage table come after the reporters. */
export function closeRunWith(closing) {
  if (closed) return
  closed = true
  process.once('exit', () => print(`${closing()}\n`))
}

/** Where Jest leaves by its own exit it has muted process.stdout. A pipe may be full for a moment. */
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
  // A run without a test, or one that Jest calls failed for another reason, may not look like a success.
  const atLeast = passed + failed === 0 || !results.success ? 1 : 0
  return `${passed} passed, ${Math.max(failed, atLeast)} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/** Closes a run with the refusal table, and one plain line that any log reader understands. */
export default class ClosingLine {
  results

  onRunComplete(_contexts, results) {
    this.results = results
    closeRunWith(() => refusalTable(results) + closingLine(results))
  }

  /** Makes Jest fail a run in which every test was filtered out. */
  getLastError() {
    const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = this.results ?? {}
    if (numPassedTests + numFailedTests + numRuntimeErrorTestSuites === 0) return new Error('No test was run')
  }
}
