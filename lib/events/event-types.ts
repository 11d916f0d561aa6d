import type { ProblemCode } from '../shared/errors.ts'

/** Fields of every event. No event holds a token, a code or a secret. */
interface CommonFields {
  portal: string
  /** the client's address as far as `events.clientAddress` keeps it; absent without a request */
  clientAddress?: string | undefined
}

interface UserFields extends CommonFields {
  userId: string
  /** slug; absent if the host signed the user in itself */
  provider?: string | undefined
}

interface ProviderFields extends CommonFields {
  /** slug */
  provider: string
  /** who did it: the id of a user, `cli`, `code` */
  actor: string
}

/** A session has started. */
export interface SignedInEvent extends UserFields {
  kind: 'signed-in'
}

export interface SignedOutEvent extends UserFields {
  kind: 'signed-out'
  /** `provider`: a back-channel or front-channel logout, with the number of sessions */
  detail?: { actor?: 'provider' | undefined; sessions?: number | undefined } | undefined
}

/** The user or an operator ended sessions: those of a user, or those that started with a provider. */
export interface SessionsEndedEvent extends CommonFields {
  kind: 'sessions-ended'
  userId?: string | undefined
  /** slug */
  provider?: string | undefined
  /** who did it: the id of a user, `cli`, `code` */
  actor: string
  detail: { sessions: number }
}

/** A sign-in, a registration, a POST from another site, a classic login or a provider's logout token was refused. */
export interface SignInFailedEvent extends CommonFields {
  kind: 'sign-in-failed'
  /** slug; absent if no provider has that name */
  provider?: string | undefined
  /** the reference on the user's page and in the log */
  reference: string
  /** `reason`: the exact cause, for the operator */
  detail: { code: ProblemCode | 'logout_token_invalid'; reason: string }
}

/** An identity was linked to an existing user. */
export interface IdentityLinkedEvent extends UserFields {
  kind: 'linked'
}

/** A user removed an identity. */
export interface IdentityUnlinkedEvent extends UserFields {
  kind: 'unlinked'
}

/** A new subject of an Entra account was linked to the user who has this account: same issuer, tenant id and object id. */
export interface IdentityRelinkedEvent extends UserFields {
  kind: 'identity-relinked'
}

/** A user was created for an identity. */
export interface UserRegisteredEvent extends UserFields {
  kind: 'registered'
}

/** A code was mailed, verified, or rejected: `reason` says why. */
export interface EmailVerificationEvent<
  Kind extends 'email-code-sent' | 'email-verified' | 'email-code-failed',
> extends CommonFields {
  kind: Kind
  userId?: string | undefined
  provider?: string | undefined
  reference?: string | undefined
  detail?: { reason?: string | undefined } | undefined
}

/** A client's first request over a limit. The others of that window are not recorded. */
export interface RateLimitedEvent extends CommonFields {
  kind: 'rate-limited'
  reference: string
  /** name of the limit: a key of the option `rateLimits`, or `attempt` */
  detail: { limit: string }
}

/** An administrator returned from the provider's page for admin consent. */
export interface AdminConsentEvent extends CommonFields {
  kind: 'admin-consent'
  /** slug */
  provider: string
  /** a `sign-in-failed` event holds the reason of a refusal; `tenant` is the browser's unverified claim */
  detail: { outcome: 'granted' | 'refused'; tenant?: string | undefined }
}

export interface ProviderConnectedEvent extends ProviderFields {
  kind: 'provider-connected'
  detail: { issuer: string; enabled: string; testSignIn?: 'overridden' | undefined }
}

export interface ProviderChangedEvent extends ProviderFields {
  kind: 'provider-changed'
  /** names of the settings; their values before and after, as JSON without secrets */
  detail: {
    change: string
    before?: string | undefined
    after?: string | undefined
    /** on enabling: whether a test sign-in had passed */
    testSignIn?: 'passed' | 'overridden' | undefined
  }
}

/** An administrator tested the provider with a sign-in, which starts no session. */
export interface ProviderSignInTestedEvent extends ProviderFields {
  kind: 'provider-sign-in-tested'
  /**
   * `reason`: why it failed, in general; the log and the report hold the exact cause. `secretEncoding`: how the client secret
   * is encoded from now on, if that changed
   */
  detail: {
    outcome: 'passed' | 'failed'
    reason?: ProblemCode | undefined
    secretEncoding?: 'form' | 'raw' | undefined
  }
}

/** Break-glass access: one browser may use the classic login although a provider is enabled. */
export interface BreakGlassEvent extends CommonFields {
  kind: 'break-glass'
  /** who created the link */
  actor: string
  /** the link was created, or used from `clientAddress` */
  detail: { step: 'made' | 'used' }
}

export interface ProviderRemovedEvent extends ProviderFields {
  kind: 'provider-removed'
}

/** Client secrets and keys of this many providers were sealed with the portal's new secret. */
export interface SecretsRotatedEvent extends CommonFields {
  kind: 'secrets-rotated'
  actor: string
  detail: { providers: string }
}

/** A retirement was scheduled. Cancelling it is a `provider-changed`. */
export interface ProviderRetiringEvent extends ProviderFields {
  kind: 'provider-retiring'
  /** when the provider will be disabled, ISO 8601 */
  detail: { at: string }
}

/** A provider was disabled and its sessions ended, on schedule or by an administrator. */
export interface ProviderRetiredEvent extends ProviderFields {
  kind: 'provider-retired'
  /** how many sessions */
  detail: { sessions: number }
}

/** Recorded 60, 30, 7 and 1 days before a client secret expires at the provider. */
export interface ClientSecretExpiringEvent extends ProviderFields {
  kind: 'client-secret-expiring'
  /** `days` until `end` (ISO 8601), 0 when it has expired */
  detail: { days: number; end: string }
}

/** A removed provider was deleted for good after 30 days. */
export interface ProviderPurgedEvent extends ProviderFields {
  kind: 'provider-purged'
}

/** One row in `sso_events`, and one call of each listener. */
export type PortalEvent =
  | SignedInEvent
  | SignedOutEvent
  | SessionsEndedEvent
  | SignInFailedEvent
  | IdentityLinkedEvent
  | IdentityUnlinkedEvent
  | IdentityRelinkedEvent
  | UserRegisteredEvent
  | EmailVerificationEvent<'email-code-sent'>
  | EmailVerificationEvent<'email-verified'>
  | EmailVerificationEvent<'email-code-failed'>
  | RateLimitedEvent
  | AdminConsentEvent
  | ProviderConnectedEvent
  | ProviderChangedEvent
  | ProviderRemovedEvent
  | SecretsRotatedEvent
  | ProviderRetiringEvent
  | ProviderRetiredEvent
  | ProviderPurgedEvent
  | ClientSecretExpiringEvent
  | ProviderSignInTestedEvent
  | BreakGlassEvent

export type EventKind = PortalEvent['kind']

/** The event of one kind. */
export type EventOf<Kind extends EventKind> = Extract<PortalEvent, { kind: Kind }>
