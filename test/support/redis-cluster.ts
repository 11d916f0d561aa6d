import { setTimeout as delay } from 'node:timers/promises'
import { createClient, createCluster } from 'redis'
import { findRedis, startRedis } from './services/redis.ts'
import { freePort, isFree, type Stop } from './services/server.ts'

export type Cluster = Awaited<ReturnType<typeof connectTo>>

export interface OwnCluster {
  ports: number[]
  /** Ends the first node immediately. */
  killFirst(): void
  /** Returns a connected client, which the test closes. */
  connect(): Promise<Cluster>
  stop(): Promise<void>
}

const slots = 16_384
const masters = 3

/** False if only `REDIS_URL` is given: a cluster needs the program. */
export const hasClusterProgram = (): boolean => findRedis() !== undefined

/** Starts a real Redis Cluster of three masters. @param replicas for each of them, which take over after a second */
export async function startRedisCluster(replicas: 0 | 1 = 0): Promise<OwnCluster> {
  const program = findRedis()
  if (!program) throw new Error('redis-server is not installed')
  const ports: number[] = []
  const stops: Stop[] = []
  const pids: number[] = []
  const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', replicas > 0 ? '1000' : '15000']
  try {
    for (let node = 0; node < masters * (1 + replicas); node++) {
      const port = await freeClusterPort()
      stops.push(await startRedis(program, port, settings, (pid) => pids.push(pid)))
      ports.push(port)
    }
    await join(ports)
  } catch (error) {
    for (const stop of stops) await stop()
    throw error
  }
  return {
    ports,
    killFirst: () => void process.kill(pids[0]!, 'SIGKILL'),
    connect: () => connectTo(ports),
    async stop() {
      for (const stop of stops) await stop()
    },
  }
}

/** Redis also uses the port 10,000 above, which must be below the system's range of ephemeral ports. */
async function freeClusterPort(): Promise<number> {
  for (let attempts = 0; attempts < 200; attempts++) {
    const port = await freePort()
    if (port + 10_000 < 32_768 && (await isFree(port + 10_000))) return port
  }
  throw new Error('no free port was found for a node of the cluster')
}

async function connectTo(ports: readonly number[]) {
  const cluster = createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) })
  cluster.on('error', () => {})
  await cluster.connect()
  return cluster
}

async function join(ports: readonly number[]): Promise<void> {
  const clients = ports.map((port) => createClient({ url: `redis://127.0.0.1:${port}` }))
  for (const client of clients) client.on('error', () => {})
  try {
    await Promise.all(clients.map((client) => client.connect()))
    for (const [at, client] of clients.entries()) {
      const [from, to] = [at, at + 1].map((share) => Math.floor((share * slots) / masters)) as [
        number,
        number,
      ]
      if (at < masters) await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', String(from), String(to - 1)])
      if (at > 0) await client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(ports[0])])
    }
    await Promise.all(clients.map((client) => waitForCluster(client, ports.length)))
    for (const [at, client] of clients.slice(masters).entries()) {
      const id = String(await clients[at]!.sendCommand(['CLUSTER', 'MYID']))
      await client.sendCommand(['CLUSTER', 'REPLICATE', id])
      await waitForReplica(client)
    }
  } finally {
    for (const client of clients) client.destroy()
  }
}

interface Node {
  sendCommand(command: string[]): Promise<unknown>
}

/** Resolves when the replica has all data. @throws Error if it takes longer than 10 s */
export async function waitForReplica(client: Node): Promise<void> {
  for (let attempts = 0; attempts < 200; attempts++) {
    if (/master_link_status:up/.test(String(await client.sendCommand(['INFO', 'replication'])))) return
    await delay(50)
  }
  throw new Error('the replica did not find its master')
}

/** Resolves when the node knows all others and their slots. */
async function waitForCluster(client: Node, nodes: number): Promise<void> {
  for (let attempts = 0; attempts < 200; attempts++) {
    const info = String(await client.sendCommand(['CLUSTER', 'INFO']))
    if (/cluster_state:ok/.test(info) && info.includes(`cluster_known_nodes:${nodes}`)) return
    await delay(50)
  }
  throw new Error('the nodes of the cluster did not find each other')
}
