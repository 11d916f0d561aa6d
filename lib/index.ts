/// <reference types="express-session" preserve="true" />
/// <reference types="passport" preserve="true" />
export type { AdminOptions } from './admin/admin.ts'
export { createPortalSso } from './create-portal-sso.ts'
export type { Activity, EventFilter, EventHistory as History, StoredEvent } from './events/event-history.ts'
export type { PortalEvents } from './events/event-log.ts'
export type { EventKind, EventOf, PortalEvent } from './events/event-types.ts'
export type { GuardOptions } from './guard.ts'
export type { DisableOptions, EnableOptions } from './management/enable-provider.ts'
export type { ImportOptions, ImportResult } from './management/import-providers.ts'
export type { ProviderFile } from './management/provider-file.ts'
export type { ProviderInput } from './management/provider-input.ts'
export type { ProvidersApi } from './management/providers-api.ts'
export type { SessionFilter, SessionsApi } from './management/sessions-api.ts'
export type { ProviderTest } from './management/test-provider.ts'
export type { UpdateOptions } from './management/update-provider.ts'
export type { Identity } from './oidc/identity.ts'
export type { PortalSsoOptions, SessionOptions } from './options.ts'
export type { PortalApi, PortalSso } from './portal-sso.ts'
export type { Check, Provider } from './providers/provider.ts'
export type { SecretReferenceOptions } from './providers/secret-references.ts'
export type { ProviderChanges, ProviderSettings } from './providers/settings.ts'
export type { RegistrationField } from './registration/registration-form.ts'
export type { SessionMiddlewareOptions } from './session.ts'
export type { SessionInfo } from './sessions/sessions-table.ts'
export type { ActOptions } from './shared/act-options.ts'
export {
  ConfigurationError,
  EmailTakenError,
  type Issue,
  ManagementError,
  type ManagementErrorCode,
  PortalSsoError,
  type ProblemCode,
} from './shared/errors.ts'
export type { Logger } from './shared/logger.ts'
export { normaliseEmail } from './users/email-address.ts'
export type { Registration, User, UserDirectory } from './users/user-directory.ts'
