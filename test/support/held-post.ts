import { once } from 'node:events'
import http from 'node:http'
import type { TestPortal } from './portal.ts'
import type { Visitor } from './visitor.ts'

/** The head of a post is sent, as from a page of ours. @returns sends the rest, and gives the answer */
export function holdPost(
  portal: TestPortal,
  visitor: Visitor,
  path: string,
  form: Record<string, string>,
): () => Promise<Pick<http.IncomingMessage, 'statusCode' | 'headers'>> {
  const cookie = [...visitor.cookies.get(portal.url)!].map(([name, value]) => `${name}=${value}`).join('; ')
  const body = new URLSearchParams(form).toString()
  const sent = http.request(portal.url + path, {
    method: 'POST',
    headers: {
      cookie,
      accept: 'text/html',
      origin: portal.url,
      'sec-fetch-site': 'same-origin',
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': body.length,
    },
  })
  sent.flushHeaders()
  return async () => {
    sent.end(body)
    const [answer] = (await once(sent, 'response')) as [http.IncomingMessage]
    answer.resume()
    return answer
  }
}
