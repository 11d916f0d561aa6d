import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface ConnectProxy {
  url: string
  /** requested targets, such as `provider.example:443` */
  asked: string[]
  /** all data that was sent through the proxy to the servers */
  seen(): string
  /** Response instead of a tunnel, such as `407 Proxy Authentication Required`; `never`: no response. */
  refuses: string | undefined
  close(): Promise<void>
}

/** A proxy that resolves every name to this machine (`CONNECT`, RFC 9110, 9.3.6). */
export async function startConnectProxy(): Promise<ConnectProxy> {
  const chunks: Buffer[] = []
  const sockets = new Set<Socket>()
  const server = createServer((req, res) => {
    proxy.asked.push(`${req.method} ${req.url}`)
    res.end('this is a proxy')
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  server.on('connect', (req, socket: Socket, head: Buffer) => {
    proxy.asked.push(req.url!)
    chunks.push(Buffer.from(JSON.stringify(req.headers)))
    if (proxy.refuses === 'never') return
    if (proxy.refuses !== undefined) {
      socket.end(`HTTP/1.1 ${proxy.refuses}\r\n\r\n`)
      return
    }
    const target = connect(Number(req.url!.split(':').at(-1)), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      target.write(head)
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      target.pipe(socket).pipe(target)
    })
    sockets.add(target)
    target.on('error', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy: ConnectProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    seen: () => Buffer.concat(chunks).toString('latin1'),
    refuses: undefined,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
  return proxy
}
