import { once } from 'node:events'
import http from 'node:http'
import type { TestPortal } from './portal.ts'
import type { Visitor } from './visitor.ts'

/**
 * A post of which the head is sent, and looked at.
 *
 * @returns sends the rest
 */
export async function holdPost(
  portal: TestPortal,
  visitor: Visitor,
  path: string,
  body: string,
): Promise<() => Promise<http.IncomingMessage>> {
  const cookie = [...visitor.cookies.get(portal.url)!].map(([name, value]) => `${name}=${value}`).join('; ')
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
  // Until it has been looked at who it is.
  await new Promise((resolve) => setTimeout(resolve, 200))
  return async () => {
    sent.end(body)
    const [answer] = (await once(sent, 'response')) as [http.IncomingMessage]
    answer.resume()
    return answer
  }
}
