import type { Request, Response } from 'express'
import type { Pages } from './pages.ts'

/**
 * Sends the browser from a posted form to another site. Chrome applies the form's `form-action` to redirects after a POST, so
 * this page navigates instead. The URL is in the body, because proxies limit headers (nginx: 4 KB) and it may hold an ID token.
 *
 * @param name of the destination, as the user knows it
 */
export async function sendRedirectPage(
  pages: Pages,
  req: Request,
  res: Response,
  { href, name, locals = {} }: { href: string; name: string; locals?: object },
): Promise<void> {
  await pages.show(req, res, 'onward', { ...locals, href, name })
}
