import fs from 'node:fs'
import TestSequencer from '@jest/test-sequencer'

const isSlow = ({ path }) => fs.readFileSync(path, 'utf8').startsWith('/** @slow ')

/** Starts the slow files first even before Jest has measured them, so that no worker waits for the last one. */
export default class SlowestFirst extends TestSequencer {
  sort(tests) {
    const sorted = super.sort(tests)
    return [...sorted.filter(isSlow), ...sorted.filter((test) => !isSlow(test))]
  }
}
