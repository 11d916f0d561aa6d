import { randomUUID } from 'node:crypto'
import { CheckError } from './errors.ts'

/** Units in milliseconds. */
export const SECOND = 1000
export const MINUTE: number = 60 * SECOND
export const HOUR: number = 60 * MINUTE
export const DAY: number = 24 * HOUR

/** @returns the time as stored in rows */
export function isoAt(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}

/** how far the clocks of the portal and a provider may differ */
export const clockToleranceSeconds = 30

/** Rejects if the promise does not settle in time; its late result or rejection is ignored. */
export function withTimeout<T>(timeoutMs: number, promise: PromiseLike<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onTimeout = () => reject(new CheckError('timeout', `no response within ${timeoutMs} ms`))
    // If the event loop was blocked, responses that have arrived come first.
    const timer = setTimeout(() => setImmediate(onTimeout), timeoutMs)
    // Not `finally` or `Promise.race`, whose extra promises every request would pay for.
    const settle =
      <Value>(act: (value: Value) => void) =>
      (value: Value) => {
        clearTimeout(timer)
        act(value)
      }
    promise.then(settle(resolve), settle(reject))
  })
}

/** @returns a UUID of version 7 (RFC 9562, 5.7). It begins with the time, so that new rows are neighbours in the index. */
export function timeOrderedUuid(): string {
  const time = Date.now().toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
