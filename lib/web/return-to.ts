// The path is stored in cookies, and proxies refuse a response with headers over 4 KB (nginx by default). It counts percent-encoded:
// an umlaut takes six characters.
const maxLength = 1000

/**
 * Accepts local paths only. In a sign-in link, an attacker could otherwise plant the address of a look-alike page to which a
 * user is sent right after a sign-in (open redirect).
 *
 * @returns path, query and fragment as a browser parses them; `undefined` for everything else
 */
export function safeReturnTo(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > maxLength) return undefined
  // Most paths. The URL parser changes none of these characters.
  if (/^\/(?!\/)[\w/?=&-]*$/.test(value)) return value
  // Browsers read `\` as `/` and drop tabs and line breaks: `/\evil.example` and `/<TAB>/evil.example` lead to another site.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it refuses control characters
  if (!/^\/(?!\/)[^\\\u0000-\u0020\u007f]*$/.test(value)) return undefined
  const { pathname, search, hash } = new URL(value, 'http://portal.invalid')
  // Resolved dot segments can leave a leading double slash (`/.//evil.example`).
  if (pathname.startsWith('//')) return undefined
  const path = pathname + search + hash
  return path.length > maxLength ? undefined : path
}
