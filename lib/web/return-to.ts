// It travels in cookies, and browsers drop one of more than 4 KB. An umlaut takes six characters of it, a kanji nine.
const longest = 1500

/**
 * Lets through local paths only. Who plants another address in a sign-in link gets people who have just signed in, and
 * trust what they see, onto a page of his own (open redirect).
 *
 * @returns the path with query and fragment as a browser would read it, or `undefined`
 */
export function safeReturnTo(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > longest) return undefined
  // Browsers read `\` as `/` and drop tabs and line breaks: `/\evil.example` and `/<TAB>/evil.example` lead away.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
  if (!/^\/(?!\/)[^\\\u0000-\u0020\u007f]*$/.test(value)) return undefined
  // Such a path always parses, and what is taken of it names no host.
  const { pathname, search, hash } = new URL(value, 'http://portal.invalid')
  // Dot segments may have left a double slash in front (`/.//evil.example`).
  if (pathname.startsWith('//')) return undefined
  const path = pathname + search + hash
  return path.length > longest ? undefined : path
}
