import { statSync } from 'node:fs'
import type { Request } from 'express'
import type { Knex } from 'knex'
import * as z from 'zod'
import type { EventSettings } from './events/event-log.ts'
import type { Mailer } from './mail/mail.ts'
import { isAddressRange } from './oidc/address-rules.ts'
import { isLoopback, type OutboundSettings } from './oidc/http-client.ts'
import type { SecretReferenceOptions } from './providers/secret-references.ts'
import { isSafePattern, type RegistrationField } from './registration/registration-form.ts'
import type { RedisLike } from './sessions/redis-client.ts'
import type { PartialLimits, SessionLimits } from './sessions/session-limits.ts'
import { ConfigurationError } from './shared/errors.ts'
import { consoleLogger, type Logger } from './shared/logger.ts'
import type { RegistrationPolicy } from './sign-in/decide.ts'
import type { PickerOptions } from './sign-in/picker-route.ts'
import { normaliseEmail } from './users/email-address.ts'
import type { LinkListener, UserDirectory } from './users/user-directory.ts'
import { type Branding, brandingSchema } from './web/branding.ts'
import { type InstanceNames, instanceNames } from './web/core.ts'
import {
  assertLocales,
  assertLocalized,
  type LocaleTexts,
  type LocalizedText,
  localizedText,
  offeredLanguages,
} from './web/locale-texts.ts'
import type { RateLimits } from './web/rate-limit.ts'
import { safeReturnTo } from './web/return-to.ts'

/** Options of `createPortalSso`. Only `baseUrl`, `secret` and `database` are required. */
export interface PortalSsoOptions {
  /**
   * Public origin of the application, such as `https://portal.example.com`, or one for each of several portals:
   * `{ 'north': 'https://north.example.com', … }`. Callback URLs are built from it, never from the Host header. https, or for
   * development http on `localhost`, a name that ends with `.localhost`, or a loopback address.
   */
  baseUrl: string | Record<string, string>
  /**
   * 32 or more random characters without spaces. To rotate it, give `[new, old]`: the first one encrypts and signs, all are
   * accepted. `undefined`, such as from `process.env`, is refused at start.
   */
  secret: string | string[] | undefined
  /** A Knex instance of the host, a Knex configuration, or a URL: `postgres://…`, `mysql://…`, `sqlite:file`. `undefined` is refused at start. */
  database: Knex | Knex.Config | string | undefined
  /** Whether to migrate the tables at start. Default true; otherwise run `portal-sso migrate`. */
  migrate?: boolean | undefined
  /** A connected client or cluster of the package `redis`. Default: sessions in the memory of the process, for development only. */
  redis?: RedisLike | undefined
  /** The host's own users, or only `onLinked` for the users in the table `sso_users`. Default: that table. */
  users?: UserDirectory | LinkListener | undefined
  /** Returns the portal of a request: one that `baseUrl` lists, or a name of a-z, 0-9 and `.:_-`. Default: one portal, `default`. */
  portal?: ((req: Request) => string) | undefined
  /** Path where `sso.router()` is mounted. Default `/`. */
  mountPath?: string | undefined
  /** Path where a user without a deep link arrives after the sign-in. Default `/`. */
  homePath?: string | undefined
  /** The registration policy. Default `open`: every user with a verified e-mail address. */
  registration?: RegistrationPolicy | undefined
  /** Consequences of a user's first proven sign-in with a provider. */
  linking?: Partial<LinkingOptions> | undefined
  /** Fields added to the registration form, at most 20. Default none. */
  registrationFields?: RegistrationField[] | undefined
  /** URL of the terms that users must accept to register, perhaps one for each language. Default none. */
  registrationTerms?: LocalizedText | undefined
  /** How long sessions last, and how fast changes reach them. */
  session?: Partial<SessionOptions> | undefined
  /** Name, logo, colour and links of the pages. */
  branding?: Partial<Branding> | undefined
  /** How users choose a provider on the login page. */
  picker?: Partial<PickerOptions> | undefined
  /**
   * Adds languages to those of the plugin, replaces single texts (`{ fr: { picker: { title: '…' } } }`, with the names of
   * `views/locales/en.json`), or removes a language: `{ ar: false }`. An added language shows English for the texts that it lacks.
   */
  locales?: Readonly<Record<string, LocaleTexts | false>> | undefined
  /** The language of users whose browser prefers none of the offered ones. Default `en`. */
  defaultLocale?: string | undefined
  /** A folder whose EJS templates replace those of the same name in `views`. Default none. */
  viewsDir?: string | undefined
  /** Requests for which `allow` returns true may use the host's classic login although a provider is enabled. Default none. */
  classicLogin?: { allow: (req: Request) => boolean } | undefined
  /**
   * Sends verification codes and security notices. Default none: a sign-in whose e-mail address the provider does not vouch for is
   * then refused, and users receive no notices.
   */
  mailer?: Mailer | undefined
  /** Sender of the mails, such as `Portal <no-reply@example.com>`. Default: the transport's own. */
  mailFrom?: string | undefined
  /** Addresses, at most 20, that receive warnings such as of an expiring client secret. Default none. Requires `mailer`. */
  adminMail?: string | string[] | undefined
  /**
   * Which references to client secrets (`env:NAME`, `file:/path`) code and the command line may set. A reference is only read
   * where this option allows it. Default none.
   */
  secretReferences?: SecretReferenceOptions | undefined
  /** Limits for requests to providers. */
  outbound?: Partial<OutboundSettings> | undefined
  /**
   * Limits for requests from one client address, which is `req.ip`: behind a proxy, set Express's `trust proxy`, or all clients
   * share the proxy's address. `false`: something in front of the portal already limits requests.
   */
  rateLimits?: Partial<RateLimits> | false | undefined
  /** How much of each event is stored, and for how long. */
  events?: Partial<EventSettings> | undefined
  /** A logger such as pino's. Default: one line of JSON per message on stderr. */
  logger?: Logger | undefined
}

/** Consequences of a user's first proven sign-in with a provider. */
export interface LinkingOptions {
  /**
   * Whether a user's other sessions end, and their unproven sign-in methods are removed, when a provider or a code proves for the
   * first time that the user owns their address. Default true: another person may have registered the address before them. Set
   * `false` only if your own registration verifies addresses.
   */
  endOtherSessions: boolean
}

/** How long sessions last, and how fast changes reach them. */
export interface SessionOptions extends SessionLimits {
  /** Limits of single portals, by the portal's name. Default none. */
  portals: Readonly<Record<string, PartialLimits>>
  /**
   * Seconds until a running session notices a change made elsewhere, such as a user deactivated in the directory or a session
   * ended from the command line: 0 to 60, default 5. 0 reads the directory at every request.
   */
  userCacheSeconds: number
  /**
   * Returns where a request comes from, for the list of a user's sessions, such as a city that a CDN sends in a header. Default:
   * the client address, as far as `events.clientAddress` keeps it.
   */
  location?: ((req: Request) => string | undefined) | undefined
  /**
   * Name of the session's cookie, and start of the names of all others: letters, digits, `-` and `_`. On https, `__Host-` is added.
   * Default: from the mount path, `portal-sso` for `/` and `portal-sso.staff` for `/staff`, so that several instances in one app
   * keep their sessions apart. Set it for two applications on one host name that have the same mount path, such as on two ports.
   */
  cookieName?: string | undefined
  /**
   * Start of all keys in Redis. Default: from the mount path, `portal-sso:` for `/` and `portal-sso.staff:` for `/staff`. Set it if
   * another application uses the same Redis with the same mount path.
   */
  prefix?: string | undefined
}

const functionSchema = <T>(what: string) =>
  z.custom<T>((value) => typeof value === 'function', `give a function: ${what}`)
const objectWith = <T>(methods: string[], what: string) =>
  z.custom<T>(
    (value) =>
      methods.every((method) => typeof (value as Record<string, unknown> | null)?.[method] === 'function'),
    `give ${what}, with the method(s) ${methods.join(', ')}`,
  )

const publicOrigin =
  'write the public origin such as `https://portal.example.com`, without a path; http only for localhost'
const origin = z.string().refine(isOrigin, publicOrigin)
const longSecret = 'give 32 or more random characters, for example from `openssl rand -base64 32`'
// The command line reads several secrets from one variable, separated by spaces.
const secret = z
  .string({ error: longSecret })
  .min(32, longSecret)
  .regex(/^\S*$/, 'remove the spaces: `portal-sso` reads several secrets, separated by spaces')
const loopback = ['127.0.0.0/8', '::1']
const unsafePattern =
  'write a pattern that cannot backtrack for long: neighbouring repetitions must not match the same characters; list characters instead of `\\p{…}`, without the flag `v`'
const perMinute = z.number().int().positive().max(1_000_000)
const writeAddress = 'write an address such as `admin@example.com`, or several in an array'
const mailAddress = z.string().refine((address) => normaliseEmail(address) !== undefined, writeAddress)
const cookieNameHint =
  'write 1 to 40 letters, digits, `-` or `_`, starting with neither `sso-` nor `__`: `__Host-` is added on https'
const label = localizedText(z.string().min(1).max(100), "{ en: 'Team', de: 'Abteilung' }")
const idleMinutes = z.number().positive().max(1440)
const absoluteHours = z.number().positive().max(720)
const writeTexts =
  "write texts such as `{ fr: { picker: { lead_one: '…' } } }`, or `false` to remove a language"
const isRecord = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
const localPath = z
  .string()
  .refine((path) => safeReturnTo(path) !== undefined, 'write a path such as `/portal`')

const schema = z.strictObject({
  baseUrl: z.union([origin, z.record(z.string().min(1).max(100), origin)], { error: publicOrigin }),
  secret: z.union([secret, z.array(secret).min(1, longSecret)], { error: longSecret }),
  database: z.custom<NonNullable<PortalSsoOptions['database']>>(
    (value) =>
      typeof value === 'function' ||
      typeof value === 'string' ||
      (typeof value === 'object' && value !== null),
    'give a Knex instance, a Knex configuration, or a URL such as `postgres://…`, `mysql://…` or `sqlite:portal.sqlite3`',
  ),
  migrate: z.boolean().default(true),
  redis: objectWith<RedisLike>(
    ['get', 'set', 'del', 'expire', 'eval'],
    'a connected client of the package `redis`',
  ).optional(),
  users: z
    .union(
      [
        objectWith<UserDirectory>(['findById', 'findByEmail', 'create'], ''),
        objectWith<LinkListener>(['onLinked'], '').refine((given) => !('findById' in given)),
      ],
      { error: 'give a UserDirectory, with the method(s) findById, findByEmail, create' },
    )
    .optional(),
  portal: functionSchema<(req: Request) => string>('(req) => name of the portal').optional(),
  mountPath: localPath.transform((path) => path.replace(/(?<=.)\/$/, '')).default('/'),
  homePath: localPath.default('/'),
  registration: z
    .custom<RegistrationPolicy>(
      (value) => value === 'open' || value === 'closed' || typeof value === 'function',
      "write 'open', 'closed' or a function of the identity",
    )
    .default('open'),
  linking: z.strictObject({ endOtherSessions: z.boolean().default(true) }).prefault({}),
  registrationFields: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[A-Za-z]\w{0,39}$/, 'write letters, digits and _ only'),
        label,
        type: z.enum(['text', 'tel', 'select', 'checkbox']).optional(),
        required: z.boolean().optional(),
        pattern: z.instanceof(RegExp).refine(isSafePattern, unsafePattern).optional(),
        options: z
          .array(
            z.strictObject({
              value: z.string(),
              label: localizedText(z.string(), "{ en: 'Yes', de: 'Ja' }"),
            }),
          )
          .optional(),
      }),
    )
    .max(20)
    .refine(
      (fields) => fields.every(({ type, options }) => type !== 'select' || (options?.length ?? 0) > 0),
      'a select needs `options`',
    )
    .refine(
      (fields) => new Set(fields.map(({ name }) => name)).size === fields.length,
      'two fields have the same name',
    )
    .default([]),
  registrationTerms: localizedText(z.string().min(1), "{ en: '/terms', de: '/agb' }").optional(),
  session: z
    .strictObject({
      idleMinutes: idleMinutes.default(30),
      absoluteHours: absoluteHours.default(12),
      portals: z
        .record(
          z.string(),
          z.strictObject({ idleMinutes: idleMinutes.optional(), absoluteHours: absoluteHours.optional() }),
        )
        .default({}),
      userCacheSeconds: z.number().min(0).max(60).default(5),
      location: functionSchema<NonNullable<SessionOptions['location']>>('(req) => text').optional(),
      cookieName: z
        .string(cookieNameHint)
        .regex(/^(?!__|sso-)[\w-]{1,40}$/, cookieNameHint)
        .optional(),
      prefix: z
        .string()
        .regex(/^[!-~]{1,100}$/, 'write 1 to 100 ASCII characters without spaces, such as `staff:`')
        .optional(),
    })
    .prefault({}),
  branding: brandingSchema,
  picker: z
    .strictObject({ mode: z.enum(['list', 'email']).optional(), skipSingle: z.boolean().default(false) })
    .prefault({}),
  locales: z
    .record(
      z.string(),
      z.custom<LocaleTexts | false>((texts) => texts === false || isRecord(texts), writeTexts),
      writeTexts,
    )
    .default({}),
  defaultLocale: z.string().default('en'),
  viewsDir: z.string().refine(isFolder, 'write the path of an existing folder').optional(),
  classicLogin: z
    .strictObject(
      { allow: functionSchema<(req: Request) => boolean>('(req) => boolean') },
      'write `{ allow: (req) => boolean }`',
    )
    .default({ allow: () => false }),
  mailer: z
    .custom<Mailer>(
      (value) =>
        typeof value === 'function' ||
        typeof (value as { sendMail?: unknown } | null)?.sendMail === 'function',
      'give a transport of nodemailer (`createTransport(…)`) or a function that sends a mail',
    )
    .optional(),
  mailFrom: z.string().min(3).max(300).optional(),
  secretReferences: z
    .strictObject({
      env: z.instanceof(RegExp, { error: 'give a regular expression such as `/SSO_\\w+/`' }).optional(),
      directories: z.array(z.string().startsWith('/', 'give absolute paths')).optional(),
    })
    .default({}),
  adminMail: z.union([mailAddress, z.array(mailAddress).max(20)], { error: writeAddress }).optional(),
  outbound: z
    .strictObject({
      timeoutSeconds: z.number().min(1).max(6).default(5),
      allowedAddresses: z
        .array(z.string().refine(isAddressRange, 'write an address or a range such as `10.20.0.0/16`'))
        .max(100)
        .default([]),
      concurrency: z.number().int().positive().max(1000).default(32),
    })
    .prefault({}),
  rateLimits: z
    .union(
      [
        z.literal(false),
        z.strictObject({
          start: perMinute.default(2000),
          callback: perMinute.default(2000),
          registration: perMinute.default(2000),
          code: perMinute.default(200),
          logout: perMinute.default(2000),
          records: perMinute.default(120),
        }),
      ],
      { error: 'write limits such as `{ start: 2000, code: 200 }`, or `false`' },
    )
    .prefault({}),
  events: z
    .strictObject({
      clientAddress: z.enum(['full', 'shortened', 'none']).default('shortened'),
      retentionDays: z.number().int().positive().max(3650).default(365),
    })
    .prefault({}),
  logger: objectWith<Logger>(['info', 'warn', 'error'], 'a logger of the shape of pino').default(
    consoleLogger,
  ),
})

type CheckedOptions = Required<z.output<typeof schema>>

/** The options, checked, with every default filled in. */
export interface Settings
  extends Omit<CheckedOptions, 'secret' | 'adminMail' | 'classicLogin'>,
    InstanceNames {
  /** every portal's origin is https */
  secure: boolean
  /** newest first */
  secrets: [string, ...string[]]
  adminMail: string[]
  allowsClassic: (req: Request) => boolean
}

const kinds: Record<string, string> = { array: 'an array', int: 'a whole number', object: 'an object' }

/** Message for schema rules that have none of their own. Never quotes a value, which may be a secret. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return `write ${kinds[issue.expected] ?? `a ${issue.expected}`}`
    case 'invalid_value':
      return `write ${issue.values.map((value) => `\`${String(value)}\``).join(' or ')}`
    case 'unrecognized_keys':
      return `there is no option ${issue.keys.map((key) => `\`${key}\``).join(', ')}`
    case 'too_small':
      return issue.origin === 'string'
        ? `write a text of at least ${issue.minimum} character(s)`
        : `write a number ${issue.inclusive ? 'of at least' : 'above'} ${issue.minimum}`
    case 'too_big':
      return issue.origin === 'number'
        ? `write a number of at most ${issue.maximum}`
        : `write at most ${issue.maximum} ${issue.origin === 'array' ? 'of them' : 'characters'}`
    default:
      return undefined
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** @throws ConfigurationError with a sentence for every invalid option */
export function readOptions(options: PortalSsoOptions): Settings {
  const result = schema.safeParse(options, { error: describeIssue })
  if (!result.success) {
    const sentences = result.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'options'}: ${message}`,
    )
    throw new ConfigurationError(`createPortalSso: ${sentences.join('; ')}`)
  }
  // Reading an omitted option gives `undefined`, as the type says.
  const { secret: secrets, classicLogin, ...settings } = result.data as CheckedOptions
  const adminMail = settings.adminMail === undefined ? [] : [settings.adminMail].flat()
  if (adminMail.length > 0 && !settings.mailer)
    throw new ConfigurationError('createPortalSso: adminMail: requires the option `mailer`')
  const origins = typeof settings.baseUrl === 'string' ? [settings.baseUrl] : Object.values(settings.baseUrl)
  const secure = origins.every((each) => each.startsWith('https:'))
  if (!secure && origins.some((each) => each.startsWith('https:')))
    throw new ConfigurationError(
      'createPortalSso: baseUrl: https for all portals, or http on localhost for all',
    )
  const unknown = Object.keys(settings.session.portals).filter(
    (portal) => typeof settings.baseUrl !== 'string' && !Object.hasOwn(settings.baseUrl, portal),
  )
  if (unknown.length > 0)
    throw new ConfigurationError(
      `createPortalSso: session.portals.${unknown[0]}: write the name of a portal of \`baseUrl\``,
    )
  assertTexts(settings)
  // A portal on the loopback is in development, and its providers may be on the loopback, too.
  const onLoopback = origins.every((each) => isLoopback(new URL(each).hostname))
  return {
    ...settings,
    ...instanceNames({ ...settings, secure }),
    outbound: {
      ...settings.outbound,
      allowedAddresses: [...settings.outbound.allowedAddresses, ...(onLoopback ? loopback : [])],
    },
    adminMail,
    secure,
    secrets: [secrets].flat() as [string, ...string[]],
    // Only `true` opens the classic login, so that a promise or another truthy value does not open it by accident.
    allowsClassic: (req) => classicLogin.allow(req) === true,
  }
}

/** @throws ConfigurationError for a wrong language or a text that is missing in the default language */
function assertTexts(settings: Omit<CheckedOptions, 'secret' | 'classicLogin'>): void {
  assertLocales(settings)
  const languages = offeredLanguages(settings)
  const { branding, registrationFields, registrationTerms } = settings
  for (const [at, { label }] of (branding.links ?? []).entries())
    assertLocalized(`branding.links.${at}.label`, label, languages)
  assertLocalized('branding.name', branding.name, languages)
  assertLocalized('branding.support', branding.support, languages)
  assertLocalized('registrationTerms', registrationTerms, languages)
  for (const [at, { label, options = [] }] of registrationFields.entries())
    for (const text of [label, ...options.map((option) => option.label)])
      assertLocalized(`registrationFields.${at}.label`, text, languages)
}

/** True for an https origin, or an http origin on the loopback. */
export function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return (
    url.origin === text &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname)))
  )
}
