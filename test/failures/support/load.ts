import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { FaultyProvider } from '../../support/faulty-provider.ts'
import type { Instance } from '../../support/start-instance.ts'
import { type Seen, Visitor } from '../../support/visitor.ts'

const clientCount = 20
const requestIntervalMs = 200
const signInIntervalMs = 1000
const controlIntervalMs = 100
const preparedCount = 10
/** A request that is still waiting then has not been answered. */
const abandonMs = 30_000

export interface Sample {
  /** `control` needs no part that can break: its wait is the machine's. */
  kind: 'page' | 'start' | 'callback' | 'control'
  /** When it was sent, on the clock of `performance.now()`. */
  at: number
  waitMs: number
  /** 0 if there was no response. */
  status: number
  /** The response treats a signed-in user as signed out. */
  signedOut: boolean
  retryAfter: string | undefined
  /** The reference on the page of a failed sign-in. */
  reference: string | undefined
}

/** Each client has its own user. The others sign in during the load. */
export const people = Array.from({ length: clientCount + 10 }, (_, n) => ({
  sub: `person-${n}`,
  email: `person-${n}@example.com`,
  email_verified: true,
  name: `Person ${n}`,
}))

/** Makes the provider sign in each client's user once, and then the others in turn. */
export function signInPeople(provider: FaultyProvider): void {
  let next = 0
  provider.nextPerson = () => {
    const person = people[next]!
    next = next + 1 < people.length ? next + 1 : clientCount
    return person
  }
}

const referenceOn = (body: string): string | undefined => />([A-Z0-9]{8})</.exec(body)?.[1]

/**
 * The light load of all scenarios: 20 signed-in clients that open a guarded page five times a second each, and one sign-in a second.
 * Clients do not wait for a response before they send the next request.
 */
export class Load {
  readonly samples: Sample[] = []
  readonly #url: string
  readonly #instances: readonly Instance[]
  readonly #slug: string
  /** Opens a connection for each request that waits. */
  readonly #agent = new http.Agent({ keepAlive: true })
  readonly #controlAgent = new http.Agent({ keepAlive: true })
  readonly #running = new Set<Promise<void>>()
  #stopped = false
  /** Sign-ins that the provider has finished, for the time when none can be started. */
  readonly #prepared: { visitor: Visitor; response: string }[] = []

  /** @param url public URL of the instances */
  constructor(url: string, instances: readonly Instance[], slug = 'acme') {
    this.#url = url
    this.#instances = instances
    this.#slug = slug
  }

  /** Signs in all clients, and starts to send requests. */
  async start(): Promise<void> {
    const cookies: string[] = []
    for (let client = 0; client < clientCount; client++) {
      const visitor = new Visitor()
      const { status } = await visitor.open(`${this.#url}/login/${this.#slug}?returnTo=/portal`)
      if (status !== 200) throw new Error(`client ${client} could not sign in: status ${status}`)
      cookies.push(cookieOf(visitor, this.#url))
    }
    for (let n = 0; n < preparedCount; n++) {
      const visitor = new Visitor()
      const started = await visitor.get(this.#signInUrl)
      this.#prepared.push({ visitor, response: (await visitor.get(started.location!)).location! })
    }
    for (const [client, cookie] of cookies.entries())
      this.#repeat(requestIntervalMs, (client / clientCount) * requestIntervalMs, () =>
        this.#open('page', this.#instances[client % this.#instances.length]!, cookie),
      )
    this.#repeat(signInIntervalMs, 0, () => this.#signIn())
    this.#repeat(controlIntervalMs, 0, () => this.#open('control', this.#instances[0]!, ''))
  }

  /** Waits for the responses that are due. */
  async stop(): Promise<void> {
    this.#stopped = true
    while (this.#running.size > 0) await Promise.all(this.#running)
    this.#agent.destroy()
    this.#controlAgent.destroy()
  }

  /** Samples that were sent from a time on, and before another. */
  between(from: number, to = Number.POSITIVE_INFINITY, ...kinds: Sample['kind'][]): Sample[] {
    return this.samples.filter(
      ({ at, kind }) => at >= from && at < to && (kinds.length === 0 || kinds.includes(kind)),
    )
  }

  #repeat(intervalMs: number, offsetMs: number, send: () => Promise<void>): void {
    const run = async () => {
      // Due times, because timers are late on a busy machine.
      for (let due = performance.now() + offsetMs; !this.#stopped; due += intervalMs) {
        await delay(Math.max(0, due - performance.now()))
        if (!this.#stopped) this.#track(send())
      }
    }
    this.#track(run())
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#running.delete(tracked))
    this.#running.add(tracked)
  }

  async #open(kind: 'page' | 'control', { port }: Instance, cookie: string): Promise<void> {
    const at = performance.now()
    const [path, agent] = kind === 'page' ? ['/portal', this.#agent] : ['/favicon.ico', this.#controlAgent]
    const options = { port, path, agent, headers: { cookie, accept: 'text/html' } }
    const seen = await getPage(options).catch(() => undefined)
    this.samples.push({
      kind,
      at,
      waitMs: performance.now() - at,
      status: seen?.status ?? 0,
      signedOut: seen !== undefined && (seen.status === 401 || seen.headers.location !== undefined),
      retryAfter: seen?.headers['retry-after'],
      reference: referenceOn(seen?.text ?? ''),
    })
  }

  get #signInUrl(): string {
    return `${this.#url}/login/${this.#slug}`
  }

  async #signIn(): Promise<void> {
    const visitor = new Visitor()
    const started = await this.#measure('start', () => visitor.get(this.#signInUrl))
    if (started?.status === 302) {
      const response = (await visitor.get(started.location!).catch(() => undefined))?.location
      if (response) await this.#measure('callback', () => visitor.get(response))
      return
    }
    const prepared = this.#prepared.pop()
    if (prepared) await this.#measure('callback', () => prepared.visitor.get(prepared.response))
  }

  async #measure(kind: Sample['kind'], send: () => Promise<Seen>): Promise<Seen | undefined> {
    const at = performance.now()
    const seen = await send().catch(() => undefined)
    this.samples.push({
      kind,
      at,
      waitMs: performance.now() - at,
      status: seen?.status ?? 0,
      signedOut: false,
      retryAfter: seen?.headers.get('retry-after') ?? undefined,
      reference: referenceOn(seen?.body ?? ''),
    })
    return seen
  }
}

interface Page {
  status: number
  headers: http.IncomingHttpHeaders
  text: string
}

function getPage(options: http.RequestOptions): Promise<Page> {
  return new Promise((resolve, reject) => {
    const sent = http.get({ ...options, host: '127.0.0.1', timeout: abandonMs }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }))
      response.on('error', reject)
    })
    sent.on('timeout', () => sent.destroy(new Error('no response')))
    sent.on('error', (error: NodeJS.ErrnoException) => {
      // The server has just closed the idle connection.
      if (sent.reusedSocket && error.code === 'ECONNRESET') getPage(options).then(resolve, reject)
      else reject(error)
    })
  })
}

export const cookieOf = (visitor: Visitor, url: string): string =>
  [...visitor.cookies.get(new URL(url).origin)!].map(([name, value]) => `${name}=${value}`).join('; ')
