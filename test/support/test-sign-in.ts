import type { TestPortal } from './portal.ts'
import { postResponse } from './scene.ts'
import { formIn, next, type Seen, type Visitor } from './visitor.ts'

type Part = { portal: TestPortal; visitor: Visitor }

/** Runs a test sign-in by its link, and returns the report. */
export async function testSignIn({ portal, visitor }: Part, slug = 'draft'): Promise<Seen> {
  const { url } = await portal.sso.testSignIns.link(slug, { actor: 'grace' })
  return await testSignInWith({ portal, visitor }, url)
}

export async function testSignInWith({ portal, visitor }: Part, url: string): Promise<Seen> {
  return await onward({ portal, visitor }, await press({ portal, visitor }, url))
}

/** Opens a page and posts its form. */
export async function press({ portal, visitor }: Part, url: string): Promise<Seen> {
  const { action, fields } = formIn((await visitor.get(url)).body)
  return await visitor.post(portal.url + action, fields)
}

/** Follows the page that navigates by itself, up to the report. */
export async function onward({ portal, visitor }: Part, page: Seen): Promise<Seen> {
  const address = next(page)
  if (address === undefined) return page
  const seen = await visitor.open(address)
  return seen.url.startsWith(portal.url) ? seen : await postResponse({ portal, visitor }, seen)
}

export interface ReportedLine {
  result: string
  title: string
  text: string
}

/** The visible lines of a report. */
export function linesOf({ body }: Seen): ReportedLine[] {
  const items = body.matchAll(/<li class="sso-check-line sso-check-([\w-]+)">([\s\S]*?)<\/li>/g)
  return [...items].map(([, result = '', html = '']) => {
    const [, title = ''] = /<\/span> ([^<]*?) ?</.exec(html) ?? []
    return { result, title, text: textOf(html) }
  })
}

export function textOf(html: string): string {
  return html
    .replace(/<\/?(?:bdi|strong|code)>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#34;|&quot;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&amp;/g, '&')
    .replace(/\s+/g, ' ')
    .trim()
}
