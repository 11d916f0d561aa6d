import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import type {
  Account,
  Adapter,
  AdapterPayload,
  Configuration,
  InteractionResults,
  Provider,
} from 'oidc-provider'
import { createPages } from './identity-provider-pages.ts'

/** A person who can sign in here with one click. `hint` explains which case this person demonstrates. */
export interface Person {
  id: string
  name: string
  email?: string
  emailVerified?: boolean
  hint: string
}

export type Accent = 'pine' | 'plum' | 'rust'

export interface IdentityProviderOptions {
  name: string
  /** 0 chooses a free port, which the issuer then contains. */
  port: number
  /** Host name in the issuer. In any case, only this machine can connect. Default 'localhost'. */
  host?: string
  clientId: string
  /** name of the client on the sign-in page */
  clientName: string
  clientSecret: string
  /** URL of the client's public keys. If set, the client authenticates with `private_key_jwt` instead of its secret. */
  clientKeysAt?: string
  redirectUris: string[]
  postLogoutRedirectUris?: string[]
  /** Back-channel logout: where logout tokens are sent, and whether they name the session (`sid`) or the person (`sub`). */
  backChannelLogout?: { uri: string; names: 'session' | 'person' }
  people: Person[]
  /** Whether every ID token contains `auth_time`, even if the request did not ask for it. Default false. */
  saysWhen?: boolean
  /** Whether name and e-mail address are in the ID token (default), or only in UserInfo (OpenID Connect Core 5.4). */
  claimsIn?: 'id_token' | 'userinfo'
  accent?: Accent
}

/** A real OpenID Provider (oidc-provider, certified) where people choose an account instead of entering a password. */
export async function startIdentityProvider(
  options: IdentityProviderOptions,
): Promise<{ issuer: string; close(): Promise<void> }> {
  const server = createServer()
  const port = await listenOnLoopback(server, options)
  const issuer = `http://${options.host ?? 'localhost'}:${port}`

  try {
    const provider = await createProvider(options, issuer, port)
    server.on('request', provider.callback())
  } catch (error) {
    await close(server)
    throw error
  }
  return { issuer, close: () => close(server) }
}

async function createProvider(
  options: IdentityProviderOptions,
  issuer: string,
  port: number,
): Promise<Provider> {
  const { Provider, interactionPolicy } = await loadOidcProvider()
  const policy = interactionPolicy.base()
  policy.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }))
  const pages = createPages(options.name, options.accent ?? 'pine')
  const provider = new Provider(issuer, {
    ...(await configuration(options)),
    // Cookies are not separated by port, and several providers share this host with the portal.
    cookies: {
      names: { session: `op${port}_session`, interaction: `op${port}_signin`, resume: `op${port}_resume` },
    },
    interactions: { policy, url: (_ctx, interaction) => `/sign-in/${interaction.uid}` },
    renderError(ctx, out) {
      ctx.type = 'html'
      ctx.body = pages.problem(out.error_description ?? out.error)
    },
    features: {
      devInteractions: { enabled: false },
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId,
      },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx, form) {
          ctx.body = pages.signOut(form)
        },
        postLogoutSuccessSource(ctx) {
          ctx.body = pages.signedOut()
        },
      },
    },
  })
  provider.on('server_error', (_ctx, error) => console.error(`${options.name}:`, error))
  // oidc-provider validates the client only at its first use, so trigger that at start.
  await provider.Client.find(options.clientId).catch((error) => {
    const reason = `${error.error_description}`
    throw new Error(`The identity provider "${options.name}" cannot start: ${reason}.`, { cause: error })
  })

  const contentSecurityPolicy = contentSecurityPolicyFor(options)
  provider.use(async (ctx, next) => {
    ctx.set('Content-Security-Policy', contentSecurityPolicy)
    ctx.set('X-Content-Type-Options', 'nosniff')
    if (ctx.path === '/style.css') {
      ctx.type = 'css'
      ctx.body = pages.css
    } else if (ctx.path === '/favicon.ico') {
      ctx.status = 204
    } else if (ctx.path === '/') {
      ctx.type = 'html'
      ctx.body = pages.home(issuer)
    } else if (ctx.path.startsWith('/sign-in/')) {
      ctx.set('Cache-Control', 'no-store')
      try {
        const result = await signIn(provider, options.people, ctx.req, ctx.res)
        if (result.redirectTo === undefined) {
          ctx.type = 'html'
          ctx.body = pages.signIn(options.people, ctx.path, options.clientName)
        } else {
          ctx.status = 303
          ctx.redirect(result.redirectTo)
        }
      } catch (error) {
        if (!isStaleSignIn(error)) throw error
        ctx.status = 400
        ctx.type = 'html'
        ctx.body = pages.problem('This sign-in has expired, or was started in another browser.')
      }
    } else {
      await next()
    }
  })
  return provider
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

async function listenOnLoopback(server: Server, { name, port }: IdentityProviderOptions): Promise<number> {
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new Error(
      `The identity provider "${name}" cannot start: port ${port} is in use by another program. Stop that program or choose another port.`,
      { cause: error },
    )
  }
}

let library: Promise<typeof import('oidc-provider')> | undefined

/** oidc-provider runs on Node 20, but warns at import that it does not support it. No option turns the warning off. */
function loadOidcProvider(): Promise<typeof import('oidc-provider')> {
  const load = async () => {
    const { warn } = console
    console.warn = (...parts: unknown[]) => {
      if (!String(parts[0]).includes('oidc-provider WARNING: Unsupported runtime')) warn(...parts)
    }
    try {
      return await import('oidc-provider')
    } finally {
      console.warn = warn
    }
  }
  library ??= load()
  return library
}

async function configuration(options: IdentityProviderOptions): Promise<Configuration> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  return {
    adapter: inMemory,
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig' }] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256'] },
    clientAuthMethods: [options.clientKeysAt ? 'private_key_jwt' : 'client_secret_basic'],
    clients: [
      {
        client_id: options.clientId,
        client_name: options.clientName,
        ...(options.clientKeysAt
          ? { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: options.clientKeysAt }
          : { client_secret: options.clientSecret }),
        redirect_uris: options.redirectUris,
        post_logout_redirect_uris: options.postLogoutRedirectUris ?? [],
        require_auth_time: options.saysWhen ?? false,
        ...(options.backChannelLogout && {
          backchannel_logout_uri: options.backChannelLogout.uri,
          backchannel_logout_session_required: options.backChannelLogout.names === 'session',
        }),
      },
    ],
    responseTypes: ['code'],
    pkce: { required: () => true },
    scopes: ['openid', 'email', 'profile'],
    claims: { email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name'] },
    conformIdTokenClaims: options.claimsIn === 'userinfo',
    clientBasedCORS: () => false,
    // oidc-provider's dispatcher refuses loopback addresses, but the portal has one.
    fetch: (url, { dispatcher: _, ...request }: FetchOptions = {}) => fetch(url, request),
    ttl: {
      AccessToken: 600,
      AuthorizationCode: 60,
      IdToken: 600,
      Interaction: 3600,
      Session: 28_800,
      Grant: 28_800,
    },
    findAccount: (_ctx, id) => account(options.people.find((person) => person.id === id)),
    // No consent page: the only client belongs to the person who started this example.
    async loadExistingGrant(ctx) {
      const { client, session, provider } = ctx.oidc
      if (!client || !session?.accountId) return undefined
      const known = await provider.Grant.find(session.grantIdFor(client.clientId) ?? '')
      const grant = known ?? new provider.Grant({ clientId: client.clientId, accountId: session.accountId })
      grant.addOIDCScope('openid email profile')
      await grant.save()
      return grant
    },
  }
}

function account(person: Person | undefined): Account | undefined {
  if (!person) return undefined
  const [given, ...family] = person.name.split(' ')
  return {
    accountId: person.id,
    claims: () => ({
      sub: person.id,
      name: person.name,
      ...(given && family.length > 0 && { given_name: given, family_name: family.join(' ') }),
      ...(person.email !== undefined && { email: person.email }),
      ...(person.emailVerified !== undefined && { email_verified: person.emailVerified }),
    }),
  }
}

/** Chrome applies `form-action` to redirects after a POST, too, and every sign-in redirects to the portal. */
function contentSecurityPolicyFor({
  redirectUris,
  postLogoutRedirectUris = [],
}: IdentityProviderOptions): string {
  const portals = new Set([...redirectUris, ...postLogoutRedirectUris].map((uri) => new URL(uri).origin))
  return [
    "default-src 'none'",
    "style-src 'self'",
    'img-src data:',
    'script-src', // empty: oidc-provider adds the hashes of its own scripts
    `form-action 'self' ${[...portals].join(' ')}`,
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

type FetchOptions = RequestInit & { dispatcher?: unknown }

/** Without `redirectTo`, the person has not chosen yet. */
type SignInResult = { redirectTo?: string }

async function signIn(
  provider: Provider,
  people: Person[],
  req: IncomingMessage,
  res: ServerResponse,
): Promise<SignInResult> {
  const interaction = await provider.interactionDetails(req, res)
  const finish = async (result: InteractionResults) => ({
    redirectTo: await provider.interactionResult(req, res, result),
  })
  if (interaction.prompt.name === 'consent') return finish({ consent: {} })
  if (req.method === 'POST') {
    const form = await readForm(req)
    if (form.has('cancel'))
      return finish({ error: 'access_denied', error_description: 'The person cancelled the sign-in.' })
    const person = people.find(({ id }) => id === form.get('person'))
    if (person) return finish({ login: { accountId: person.id }, select_account: {} })
  }
  return {}
}

async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  let text = ''
  for await (const chunk of req) {
    text += chunk
    if (text.length > 4096) break
  }
  return new URLSearchParams(text)
}

const isStaleSignIn = (error: unknown): boolean => error instanceof Error && error.name === 'SessionNotFound'

/** oidc-provider's own in-memory adapter prints a warning. Here, losing all data at exit is intended. */
function inMemory(): Adapter {
  const rows = new Map<string, { payload: AdapterPayload; expires: number }>()
  const findBy = (match: (payload: AdapterPayload) => boolean) => {
    for (const [id, { payload, expires }] of rows) {
      if (expires < Date.now()) rows.delete(id)
      else if (match(payload)) return payload
    }
    return undefined
  }
  return {
    async upsert(id, payload, seconds = Number.POSITIVE_INFINITY) {
      findBy(() => false) // deletes expired rows
      rows.set(id, { payload, expires: Date.now() + seconds * 1000 })
    },
    async find(id) {
      const row = rows.get(id)
      return row && row.expires >= Date.now() ? row.payload : undefined
    },
    findByUid: async (uid) => findBy((payload) => payload.uid === uid),
    findByUserCode: async (userCode) => findBy((payload) => payload.userCode === userCode),
    async consume(id) {
      const row = rows.get(id)
      if (row) row.payload.consumed = Math.floor(Date.now() / 1000)
    },
    async destroy(id) {
      rows.delete(id)
    },
    async revokeByGrantId(grantId) {
      for (const [id, { payload }] of rows) if (payload.grantId === grantId) rows.delete(id)
    },
  }
}
