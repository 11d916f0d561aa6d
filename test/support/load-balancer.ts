import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from '@jest/globals'
import type { Instance } from './start-instance.ts'
import type { Seen } from './visitor.ts'

export interface LoadBalancer {
  /** public URL of all instances */
  url: string
  serving: Instance | undefined
  /** Sends requests to this instance. */
  on(instance: Instance, send: () => Promise<Seen>): Promise<Seen>
  close(): void
}

/** Starts a reverse proxy to the instance that is serving. */
export async function startLoadBalancer(): Promise<LoadBalancer> {
  const server = http.createServer(forward).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const balancer: LoadBalancer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    serving: undefined,
    async on(instance, send) {
      balancer.serving = instance
      const seen = await send()
      expect(seen.headers.get('x-instance')).toBe(String(instance.port))
      return seen
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
  return balancer

  function forward(req: http.IncomingMessage, res: http.ServerResponse): void {
    const { method, url: path, headers } = req
    const onward = http.request({ host: '127.0.0.1', port: balancer.serving?.port, method, path, headers })
    onward.on('response', (response) => {
      res.writeHead(response.statusCode!, response.headers)
      response.pipe(res)
      // The instance was killed while it was sending the response.
      response.once('close', () => response.complete || res.destroy())
    })
    onward.on('error', (error) => res.writeHead(504).end(String(error)))
    req.pipe(onward)
  }
}
