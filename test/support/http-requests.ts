import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'

/** Resolves with the next request for `path` to a server of this process, as soon as its head has arrived. */
export const arrived = (path: string): Promise<IncomingMessage> => next('http.server.request.start', path)

/** Resolves when a server of this process has responded to the next request for `path`. */
export const responded = (path: string): Promise<IncomingMessage> => next('http.server.response.finish', path)

function next(channel: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve) => {
    subscribe(channel, function listen(message) {
      const { request } = message as { request: IncomingMessage }
      if (request.url !== path) return
      unsubscribe(channel, listen)
      resolve(request)
    })
  })
}
