import type { Request } from 'express'

/** Whether a person is to read the answer, rather than a script that wants JSON. */
export function wantsPage(req: Request): boolean {
  // A fetch() of a page's script says `Accept: */*` like many a tool, but its destination is empty.
  if (req.get('sec-fetch-dest') === 'empty') return false
  return req.accepts(['html', 'json']) === 'html'
}
