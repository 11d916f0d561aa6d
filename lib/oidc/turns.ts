/**
 * The connections to one origin of a provider. Requests that have to wait take turns by client address, so that a client with
 * many requests does not delay the others.
 */
export class Turns {
  /** of the connections; kept free for other clients, even while only one client has requests */
  readonly #quarter: number
  #free: number
  readonly #held = new Map<string, number>()
  /** in the order of their turns */
  readonly #waiting = new Map<string, (() => void)[]>()

  constructor(connections: number) {
    this.#quarter = Math.floor(connections / 4)
    this.#free = connections
  }

  /**
   * Waits for a connection. While another client waits, a client holds at most a quarter of them.
   *
   * @returns a function that gives the connection back
   * @throws the reason of the signal when it is aborted first
   */
  async take(client: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    return this.#maySend(client) ? this.#hold(client) : await this.#wait(client, signal)
  }

  #wait(client: string, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const start = () => {
        signal.removeEventListener('abort', leave)
        resolve(this.#hold(client))
      }
      const leave = () => {
        const others = this.#waiting.get(client)?.filter((each) => each !== start) ?? []
        if (others.length > 0) this.#waiting.set(client, others)
        else this.#waiting.delete(client)
        reject(signal.reason)
        this.#startNext()
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.set(client, [...(this.#waiting.get(client) ?? []), start])
    })
  }

  #hold(client: string): () => void {
    this.#free -= 1
    this.#held.set(client, (this.#held.get(client) ?? 0) + 1)
    return () => {
      this.#free += 1
      const held = (this.#held.get(client) ?? 0) - 1
      if (held > 0) this.#held.set(client, held)
      else this.#held.delete(client)
      if (this.#waiting.size > 0) this.#startNext()
    }
  }

  #startNext(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const others = [...(this.#waiting.get(next) ?? [])]
      // Its newest request: an old one would reach its time limit before the response, and waste the connection.
      const start = others.pop()
      // The others come after those of all other clients.
      this.#waiting.delete(next)
      if (others.length > 0) this.#waiting.set(next, others)
      start?.()
    }
  }

  #next(): string | undefined {
    return [...this.#waiting.keys()].find((client) => this.#maySend(client))
  }

  #maySend(client: string): boolean {
    if (this.#free === 0) return false
    if ((this.#held.get(client) ?? 0) < Math.max(1, this.#quarter)) return true
    const othersWait = this.#waiting.size > (this.#waiting.has(client) ? 1 : 0)
    return !othersWait && this.#free > this.#quarter
  }
}
