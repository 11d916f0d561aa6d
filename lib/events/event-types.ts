import type { ProblemCode } from '../shared/errors.ts'

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
  actor: string
}

/** Somebody has a session. */
export interface SignedIn extends OfPerson {
  kind: 'signed-in'
}

export interface SignedOut extends OfPerson {
  kind: 'signed-out'
  /** `provider`: a back-channel or front-channel logout, of so many sessions */
  detail?: { actor?: 'provider' | undefined; sessions?: number | undefined } | undefined
}

/** Sessions of a user, or all that were begun with a provider, were ended by somebody: the user, or an operator. */
export interface SessionsEnded extends Happened {
  kind: 'sessions-ended'
  userId?: string | undefined
  /** slug */
  provider?: string | undefined
  /** who did it: the id of a user, `cli`, `code` */
  actor: string
  detail: { sessions: number }
}

/**
 * A sign-in or a registration ended on a page that says why, in general; a post from another site or to the classic login was
 * turned away; or a provider's logout token was not believed.
 */
export interface RefusalContext extends Happened {
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

/** An identity belongs to its user no longer: they took it away. */
export interface Unlinked extends OfPerson {
  kind: 'unlinked'
}

/** A new subject of an Entra account was linked to the user who has this account: same issuer, tenant id and object id. */
export interface IdentityRelinkedEvent extends OfPerson {
  kind: 'identity-relinked'
}

/** An identity belongs to a user who was made for it. */
export interface Registered extends OfPerson {
  kind: 'registered'
}

/** A code was mailed, entered, or not taken: `reason` says why. */
export interface EmailVerificationEvent<
  Kind extends 'address-proof-sent' | 'address-proven' | 'address-proof-failed',
> extends Happened {
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

/** An administrator of a provider's came back from the page that asks to consent for a whole organisation. */
export interface AdminConsent extends Happened {
  kind: 'admin-consent'
  /** slug */
  provider: string
  /** why it was refused stands in an event `refused`; `tenant`: as the browser said it, so nothing may be built on it */
  detail: { outcome: 'granted' | 'refused'; tenant?: string | undefined }
}

export interface ProviderConnected extends OfProvider {
  kind: 'provider-connected'
  detail: { issuer: string; enabled: string; rehearsal?: 'overridden' | undefined }
}

export interface ProviderChanged extends OfProvider {
  kind: 'provider-changed'
  /** names of the settings; what they were and are, as JSON without secrets */
  detail: {
    change: string
    before?: string | undefined
    after?: string | undefined
    /** of one that was enabled: whether somebody had come in with it before */
    rehearsal?: 'passed' | 'overridden' | undefined
  }
}

/** An administrator signed in through it to see whether it works; nobody has a session by that. */
export interface ProviderSignInTested extends OfProvider {
  kind: 'provider-rehearsed'
  /**
   * `reason`: why it failed, in general; the exact one stood on the page, and is in the log. `secretEncoding`: how the client
   * secret is sent from now on, where that is another way than before
   */
  detail: {
    outcome: 'passed' | 'failed'
    reason?: ProblemCode | undefined
    secretEncoding?: 'form' | 'raw' | undefined
  }
}

/** The classic login was opened to one browser, past all providers. */
export interface BreakGlassEvent extends Happened {
  kind: 'break-glass'
  /** who made the link */
  actor: string
  /** the link was made; or used, by whoever has `clientAddress` */
  detail: { step: 'made' | 'used' }
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
  actor: string
  detail: { providers: string }
}

/** Its last day was set; `keep` takes that back, which is a `provider-changed`. */
export interface ProviderRetiring extends OfProvider {
  kind: 'provider-retiring'
  /** the moment from which on nobody signs in with it, ISO 8601 */
  detail: { at: string }
}

/** Its last day is over, or it was disabled with its sessions: it is disabled, and they end. */
export interface ProviderRetired extends OfProvider {
  kind: 'provider-retired'
  /** how many sessions */
  detail: { sessions: number }
}

/** Recorded 60, 30, 7 and 1 days before a client secret expires at the provider. */
export interface ClientSecretExpiring extends OfProvider {
  kind: 'client-secret-expiring'
  /** `days` until `end` (ISO 8601), 0 when it has expired */
  detail: { days: number; end: string }
}

/** 30 days after it was removed: it cannot be restored any more. */
export interface ProviderPurged extends OfProvider {
  kind: 'provider-forgotten'
}

/** Something that happened: one row in `sso_events`, one call of each listener. */
export type PortalEvent =
  | SignedIn
  | SignedOut
  | SessionsEnded
  | RefusalContext
  | Linked
  | Unlinked
  | IdentityRelinkedEvent
  | Registered
  | EmailVerificationEvent<'address-proof-sent'>
  | EmailVerificationEvent<'address-proven'>
  | EmailVerificationEvent<'address-proof-failed'>
  | RateLimited
  | AdminConsent
  | ProviderConnected
  | ProviderChanged
  | ProviderExported
  | ProviderRemoved
  | SecretsRotated
  | ProviderRetiring
  | ProviderRetired
  | ProviderPurged
  | ClientSecretExpiring
  | ProviderSignInTested
  | BreakGlassEvent

export type EventKind = PortalEvent['kind']

/** The event of one kind. */
export type EventOf<Kind extends EventKind> = Extract<PortalEvent, { kind: Kind }>
