import type { ProblemCode } from '../errors.ts'

/** What every event tells. Never a token, a code or a secret. */
interface Happened {
  portal: string
  /** of the client: `req.ip`. What is kept of it, `events.clientAddress` says; absent when nobody clicked */
  clientAddress?: string | undefined
}

interface OfPerson extends Happened {
  userId: string
  /** slug; absent when the host signed the person in itself */
  provider?: string | undefined
}

interface OfProvider extends Happened {
  /** slug */
  provider: string
  /** who did it: the id of a user, `cli`, `code` */
  by: string
}

/** Somebody has a session. */
export interface SignedIn extends OfPerson {
  kind: 'signed-in'
}

export interface SignedOut extends OfPerson {
  kind: 'signed-out'
  /** `provider`: a back-channel logout */
  detail?: { by?: 'provider' | undefined } | undefined
}

/**
 * A sign-in or a registration ended on a page that says why, in general; a post from another site or to the classic login was
 * turned away; or a provider's logout token was not believed.
 */
export interface Refused extends Happened {
  kind: 'refused'
  /** slug; absent where there is none of that name */
  provider?: string | undefined
  /** the one on the page that the person saw, and in the log */
  reference: string
  /** `reason`: the exact one, for the operator */
  detail: { code: ProblemCode | 'logout_token_invalid'; reason: string }
}

/** An identity belongs to a user who was there before. */
export interface Linked extends OfPerson {
  kind: 'linked'
}

/** An identity belongs to a user who was made for it. */
export interface Registered extends OfPerson {
  kind: 'registered'
}

/** A code was mailed, entered, or not taken: `reason` says why. */
export interface AddressProof<Kind extends 'address-proof-sent' | 'address-proven' | 'address-proof-failed'>
  extends Happened {
  kind: Kind
  userId?: string | undefined
  provider?: string | undefined
  reference?: string | undefined
  detail?: { reason?: string | undefined } | undefined
}

/** The first request of a client over a limit; the others of that window are turned away without a word. */
export interface RateLimited extends Happened {
  kind: 'rate-limited'
  reference: string
  /** name of the limit: a key of the option `rateLimits`, or `attempt` */
  detail: { limit: string }
}

export interface ProviderConnected extends OfProvider {
  kind: 'provider-connected'
  detail: { issuer: string; enabled: string }
}

export interface ProviderChanged extends OfProvider {
  kind: 'provider-changed'
  /** names of the settings; what they were and are, as JSON without secrets */
  detail: { change: string; before?: string | undefined; after?: string | undefined }
}

/** The settings of a provider left for a file, its client secrets among them under a passphrase. */
export interface ProviderExported extends OfProvider {
  kind: 'provider-exported'
  detail: { secrets: 'sealed' }
}

export interface ProviderRemoved extends OfProvider {
  kind: 'provider-removed'
}

/** Client secrets and keys of this many providers are sealed under the portal's new secret. */
export interface SecretsRotated extends Happened {
  kind: 'secrets-rotated'
  by: string
  detail: { providers: string }
}

/** Something that happened: one row in `sso_events`, one call of each listener. */
export type PortalEvent =
  | SignedIn
  | SignedOut
  | Refused
  | Linked
  | Registered
  | AddressProof<'address-proof-sent'>
  | AddressProof<'address-proven'>
  | AddressProof<'address-proof-failed'>
  | RateLimited
  | ProviderConnected
  | ProviderChanged
  | ProviderExported
  | ProviderRemoved
  | SecretsRotated

export type EventKind = PortalEvent['kind']

/** The event of one kind. */
export type EventOf<Kind extends EventKind> = Extract<PortalEvent, { kind: Kind }>
