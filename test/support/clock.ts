import { jest } from '@jest/globals'

/** Shifts the time of this process. Servers in other processes keep theirs. */
export interface Clock {
  pass(milliseconds: number): void
  back(): void
}

/** For code that needs the database's time, where its clock and ours are the same. */
export const sharedClock = {
  offsetMs: 0,
  isWrong: false,
  providerOffsetMs: undefined,
  compareWithProvider: () => {},
  now: () => Date.now(),
  measure: async () => Date.now(),
}

const untouched = [
  'cancelAnimationFrame',
  'cancelIdleCallback',
  'clearImmediate',
  'clearInterval',
  'hrtime',
  'nextTick',
  'performance',
  'queueMicrotask',
  'requestAnimationFrame',
  'requestIdleCallback',
  'setImmediate',
  'setInterval',
] as const

/** Fakes the time of day, but no timers. */
export function takeClock(): Clock {
  jest.useFakeTimers({ doNotFake: [...untouched, 'clearTimeout', 'setTimeout'], now: Date.now() })
  return {
    pass: (milliseconds) => void jest.setSystemTime(Date.now() + milliseconds),
    back: () => void jest.useRealTimers(),
  }
}

/** Fakes timers, so that time limits end only by `pass`, however slow the machine is. The time of day keeps running. */
export function takeTimers(): Clock {
  jest.useFakeTimers({ doNotFake: [...untouched, 'Date'] })
  const native = jest.spyOn(AbortSignal, 'timeout').mockImplementation((milliseconds) => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(new DOMException('Timed out', 'TimeoutError')), milliseconds)
    return controller.signal
  })
  return {
    pass: (milliseconds) => void jest.advanceTimersByTime(milliseconds),
    back() {
      native.mockRestore()
      jest.useRealTimers()
    },
  }
}
