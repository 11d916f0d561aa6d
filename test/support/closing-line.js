import fs from 'node:fs'

let closed = false

/** Prints the line when the process ends: Jest's own summary and coverage table come after the reporters. */
export function closeRunWith(line) {
  if (closed) return
  closed = true
  process.once('exit', () => print(`${line()}\n`))
}

/** Where Jest leaves by its own exit it has muted process.stdout. A pipe may be full for a moment. */
function print(text) {
  const late = Date.now() + 5000
  for (;;) {
    try {
      return fs.writeSync(1, text)
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

/** Closes a run with one plain line that any log reader understands. */
export default class ClosingLine {
  results

  onRunComplete(_contexts, results) {
    this.results = results
    closeRunWith(() => closingLine(results))
  }

  /** Makes Jest fail a run in which every test was filtered out. */
  getLastError() {
    const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = this.results ?? {}
    if (numPassedTests + numFailedTests + numRuntimeErrorTestSuites === 0) return new Error('No test was run')
  }
}
