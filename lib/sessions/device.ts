import bowser from 'bowser'
import { loggable } from '../loggable.ts'

/** What a person recognises a browser by. Nothing finer is kept. */
export interface Device {
  /** such as `Firefox` */
  browser: string | undefined
  /** such as `Windows` */
  system: string | undefined
}

// Longer ones are nobody's browser, and regular expressions look at it.
const longest = 500

/** @param userAgent as the browser sent it, which may be anything */
export function deviceOf(userAgent: string | undefined): Device {
  if (!userAgent || userAgent.length > longest) return { browser: undefined, system: undefined }
  const { browser, os } = bowser.parse(userAgent)
  return { browser: named(browser.name), system: named(os.name) }
}

function named(name: string | undefined): string | undefined {
  return (name && loggable(name, 60)) || undefined
}
