/// <reference types="express-session" preserve="true" />
/// <reference types="passport" preserve="true" />

// The plugin and its options.

export type { AdminOptions } from './admin/admin.ts'
export type { BreakGlassApi } from './classic-login/break-glass.ts'
export { createPortalSso } from './create-portal-sso.ts'
export type { GuardOptions } from './guard.ts'
export type { Health, PartHealth } from './health/service-health.ts'
export type { Mailer, MailMessage } from './mail/mail.ts'
export type { OutboundSettings } from './oidc/http-client.ts'
export type { LinkingOptions, PortalSsoOptions, SessionOptions } from './options.ts'
export type { PortalApi, PortalSso, SessionMiddlewareOptions } from './portal-sso.ts'
export type { SecretReferenceOptions } from './providers/secret-references.ts'
export type { RegistrationField } from './registration/registration-form.ts'
export type { RedisLike } from './sessions/redis-client.ts'
export type { PartialLimits, SessionLimits } from './sessions/session-limits.ts'
export type { SerializeUser } from './sessions/sessions.ts'
export type { ActOptions } from './shared/act-options.ts'
export type { Logger } from './shared/logger.ts'
export type { RegistrationPolicy } from './sign-in/decide.ts'
export type { PickerOptions } from './sign-in/picker-route.ts'
export type { TestSignInLink, TestSignInsApi } from './test-sign-in/test-sign-in-links.ts'
export type { Branding, BrandingLink } from './web/branding.ts'
export type { LocaleTexts, LocalizedText } from './web/locale-texts.ts'
export type { RateLimits, RedisCounter } from './web/rate-limit.ts'

// Users and identities.

export type { IdentitiesApi } from './management/identities-api.ts'
export type { Identity } from './oidc/identity.ts'
export type { BlockedIdentity, BlockReason } from './users/blocked-identities-table.ts'
export { normaliseEmail } from './users/email-address.ts'
export type { LinkedIdentity } from './users/identities-table.ts'
export type {
  EntraAccount,
  LinkedAddress,
  LinkListener,
  Registration,
  Subject,
  User,
  UserDirectory,
} from './users/user-directory.ts'
export type { UsersApi } from './users/users.ts'

// Providers.

export type { PublishedKey } from './management/client-keys.ts'
export type { ImportOptions, ImportResult } from './management/import-providers.ts'
export type { ProviderFile, ProviderInFile } from './management/provider-file.ts'
export type { ProviderInput } from './management/provider-input.ts'
export type {
  DisableOptions,
  EnableOptions,
  ProviderUsage,
  RemovedProvider,
  UsageOptions,
} from './management/provider-lifecycle.ts'
export type { ProviderFilter, ProvidersApi } from './management/providers-api.ts'
export { ProviderTestError, type UpdateOptions } from './management/save-provider.ts'
export type { ProviderTest } from './management/test-provider.ts'
export type { ClientKeyAlgorithm, KeyState } from './providers/client-key.ts'
export type { Check, Provider, ProviderHealth } from './providers/provider.ts'
export type {
  AssertionAudience,
  ClientAuthentication,
  SecretEncoding,
  SigningAlgorithm,
} from './providers/setting-values.ts'
export type {
  DetectedSetting,
  ProviderChanges,
  ProviderSettings,
  SecretSetting,
  SettingName,
  SettingsInput,
  StoredSettings,
} from './providers/settings.ts'

// Sessions.

export type { SessionFilter, SessionsApi } from './management/sessions-api.ts'
export type { Device } from './sessions/session-data.ts'
export type { SessionInfo } from './sessions/sessions-table.ts'

// Events.

export type { Activity, EventFilter, HistoryApi, StoredEvent } from './events/event-history.ts'
export type { EventSettings, PortalEvents } from './events/event-log.ts'
export type * from './events/event-types.ts'

// Errors.

export {
  ConfigurationError,
  EmailTakenError,
  type Issue,
  ManagementError,
  type ManagementErrorCode,
  PortalSsoError,
  type ProblemCode,
} from './shared/errors.ts'
