/**
 * Sessions that their store has, or had. A request that began before its session ended, and writes into it, would write it
 * anew at its end: whoever holds a stolen cookie keeps such a request running (a long upload, say) until the person has
 * signed out. So what was there once is only ever written over.
 */
const written = new WeakSet<object>()

export function asWritten<T extends object>(data: T): T {
  written.add(data)
  return data
}

export function wasWritten(data: object): boolean {
  return written.has(data)
}
