import { explain } from '../../errors.ts'

/** What an answer to a made-up code tells of the client. */
export interface Answer {
  /**
   * `known`: only the code was wrong; `unknown client`: the id or what proves it; `reckless`: there are tokens; `silent`: no
   * answer at all; `unclear`: something else
   */
  said: 'known' | 'unknown client' | 'reckless' | 'silent' | 'unclear'
  /** fit for everybody's eyes: a provider may quote our secret in its answer, and this is kept and shown */
  quoted: string
}

// RFC 6749, 5.2. Nothing else is repeated.
const errors = [
  'invalid_client',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'unauthorized_client',
  'unsupported_grant_type',
]

export async function judge(ask: () => Promise<Response>): Promise<Answer> {
  let response: Response
  try {
    response = await ask()
  } catch (error) {
    return { said: 'silent', quoted: explain(error) }
  }
  const body: unknown = await response.json().catch(() => undefined)
  const { error, access_token, id_token, error_description } = (body ?? {}) as Record<string, unknown>
  const described = typeof error_description === 'string' ? error_description : ''
  const [microsoft] = /\bAADSTS\d{4,7}\b/.exec(described) ?? []
  const named = errors.find((known) => known === error)
  const quoted = [`status ${response.status}`, named, microsoft].filter(Boolean).join(', ')
  if (access_token !== undefined || id_token !== undefined) return { said: 'reckless', quoted }
  if (named === 'invalid_grant') return { said: 'known', quoted }
  // Keycloak says `unauthorized_client` of a wrong secret, with 401.
  const refused = named === 'invalid_client' || named === 'unauthorized_client' || response.status === 401
  return { said: refused ? 'unknown client' : 'unclear', quoted }
}
