import { type ClientAuth, ClientSecretPost, None, type PrivateKey, PrivateKeyJwt } from 'openid-client'
import type { ClientAuthentication, Provider, SecretEncoding } from './provider.ts'

/** What proves us to a provider. */
export interface Credentials {
  clientSecret?: string | undefined
  secondClientSecret?: string | undefined
  /** the key that signs at the moment */
  signingKey?: (() => Promise<SigningKey>) | undefined
}

export type SigningKey = PrivateKey

/** One way to prove who we are. */
export interface Proof {
  authenticate: ClientAuth
  /** with which of two client secrets; `first` where there is no secret at all */
  secret: 'first' | 'second'
  /** of `client_secret_basic`; the row's where it makes no difference */
  encoding: SecretEncoding
}

export type Authenticating = Pick<Provider, 'clientId' | 'clientAuthentication' | 'secretEncoding'>

/** All ways that the row allows: one for each client secret. @throws Error when it lacks what its method needs */
export function proofsOf(provider: Authenticating, credentials: Credentials): Proof[] {
  const { clientAuthentication: method, secretEncoding } = provider
  const { clientSecret, secondClientSecret, signingKey } = credentials
  if (method === 'none') return [{ authenticate: None(), secret: 'first', encoding: secretEncoding }]
  if (method === 'private_key_jwt') {
    if (!signingKey) throw new Error('the provider has no key to sign with')
    return [{ authenticate: clientAssertion(signingKey), secret: 'first', encoding: secretEncoding }]
  }
  const secrets = [
    { secret: 'first', text: clientSecret },
    { secret: 'second', text: secondClientSecret },
  ] as const
  const proofs = secrets.flatMap(({ secret, text }) =>
    text === undefined
      ? []
      : [{ secret, encoding: secretEncoding, authenticate: withSecret(method, text, secretEncoding) }],
  )
  if (proofs.length === 0) throw new Error('the provider has no client secret')
  return proofs
}

/** The same secrets as the row does not spell them, where that is another thing. */
export function respelledProofsOf(provider: Authenticating, credentials: Credentials): Proof[] {
  const { clientId, clientAuthentication, secretEncoding } = provider
  if (clientAuthentication !== 'client_secret_basic') return []
  const differing = (secret: string | undefined) =>
    secret === undefined || isSpelledTheSame(clientId, secret) ? undefined : secret
  const left = {
    clientSecret: differing(credentials.clientSecret),
    secondClientSecret: differing(credentials.secondClientSecret),
  }
  if (left.clientSecret === undefined && left.secondClientSecret === undefined) return []
  return proofsOf({ ...provider, secretEncoding: secretEncoding === 'raw' ? 'form' : 'raw' }, left)
}

export function withSecret(
  method: Exclude<ClientAuthentication, 'none' | 'private_key_jwt'>,
  clientSecret: string,
  encoding: SecretEncoding,
): ClientAuth {
  if (method === 'client_secret_post') return ClientSecretPost(clientSecret)
  return (_server, { client_id }, _body, headers) => {
    headers.set('authorization', `Basic ${basicCredentials(client_id, clientSecret, encoding)}`)
  }
}

/** The key is looked up for each assertion, so that every instance signs with a new one from the same moment on. */
function clientAssertion(signingKey: () => Promise<SigningKey>): ClientAuth {
  return async (...given) => {
    await PrivateKeyJwt(await signingKey())(...given)
  }
}

/** The spellings in which client secrets travel: not for a log, whoever quotes them. */
export function spellingsOf(clientId: string, { clientSecret, secondClientSecret }: Credentials): string[] {
  return [clientSecret, secondClientSecret].flatMap((secret) =>
    secret === undefined
      ? []
      : [secret, basicCredentials(clientId, secret, 'form'), basicCredentials(clientId, secret, 'raw')],
  )
}

/** Whether both spellings of `client_secret_basic` are one, as they are for letters and digits. */
export function isSpelledTheSame(clientId: string, clientSecret: string): boolean {
  return basicCredentials(clientId, clientSecret, 'form') === basicCredentials(clientId, clientSecret, 'raw')
}

/**
 * RFC 6749, 2.3.1. openid-client's own also escapes `-`, `.` and `_`, which the form encoding leaves alone, and servers
 * that do not decode then refuse every id that is a UUID. Some take nothing but the bare text (`raw`).
 */
function basicCredentials(clientId: string, clientSecret: string, encoding: SecretEncoding): string {
  const spelled = encoding === 'raw' ? (text: string) => text : formEncoded
  return Buffer.from(`${spelled(clientId)}:${spelled(clientSecret)}`).toString('base64')
}

/** As a form spells it (RFC 6749, appendix B). */
export function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}
