import { statSync } from 'node:fs'
import type { Request } from 'express'
import type { Knex } from 'knex'
import { z } from 'zod'
import type { EventSettings } from './events/event-log.ts'
import type { Mailer } from './mail/mail.ts'
import { isAddressRange } from './oidc/address-rules.ts'
import { isLoopback, type OutboundSettings } from './oidc/http-client.ts'
import type { SecretReferenceOptions } from './providers/secret-references.ts'
import type { RegistrationField } from './registration/registration-form.ts'
import type { PartialLimits, SessionLimits } from './sessions/session-limits.ts'
import type { RedisLike } from './sessions/session-store.ts'
import { ConfigurationError } from './shared/errors.ts'
import { consoleLogger, type Logger } from './shared/logger.ts'
import type { RegistrationPolicy } from './sign-in/resolve-identity.ts'
import { normaliseEmail } from './users/email-address.ts'
import type { UserDirectory } from './users/user-directory.ts'
import type { Branding } from './web/pages.ts'
import type { RateLimits } from './web/rate-limit.ts'
import { safeReturnTo } from './web/return-to.ts'

export interface PortalSsoOptions {
  /**
   * Public origin of the application, such as `https://portal.example.com`; with several portals an origin for each,
   * `{ 'north': 'https://north.example.com', … }`. Callback URLs are built from it, never from the Host header. https, or
   * http on a loopback address for development.
   */
  baseUrl: string | Record<string, string>
  /** 32 or more random characters, no spaces. An array rotates: the first one writes, all read. An `undefined` of `process.env` fails at start. */
  secret: string | string[] | undefined
  /** a Knex instance of the host's, a Knex configuration, or a URL: `postgres://…`, `sqlite:file`. `undefined` fails at start */
  database: Knex | Knex.Config | string | undefined
  /** bring the tables up to date at start; default true. Otherwise `portal-sso migrate` does */
  migrate?: boolean | undefined
  /** a connected `redis` client or cluster; left out: sessions in the process, for development only */
  redis?: RedisLike | undefined
  /** the host's own users; left out: the table `sso_users` */
  users?: UserDirectory | undefined
  /** which portal a request is for; left out: one portal, `default` */
  portal?: ((req: Request) => string) | undefined
  /** where `sso.router()` is mounted; default `/` */
  mountPath?: string | undefined
  /** where a sign-in without a deep link leads; default `/` */
  homePath?: string | undefined
  /** who may register; default `open`: everybody whose address is certain, see `RegistrationPolicy` */
  registration?: RegistrationPolicy | undefined
  /** fields added to the registration form; default none */
  registrationFields?: RegistrationField[] | undefined
  /** address of the terms to accept at registration; default none */
  registrationTerms?: string | undefined
  /** default 30 minutes idle, 12 hours absolute, users asked for every 5 s */
  session?: Partial<SessionOptions> | undefined
  /** how the pages look; default the name `Portal` and nothing else */
  branding?: Partial<Branding> | undefined
  /** a folder whose templates replace ours of the same name */
  viewsDir?: string | undefined
  /** break glass: requests for which it is true see and may use the host's classic login all the same */
  classicLogin?: { allow: (req: Request) => boolean } | undefined
  /**
   * sends the codes that prove an address, and tells people that a way to sign in was added or removed: a transport of nodemailer's,
   * or a function; left out: a sign-in whose address nobody vouches for is refused, and nobody is told
   */
  mailer?: Mailer | undefined
  /** sender of these mails, such as `Portal <no-reply@example.com>`; default the transport's own */
  mailFrom?: string | undefined
  /** where warnings go by the mailer, such as of a client secret that runs out: one address or several; left out: no mail */
  adminMail?: string | string[] | undefined
  /**
   * Which references to client secrets (`env:NAME`, `file:/path`) code and the command line may set; default: none. A
   * reference is read only where this allows it.
   */
  secretReferences?: SecretReferenceOptions | undefined
  /** how providers are reached; default 5 s, and no addresses of private networks */
  outbound?: Partial<OutboundSettings> | undefined
  /**
   * requests a minute from one client address, which is `req.ip`: behind a proxy set Express's `trust proxy`, or all share
   * the proxy's. Default 2000 each, 200 for e-mailed codes; `false`: something in front of the portal limits already
   */
  rateLimits?: Partial<RateLimits> | false | undefined
  /** what is written down of each event; default a shortened client address, kept for 365 days */
  events?: Partial<EventSettings> | undefined
  /** pino's shape; default one line of JSON on stderr */
  logger?: Logger | undefined
}

export interface SessionOptions extends SessionLimits {
  /** portals whose limits are others; default none */
  portals: Readonly<Record<string, PartialLimits>>
  /**
   * seconds that it may take until a session notices what was changed past it: a user who was switched off in the directory, a
   * session that was ended from a command line. 0 asks at each request; default 5
   */
  userCacheSeconds: number
  /**
   * where a request comes from, for the list of somebody's sessions: a town that a CDN tells in a header, say; default the client
   * address as far as `events.clientAddress` keeps it
   */
  location?: ((req: Request) => string | undefined) | undefined
}

/** The options, checked, with every default filled in. */
export interface Settings {
  baseUrl: string | Record<string, string>
  /** every portal's origin is https */
  secure: boolean
  secrets: [string, ...string[]]
  database: Knex | Knex.Config | string
  migrate: boolean
  redis: RedisLike | undefined
  users: UserDirectory | undefined
  portal: (req: Request) => string
  mountPath: string
  homePath: string
  registration: RegistrationPolicy
  registrationFields: RegistrationField[]
  registrationTerms: string | undefined
  session: SessionOptions
  branding: Branding
  viewsDir: string | undefined
  allowsClassic: (req: Request) => boolean
  mailer: Mailer | undefined
  mailFrom: string | undefined
  adminMail: string[]
  secretReferences: SecretReferenceOptions
  outbound: OutboundSettings
  rateLimits: RateLimits | false
  events: EventSettings
  logger: Logger
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
// The command line reads several from one variable, with spaces between them.
const secret = z
  .string({ error: longSecret })
  .min(32, longSecret)
  .regex(/^\S*$/, 'leave the spaces out: `portal-sso` takes what follows one for another secret')
const loopback = ['127.0.0.0/8', '::1']
const perMinute = z.number().int().positive().max(1_000_000)
const writeAddress = 'write an address such as `admin@example.com`, or several in an array'
const mailAddress = z.string().refine((address) => normaliseEmail(address) !== undefined, writeAddress)
const idleMinutes = z.number().positive().max(1440)
const absoluteHours = z.number().positive().max(720)
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
    'give a Knex instance, a Knex configuration, or a URL such as `postgres://…` or `sqlite:portal.sqlite3`',
  ),
  migrate: z.boolean().default(true),
  redis: objectWith<RedisLike>(
    ['get', 'set', 'del', 'expire', 'eval'],
    'a connected client of the package `redis`',
  ).optional(),
  users: objectWith<UserDirectory>(['findById', 'findByEmail', 'create'], 'a UserDirectory').optional(),
  portal: functionSchema<(req: Request) => string>('(req) => name of the portal').default(
    () => () => 'default',
  ),
  mountPath: localPath.transform((path) => path.replace(/(?<=.)\/$/, '')).default('/'),
  homePath: localPath.default('/'),
  registration: z
    .custom<RegistrationPolicy>(
      (value) => value === 'open' || value === 'closed' || typeof value === 'function',
      "write 'open', 'closed' or a function of the identity",
    )
    .default('open'),
  registrationFields: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[A-Za-z]\w{0,39}$/, 'write letters, digits and _ only'),
        label: z.string().min(1).max(100),
        type: z.enum(['text', 'tel', 'select', 'checkbox']).optional(),
        required: z.boolean().optional(),
        pattern: z.instanceof(RegExp).optional(),
        options: z.array(z.strictObject({ value: z.string(), label: z.string() })).optional(),
      }),
    )
    .max(20)
    .refine(haveOptions, 'a select takes `options`: write those that can be chosen')
    .refine(haveOwnNames, 'two fields have the same name: write another one')
    .default([]),
  registrationTerms: z.string().min(1).optional(),
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
    })
    .prefault({}),
  branding: z
    .strictObject({
      name: z.string().min(1).max(60).default('Portal'),
      logo: z.string().optional(),
      stylesheet: z.string().optional(),
      support: z.string().max(200).optional(),
    })
    .prefault({}),
  viewsDir: z.string().refine(isFolder, 'write the path of a folder that is there').optional(),
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

const kinds: Record<string, string> = { array: 'an array', int: 'a whole number', object: 'an object' }

/** A sentence for what the schema has none of its own for. It never quotes a value: that may be a secret. */
function whatToWrite(issue: z.core.$ZodRawIssue): string | undefined {
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

function haveOptions(fields: readonly RegistrationField[]): boolean {
  return fields.every(({ type, options }) => type !== 'select' || (options?.length ?? 0) > 0)
}

function haveOwnNames(fields: readonly RegistrationField[]): boolean {
  return new Set(fields.map(({ name }) => name)).size === fields.length
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** @throws ConfigurationError with a sentence for every option that is wrong */
export function readOptions(options: PortalSsoOptions): Settings {
  const result = schema.safeParse(options, { error: whatToWrite })
  if (!result.success) {
    const sentences = result.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'options'}: ${message}`,
    )
    throw new ConfigurationError(`createPortalSso: ${sentences.join('; ')}`)
  }
  const { secret: secrets, classicLogin, ...settings } = result.data
  const adminMail = settings.adminMail === undefined ? [] : [settings.adminMail].flat()
  if (adminMail.length > 0 && !settings.mailer)
    throw new ConfigurationError('createPortalSso: adminMail: give a `mailer` too, or nothing is sent')
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
  // A portal that is itself on this machine is one under development, and so are its providers.
  const onLoopback = origins.every((each) => isLoopback(new URL(each).hostname))
  return {
    ...settings,
    outbound: {
      ...settings.outbound,
      allowedAddresses: [...settings.outbound.allowedAddresses, ...(onLoopback ? loopback : [])],
    },
    session: { ...settings.session, location: settings.session.location },
    redis: settings.redis,
    users: settings.users,
    registrationTerms: settings.registrationTerms,
    viewsDir: settings.viewsDir,
    mailer: settings.mailer,
    mailFrom: settings.mailFrom,
    adminMail,
    secure,
    secrets: [secrets].flat() as [string, ...string[]],
    // The operator's own word, but never by accident: only `true` opens.
    allowsClassic: (req) => classicLogin.allow(req) === true,
  }
}

/** Whether it is an https origin, or an http one of this machine. */
export function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return (
    url.origin === text &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname)))
  )
}
