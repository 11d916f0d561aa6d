/// <reference types="express-session" preserve="true" />
/// <reference types="passport" preserve="true" />
export { ConfigurationError, EmailTaken, PortalSsoError, type ProblemCode } from './errors.ts'
export type { EventKind, PortalEvent, PortalEvents } from './events/events.ts'
export type { Logger } from './logger.ts'
export type { PortalSsoOptions } from './options.ts'
export { createPortalSso, type PortalSso } from './portal-sso.ts'
export type { ProviderInput, Providers } from './providers/connect-provider.ts'
export type { Provider, ProviderSettings } from './providers/provider.ts'
export type { Check, ProviderTest } from './providers/test-provider.ts'
export type { RegistrationField } from './registration/registration-form.ts'
export type { Identity } from './sign-in/identity.ts'
export { normaliseEmail } from './users/email-address.ts'
export type { Registration, User, UserDirectory } from './users/user-directory.ts'
