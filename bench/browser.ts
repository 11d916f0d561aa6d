import { Pool } from 'undici'

const pools = new Map<string, Pool>()

interface Page {
  status: number
  location: string | undefined
  body: string
}

/** A browser that costs little: keep-alive connections and a cookie jar. `person` signs in at the provider without a page. */
export class Browser {
  readonly #portal: string
  readonly #person: number
  readonly #cookies = new Map<string, string>()

  constructor(portal: string, person: number) {
    this.#portal = portal
    this.#person = person
  }

  /** @param form is posted; to an API as JSON */
  async request(url: string, form?: Record<string, string>): Promise<Page> {
    const target = new URL(url, this.#portal)
    const isPortal = target.origin === this.#portal
    const isApi = target.pathname.startsWith('/api/')
    if (target.pathname === '/authorize') target.searchParams.set('person', String(this.#person))
    const pool = pools.get(target.origin) ?? new Pool(target.origin, { connections: 16 })
    pools.set(target.origin, pool)
    const response = await pool.request({
      path: target.pathname + target.search,
      method: form ? 'POST' : 'GET',
      headers: {
        accept: 'text/html',
        // Rate limits count one client for each person and minute of the benchmark.
        'x-forwarded-for': `10.${this.#person}.${Math.floor(Date.now() / 1000) % 250}.1`,
        ...(isPortal && this.#cookies.size > 0 && { cookie: [...this.#cookies.values()].join('; ') }),
        ...(form && {
          origin: this.#portal,
          'content-type': `application/${isApi ? 'json' : 'x-www-form-urlencoded'}`,
        }),
      },
      ...(form && { body: isApi ? JSON.stringify(form) : new URLSearchParams(form).toString() }),
    })
    if (isPortal) this.#store([response.headers['set-cookie'] ?? []].flat())
    const location = response.headers.location as string | undefined
    const body = await response.body.text()
    return { status: response.statusCode, location: location && new URL(location, target).href, body }
  }

  /** @returns the page behind all redirects */
  async open(url: string, form?: Record<string, string>): Promise<Page> {
    let page = await this.request(url, form)
    for (let redirects = 0; page.location && redirects < 10; redirects++)
      page = await this.request(page.location)
    return page
  }

  #store(lines: string[]): void {
    for (const line of lines) {
      const [pair = ''] = line.split(';')
      const [name = ''] = pair.split('=')
      if (/max-age=0|expires=thu, 01.jan.1970/i.test(line)) this.#cookies.delete(name)
      else this.#cookies.set(name, pair)
    }
  }
}

/** Runs the operation `times` times, at most eight at once. */
export async function repeat(times: number, operation: (n: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < times) await operation(next++)
  }
  await Promise.all(Array.from({ length: Math.min(8, times) }, worker))
}
