import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { arrived } from './http-requests.ts'
import type { TestPortal } from './portal.ts'
import type { Visitor } from './visitor.ts'

/**
 * Sends the head of a post and waits until the portal asks for its body, so the portal has authenticated the user by then.
 *
 * @returns sends the body
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
  const received = arrived(path)
  sent.flushHeaders()
  const request = await received
  while (!request.readableFlowing) await sleep(5)
  return async () => {
    sent.end(body)
    const [answer] = (await once(sent, 'response')) as [http.IncomingMessage]
    answer.resume()
    return answer
  }
}
