import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import ejs from 'ejs'
import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response } from 'express'
import helmet from 'helmet'
import {
  ConfigurationError,
  describeError,
  PortalSsoError,
  type ProblemCode,
  stripSql,
} from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { viewsDirectory } from '../shared/package-paths.ts'
import { randomCode } from '../shared/random-code.ts'
import { setPrivateHeaders } from './handler.ts'
import { createLocales, type Locale } from './locale.ts'
import { acceptsHtml } from './request.ts'
import type { PortalUrls } from './urls.ts'

/** The templates: ours, and a host's in place of those of the same name. */
export interface Views {
  /**
   * @param name without its ending, such as `picker`
   * @param escaped makes a value fit for where it is printed; default for HTML
   */
  render(name: string, locals: object, escaped?: (value: unknown) => string): Promise<string>
}

/** @param viewsDir the host's folder */
export function createViews(viewsDir: string | undefined): Views {
  const views = viewsDir === undefined ? [viewsDirectory] : [viewsDir, viewsDirectory]
  // EJS looks beside the including file first: without this a host could not replace a partial alone.
  const includer = (name: string) => ({ filename: findView(views, name) })
  return {
    render: (name, locals, escaped) =>
      ejs.renderFile(findView(views, name), locals, {
        views,
        includer,
        cache: process.env.NODE_ENV === 'production',
        ...(escaped && { escape: escaped }),
      }),
  }
}

/** @param name without its ending, such as `picker` or `partials/head` */
function findView(directories: readonly string[], name: string): string {
  const found = directories.map((directory) => path.join(directory, `${name}.ejs`)).find(existsSync)
  if (found === undefined) throw new Error(`no view is called ${name}`)
  return found
}

export interface Branding {
  /** the portal's name; default `Portal` */
  name: string
  /** address of an image, from this site or https */
  logo?: string | undefined
  /** address of a stylesheet loaded after ours, from this site or https */
  stylesheet?: string | undefined
  /** whom to ask, as a person would say it: `it-help@example.com` */
  support?: string | undefined
}

/** A way on from a problem. */
export interface NextStep {
  label: 'tryAgain' | 'otherAccount' | 'adminConsent' | 'chooseProvider' | 'goBack' | 'home'
  href: string
}

export interface Pages {
  show(req: Request, res: Response, view: string, locals: object, status?: number): Promise<void>
  /** The page of a problem, or `application/problem+json` (RFC 9457) for clients that want no page. */
  problem(
    req: Request,
    res: Response,
    problem: PortalSsoError,
    shown: {
      reference: string | undefined
      ways: NextStep[]
      /** what stands in the sentence */
      words?: Record<string, string> | undefined
      /** where a client that wants no page sends the person; default the picker */
      login?: string | undefined
    },
  ): Promise<void>
  /** What is left when a handler of ours failed: logged exactly, shown generally. */
  readonly onError: ErrorRequestHandler
  /** `GET /login/assets/…` */
  readonly assets: RequestHandler
  /** @param req left out: English, whoever reads; for administrators */
  readonly locale: (req?: Request) => Locale
}

export interface PagesOptions {
  urls: PortalUrls
  branding: Branding
  logger: Logger
  /** writes down that somebody was refused, before they read it */
  recordRefusal: (
    req: Request,
    refusal: { code: ProblemCode; reason: string; reference: string },
  ) => Promise<void>
  views: Views
}

// For these the person cannot help himself: the page says whom to ask.
const askable = new Set<string>([
  'address_unproven',
  'user_inactive',
  'registration_closed',
  'insecure_connection',
  'provider_error',
  'authentication_unproven',
  'authentication_too_weak',
  'internal',
])

// Somebody tried to do something here and was not let: more than a failure, and worth a row that stays.
const refusals = new Set<ProblemCode>(['classic_login_off', 'cross_site_request', 'ticket_gone'])

export function createPages({ urls, branding, logger, recordRefusal, views }: PagesOptions): Pages {
  const assetsDirectory = path.join(viewsDirectory, 'assets')
  const fingerprint = fingerprintOf(assetsDirectory)
  const asset = (name: string) => urls.path(`/login/assets/${name}`, { v: fingerprint })
  const locale = createLocales(viewsDirectory)
  const secureHeaders = headersFor(branding)

  async function show(
    req: Request,
    res: Response,
    view: string,
    locals: object,
    status = 200,
  ): Promise<void> {
    const html = await views.render(view, { ...locale(req), branding, asset, ...locals })
    await new Promise<void>((resolve, reject) => {
      secureHeaders(req, res, (error?: unknown) => (error ? reject(error) : resolve()))
    })
    setPrivateHeaders(res)
    res.status(status).type('html').send(html)
  }

  async function problem(
    req: Request,
    res: Response,
    { code, status }: PortalSsoError,
    { reference, ways, words, login = urls.path('/login') }: Parameters<Pages['problem']>[3],
  ): Promise<void> {
    const { t } = locale(req)
    const title = t(`problems.${code}.title`)
    const sentence = t(`problems.${code}.sentence`, words)
    if (status === 503) res.set('retry-after', '5')
    setPrivateHeaders(res)
    res.vary('accept')
    if (!acceptsHtml(req)) {
      res.status(status).type('application/problem+json')
      res.send(
        JSON.stringify({
          type: 'about:blank',
          title,
          status,
          detail: sentence,
          code,
          reference,
          login,
        }),
      )
      return
    }
    const support = branding.support
    const askSentence = support ? t('problem.ask', { support }) : t('problem.askNobody')
    await show(
      req,
      res,
      'problem',
      {
        title,
        sentence,
        reference,
        ways: ways.map(({ label, href }, at) => ({
          href,
          label: t(`problem.ways.${label}`, { portal: branding.name }),
          primary: at === 0,
        })),
        askSentence: askable.has(code) ? askSentence : undefined,
      },
      status,
    )
  }

  // Four parameters: that is how Express knows a handler of errors.
  const onError: ErrorRequestHandler = (error, req, res, next) => {
    const known = toProblem(error)
    const reference = newReference()
    const log = known.status >= 500 ? logger.error : logger.warn
    log.call(
      logger,
      { reference, code: known.code, cause: describeError(error) },
      'a request was answered with a problem',
    )
    if (res.headersSent) {
      // Too late for a page; a half answer must not look whole.
      if (!res.writableEnded) res.destroy()
      return
    }
    answer(req, res, known, reference).catch(next)
  }

  async function answer(
    req: Request,
    res: Response,
    known: PortalSsoError,
    reference: string,
  ): Promise<void> {
    const { code } = known
    if (refusals.has(code)) await recordRefusal(req, { code, reason: describeError(known), reference })
    const ways: NextStep[] = [{ label: 'chooseProvider', href: urls.path('/login') }]
    await problem(req, res, known, { reference, ways })
  }

  return {
    show,
    problem,
    onError,
    locale,
    assets: express.static(assetsDirectory, {
      cacheControl: false,
      // Not `public`: the answer brings a cookie where a host notes something in the session with each request, and a shared
      // cache would hand it to whoever asks next.
      setHeaders: (res) => res.setHeader('cache-control', 'private, max-age=31536000, immutable'),
      index: false,
      redirect: false,
    }),
  }
}

/** Eight characters without look-alikes: shown to the person, found in the log and in `sso_events`. */
export function newReference(): string {
  return randomCode(8)
}

/** Any error as a problem; what is not ours is told apart only as far as the person can do something about it. */
export function toProblem(error: unknown): PortalSsoError {
  if (error instanceof PortalSsoError) return error
  // Body and address that Express itself refuses to read (too large, not decodable, given up by the client). First, for the
  // code of a connection that a client broke off is that of one which the database did.
  const status = (error as { status?: unknown } | null)?.status
  if (typeof status === 'number' && status >= 400 && status < 500 && !(error instanceof ConfigurationError))
    return new PortalSsoError('request_invalid', 'the request', { cause: error })
  if (isDatabaseFailure(error))
    return new PortalSsoError('database_unavailable', 'the database', { cause: error })
  return new PortalSsoError('internal', 'an unexpected error', { cause: error })
}

function isDatabaseFailure(error: unknown): boolean {
  const { code, name, message } = (error ?? {}) as { code?: unknown; name?: unknown; message?: unknown }
  return (
    name === 'KnexTimeoutError' ||
    /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|08|53|57P|SQLITE_(BUSY|IOERR|CANTOPEN|FULL))/.test(
      String(code ?? ''),
    ) ||
    /^(Connection terminated|timeout expired|Query read timeout|Unable to acquire a connection)/i.test(
      stripSql(String(message ?? '')),
    )
  )
}

function headersFor({ logo, stylesheet }: Branding): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        // Also for those that end at another site, see lead-on.ts.
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        imgSrc: ["'self'", 'data:', ...originOf(logo)],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'", ...originOf(stylesheet)],
      },
    },
    // Not no-referrer: browsers would then send `Origin: null` with our own forms.
    referrerPolicy: { policy: 'same-origin' },
    // For the whole domain, so the host's to decide.
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
  })
}

function originOf(address: string | undefined): string[] {
  return address && URL.canParse(address) ? [new URL(address).origin] : []
}

function fingerprintOf(directory: string): string {
  const hash = createHash('sha256')
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.join(parentPath, name))
  for (const file of files.sort()) hash.update(readFileSync(file))
  return hash.digest('base64url').slice(0, 10)
}
