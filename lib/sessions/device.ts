import bowser from 'bowser'

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

const known = new Set<string | undefined>([
  ...Object.values(bowser.BROWSER_MAP),
  ...Object.values(bowser.OS_MAP),
])

/** Of one that it does not know the library repeats what the browser says: a stranger's text, in mails and on pages of ours. */
function named(name: string | undefined): string | undefined {
  return known.has(name) ? name : undefined
}
