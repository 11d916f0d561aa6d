import type { CustomFetch } from 'openid-client'

/** For public documents, which may move within their origin: follows three redirects there. */
export function followingMoves(fetchOnce: CustomFetch): CustomFetch {
  return async (address, options) => {
    let url = new URL(address)
    for (let redirects = 0; ; redirects++) {
      const response = await fetchOnce(url.href, options)
      const location = response.headers.get('location')
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response
      if (redirects === 3) throw new Error(`${url.origin} redirects too often`)
      if (!URL.canParse(location, url.href)) throw new Error(`${url.origin} redirects to no address`)
      url = sameOrigin(new URL(location, url), url)
    }
  }
}

// A document on another origin is somebody else's word.
function sameOrigin(to: URL, from: URL): URL {
  if (to.origin !== from.origin) throw new Error(`${from.origin} redirects to another origin`)
  return to
}
