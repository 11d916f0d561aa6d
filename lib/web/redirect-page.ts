import type { Request, Response } from 'express'
import type { Pages } from './pages.ts'

/**
 * Leads from a posted form to another site: Chrome applies the `form-action` of the page that holds the form, which may be the
 * host's, to every redirect after the post. A page that goes on by itself is none. It says where in its body: an ID token goes along,
 * and a proxy that gives all headers together 4 KB (nginx) would answer in our place, without what they set.
 *
 * @param href as `URL` spells it; or a path of ours that leads there
 * @param name of who is there
 */
export async function sendRedirectPage(
  pages: Pages,
  req: Request,
  res: Response,
  { href, name, locals = {} }: { href: string; name: string; locals?: object },
): Promise<void> {
  await pages.show(req, res, 'onward', { ...locals, href, name })
}
