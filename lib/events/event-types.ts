import type { ProblemCode } from '../shared/errors.ts'

/** Fields of every event. No event contains a token, a code or a secret. */
export interface EventFields<Kind extends string> {
  /** Kind of the event. */
  kind: Kind
  /** Name of the portal. */
  portal: string
  /** The client's address, as far as the option `events.clientAddress` keeps it. Absent without a request. */
  clientAddress?: string | undefined
}

/** Fields of the events about one user. */
export interface UserEventFields<Kind extends string> extends EventFields<Kind> {
  /** Id of the user. */
  userId: string
  /** Slug of the provider. Absent if the host signed the user in itself. */
  provider?: string | undefined
}

/** Fields of the events about one provider. */
export interface ProviderEventFields<Kind extends string> extends EventFields<Kind> {
  /** Slug of the provider. */
  provider: string
  /** Id of the user who did it, or `cli:<system user>`, `code`, `test` or `maintenance`. */
  actor: string
}

/** A session has started. */
export interface SignedInEvent extends UserEventFields<'signed-in'> {}

/** A user signed out, or the provider ended sessions of the user. */
export interface SignedOutEvent extends UserEventFields<'signed-out'> {
  /** `actor: 'provider'` marks a back-channel or front-channel logout. `sessions` is the number of ended sessions. */
  detail?: { actor?: 'provider' | undefined; sessions?: number | undefined } | undefined
}

/** The user or an operator ended sessions: those of a user, or those that started with a provider. */
export interface SessionsEndedEvent extends EventFields<'sessions-ended'> {
  /** Id of the user, if the sessions of one user ended. */
  userId?: string | undefined
  /** Slug of the provider, if the sessions that started with one provider ended. */
  provider?: string | undefined
  /** Id of the user who did it, or `cli:<system user>`, `code`, `test` or `maintenance`. */
  actor: string
  /** Number of sessions at that time. The event is recorded before they end. */
  detail: { sessions: number }
}

/** A sign-in, a registration, a POST from another site, a classic login or a provider's logout token was refused. */
export interface SignInFailedEvent extends EventFields<'sign-in-failed'> {
  /** Slug of the provider. Absent if no provider has that name. */
  provider?: string | undefined
  /** The reference on the user's page and in the log. */
  reference: string
  /**
   * `code` is the problem that the user sees; `reason` is the exact cause, for the operator. `reportedBy: 'browser'` marks an
   * unsigned error in a response, which anybody can send.
   */
  detail: {
    code: ProblemCode | 'logout_token_invalid'
    reason: string
    reportedBy?: 'browser' | undefined
  }
}

/** An identity was linked to an existing user. */
export interface IdentityLinkedEvent extends UserEventFields<'linked'> {}

/** A user proved their address for the first time, so everything that another person may have set up before ended. */
export interface AccountReclaimedEvent extends UserEventFields<'account-reclaimed'> {
  /** Number of ended sessions and of removed identities that had no proof. */
  detail: { sessions: number; identities: number }
}

/** An identity was not linked to a user through the e-mail address, or that was allowed again. */
export interface IdentityBlockedEvent extends UserEventFields<'identity-blocked'> {
  /** Id of the administrator, if one decided it. */
  actor?: string | undefined
  /**
   * `waiting`: the user has another account of the issuer, and an administrator can accept the new one. `separate`: one decided
   * that it is another person. `allowed`: one deleted the block.
   */
  detail: { reason: 'waiting' | 'separate' | 'allowed' }
}

/** A new identity replaced those that the user had at the same issuer: in the relinking window, or accepted by an administrator. */
export interface IdentityReplacedEvent extends UserEventFields<'identity-replaced'> {
  /** Id of the administrator who accepted it. */
  actor?: string | undefined
}

/** A user or an administrator removed an identity. */
export interface IdentityUnlinkedEvent extends UserEventFields<'unlinked'> {
  /** Id of the administrator who removed it. */
  actor?: string | undefined
}

/** A new subject of an Entra account was linked to the user who has this account: same issuer, tenant id and object id. */
export interface IdentityRelinkedEvent extends UserEventFields<'identity-relinked'> {}

/** A user was created for an identity. */
export interface UserRegisteredEvent extends UserEventFields<'registered'> {}

/** Why an e-mailed code was not sent or not accepted. */
export type CodeFailure = 'too-many' | 'mail-failed' | 'wrong' | 'over'

/** A verification code was e-mailed, accepted or rejected. */
export interface EmailVerificationEvent<
  Kind extends 'email-code-sent' | 'email-verified' | 'email-code-failed',
> extends EventFields<Kind> {
  /** Id of the user, if the user has an account. */
  userId?: string | undefined
  /** Slug of the provider. */
  provider?: string | undefined
  /** The reference on the user's page and in the log. */
  reference?: string | undefined
  /** Why the code was rejected. `over`: it had expired, or too many wrong ones were entered. */
  detail?: { reason?: CodeFailure | undefined } | undefined
}

/** A client's first request over a limit. The others of that window are not recorded. */
export interface RateLimitedEvent extends EventFields<'rate-limited'> {
  /** The reference on the client's page and in the log. */
  reference: string
  /**
   * `limit` is a key of the option `rateLimits`, `picker`, `email` or `logo` (as `start`), `front-channel` or `back-channel` (as
   * `logout`), or `attempt`. For `records`, this is the summary of a minute, and `omitted` the number of records that were not written.
   */
  detail: { limit: string; omitted?: number | undefined }
}

/** An administrator returned from the provider's page for admin consent. */
export interface AdminConsentEvent extends EventFields<'admin-consent'> {
  /** Slug of the provider. */
  provider: string
  /** A `sign-in-failed` event contains the reason of a refusal. `tenant` is not verified: the browser sent it. */
  detail: { outcome: 'granted' | 'refused'; tenant?: string | undefined }
}

/** A provider was connected. */
export interface ProviderConnectedEvent extends ProviderEventFields<'provider-connected'> {
  /** `testSignIn: 'overridden'`: it was enabled without a test sign-in. */
  detail: { issuer: string; enabled: boolean; testSignIn?: 'overridden' | undefined }
}

/** Settings or the state of a provider changed. */
export interface ProviderChangedEvent extends ProviderEventFields<'provider-changed'> {
  /** `change` lists the settings; `before` and `after` are their values as JSON, without secrets. */
  detail: {
    change: string
    before?: string | undefined
    after?: string | undefined
    /** When it was enabled: whether a test sign-in had passed. */
    testSignIn?: 'passed' | 'overridden' | undefined
  }
}

/** An administrator tested the provider with a sign-in, which starts no session. */
export interface ProviderSignInTestedEvent extends ProviderEventFields<'provider-sign-in-tested'> {
  /**
   * `reason` is the problem code of a failure; the log and the report contain the exact cause. `clientAuthentication` and
   * `secretEncoding` are set if the test detected another one.
   */
  detail: {
    outcome: 'passed' | 'failed'
    reason?: ProblemCode | undefined
    clientAuthentication?: string | undefined
    secretEncoding?: 'form' | 'raw' | undefined
  }
}

/** Break-glass access: one browser may use the classic login although a provider is enabled. */
export interface BreakGlassEvent extends EventFields<'break-glass'> {
  /** Id of the user who created the link, or `cli:<system user>` or `code`. */
  actor: string
  /**
   * `made`: the link was created. `used`: a browser at `clientAddress` opened it. `password-posted`: that browser posted a password
   * to the classic login, which may have been wrong.
   */
  detail: { step: 'made' | 'used' | 'password-posted' }
}

/** A provider was removed. It can be restored for 30 days. */
export interface ProviderRemovedEvent extends ProviderEventFields<'provider-removed'> {}

/** Client secrets and keys were encrypted with the portal's new secret. */
export interface SecretsRotatedEvent extends EventFields<'secrets-rotated'> {
  /** Id of the user who did it, or `cli:<system user>`, `code`, `test` or `maintenance`. */
  actor: string
  /** Number of providers. */
  detail: { providers: number }
}

/** A retirement was scheduled. Cancelling it is a `provider-changed`. */
export interface ProviderRetiringEvent extends ProviderEventFields<'provider-retiring'> {
  /** When the provider will be disabled. ISO 8601. */
  detail: { at: string }
}

/** A provider was disabled and its sessions ended, on schedule or by an administrator. */
export interface ProviderRetiredEvent extends ProviderEventFields<'provider-retired'> {
  /** Number of ended sessions. */
  detail: { sessions: number }
}

/** Recorded 60, 30, 7 and 1 days before a client secret expires at the provider. */
export interface ClientSecretExpiringEvent extends ProviderEventFields<'client-secret-expiring'> {
  /** `days` until `end` (ISO 8601); 0 when it has expired. */
  detail: { days: number; end: string }
}

/** A provider fails, as a probe of the portal has confirmed. Recorded once for each outage. */
export interface ProviderUnavailableEvent extends ProviderEventFields<'provider-unavailable'> {
  /** The endpoint that fails, and how: see `ProviderHealth`. */
  detail: { endpoint: 'metadata' | 'keys' | 'token'; fault: 'unreachable' | 'server-error' | 'unusable' }
}

/** A provider works again: a probe or a sign-in has succeeded. */
export interface ProviderRecoveredEvent extends ProviderEventFields<'provider-recovered'> {
  /** When the outage was confirmed. ISO 8601. */
  detail: { since: string }
}

/** A removed provider was deleted for good after 30 days. */
export interface ProviderPurgedEvent extends ProviderEventFields<'provider-purged'> {}

/** Any event: one row in `sso_events`, and one call of each listener of `sso.events`. */
export type PortalEvent =
  | SignedInEvent
  | SignedOutEvent
  | SessionsEndedEvent
  | SignInFailedEvent
  | IdentityLinkedEvent
  | AccountReclaimedEvent
  | IdentityBlockedEvent
  | IdentityReplacedEvent
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
  | ProviderUnavailableEvent
  | ProviderRecoveredEvent
  | ClientSecretExpiringEvent
  | ProviderSignInTestedEvent
  | BreakGlassEvent

/** The name of an event, for `sso.events.on`. */
export type EventKind = PortalEvent['kind']

/** The event of one kind, such as `EventOf<'signed-in'>`. */
export type EventOf<Kind extends EventKind> = Extract<PortalEvent, { kind: Kind }>
