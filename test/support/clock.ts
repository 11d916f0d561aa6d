import { jest } from '@jest/globals'

/** Shifts the time of day; timers, and servers beside the test, keep theirs. */
export interface Clock {
  pass(milliseconds: number): void
  back(): void
}

export function takeClock(): Clock {
  jest.useFakeTimers({
    doNotFake: [
      'cancelAnimationFrame',
      'cancelIdleCallback',
      'clearImmediate',
      'clearInterval',
      'clearTimeout',
      'hrtime',
      'nextTick',
      'performance',
      'queueMicrotask',
      'requestAnimationFrame',
      'requestIdleCallback',
      'setImmediate',
      'setInterval',
      'setTimeout',
    ],
    now: Date.now(),
  })
  return {
    pass: (milliseconds) => void jest.setSystemTime(Date.now() + milliseconds),
    back: () => void jest.useRealTimers(),
  }
}
