import request from 'supertest'

export interface Seen {
  url: string
  status: number
  headers: Headers
  body: string
  /** absolute target of a redirect */
  location: string | undefined
}

/** A simple browser: it keeps cookies for each origin, follows redirects and submits forms. */
export class Visitor {
  /** origin → cookie name → value */
  readonly cookies = new Map<string, Map<string, string>>()
  private readonly headers: Record<string, string>
  private readonly certificate: string | undefined

  /** @param certificate of an https server that no authority has signed */
  constructor(headers: Record<string, string> = {}, certificate?: string) {
    this.headers = { accept: 'text/html,application/xhtml+xml', ...headers }
    this.certificate = certificate
  }

  /** Sends one request, without following a redirect. */
  async get(url: string, headers: Record<string, string> = {}): Promise<Seen> {
    return await this.send('get', url, headers)
  }

  /** Posts a form from a page of the same origin, unless the headers say otherwise. */
  async post(
    url: string,
    form: Record<string, string> | Form['fields'] = {},
    headers: Record<string, string> = {},
  ): Promise<Seen> {
    const sameOrigin = { 'sec-fetch-site': 'same-origin', origin: new URL(url).origin }
    return await this.send('post', url, { ...sameOrigin, ...headers }, `${new URLSearchParams(form)}`)
  }

  /** Opens a URL and follows redirects. */
  async open(url: string): Promise<Seen> {
    return await this.follow(await this.get(url))
  }

  async follow(seen: Seen): Promise<Seen> {
    let at = seen
    for (let hops = 0; next(at) !== undefined; hops++) {
      if (hops > 12) throw new Error(`too many redirects, the last one to ${next(at)}`)
      at = await this.get(next(at)!)
    }
    return at
  }

  /** Copies the cookies, like a thief. */
  clone(): Visitor {
    const twin = new Visitor(this.headers, this.certificate)
    for (const [origin, jar] of this.cookies) twin.cookies.set(origin, new Map(jar))
    return twin
  }

  cookieNames(url: string): string[] {
    return [...(this.cookies.get(new URL(url).origin)?.keys() ?? [])]
  }

  private async send(
    method: 'get' | 'post',
    url: string,
    headers: Record<string, string>,
    form?: string,
  ): Promise<Seen> {
    // supertest sends dot segments of the path as they are, a browser resolves them.
    const { origin, pathname, search } = new URL(url)
    const jar = this.cookies.get(origin) ?? new Map<string, string>()
    this.cookies.set(origin, jar)
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    // `supertest.agent` would not send Secure cookies over http, so the cookies are kept here.
    const sent = request(origin)
      [method](pathname + search)
      .set({ ...this.headers, ...(cookie && { cookie }), ...headers })
      .responseType('blob')
    if (this.certificate !== undefined && origin.startsWith('https:')) sent.ca(this.certificate)
    const response = await (form === undefined ? sent : sent.send(form))
    const received = headersOf(response)
    for (const line of received.getSetCookie()) keep(jar, line)
    const location = received.get('location')
    return {
      url,
      status: response.status,
      headers: received,
      body: (response.body as Buffer).toString(),
      location: location === null ? undefined : new URL(location, url).href,
    }
  }
}

function headersOf(response: request.Response): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(response.headers as Record<string, string | string[]>))
    for (const line of [value].flat()) headers.append(name, line)
  return headers
}

/** The URL that a browser opens next without a click: of a redirect, or of a page that navigates by itself. */
export function next({ location, body, url }: Pick<Seen, 'location' | 'body' | 'url'>): string | undefined {
  const [, onward] = /<meta http-equiv="refresh" content="0; url=([^"]*)">/.exec(body) ?? []
  return location ?? (onward && new URL(unescaped(onward), url).href)
}

export interface Form {
  action: string
  /** hidden fields; a name may occur twice */
  fields: [name: string, value: string][]
}

/** The first form of a page. */
export function formIn(html: string): Form {
  const [, action = ''] = /<form[^>]*action="([^"]*)"/.exec(html) ?? []
  const inputs = html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)
  return {
    action: unescaped(action),
    fields: [...inputs].map(([, name = '', value = '']) => [unescaped(name), unescaped(value)]),
  }
}

function unescaped(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"' }
  return text.replace(/&(?:#(\d+)|(\w+));/g, (whole, code?: string, name = '') =>
    code ? String.fromCharCode(Number(code)) : (named[name] ?? whole),
  )
}

function keep(jar: Map<string, string>, line: string): void {
  const [pair = ''] = line.split(';')
  const name = pair.slice(0, pair.indexOf('='))
  const value = pair.slice(pair.indexOf('=') + 1)
  if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) jar.delete(name)
  else jar.set(name, value)
}
