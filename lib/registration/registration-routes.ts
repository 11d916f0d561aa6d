import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import { EmailTakenError, PortalSsoError } from '../shared/errors.ts'
import { type CompleteSignIn, link } from '../sign-in/complete-sign-in.ts'
import type { ResolveIdentity } from '../sign-in/decide.ts'
import type { NotifySignInMethodChange } from '../sign-in/notify-sign-in-method.ts'
import {
  accountLabel,
  addressOf,
  type PendingRegistration,
  type PendingRegistrations,
  type RestartSignIn,
  type WithPending,
} from '../sign-in/pending-registration.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { Registration, User, UserDirectory } from '../users/user-directory.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { EmailVerificationPages } from './email-verification-routes.ts'
import {
  checkForm,
  type FormErrors,
  type RegistrationFormOptions,
  readForm,
  type Typed,
} from './registration-form.ts'

export interface LinkRoutesParts {
  urls: PortalUrls
  events: EventLog
  homePath: string
  identities: IdentitiesTable
  resolveIdentity: ResolveIdentity
  pages: Pages
  pendingRegistrations: PendingRegistrations
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  notifySignInMethodChange: NotifySignInMethodChange
  withPending: WithPending
}

/**
 * `GET|POST /register/link`: who proved to be a user by signing in the usual way says whether the waiting identity is theirs.
 *
 * Asked, never assumed: on a shared machine the waiting identity may be somebody else's, who left the proof page open for the
 * next person to sign in on, and would from then on come in as that person.
 */
export function createLinkRoutes(parts: LinkRoutesParts): Router {
  const { urls, events, homePath, identities, resolveIdentity, pages, pendingRegistrations, posted } = parts
  const { notifySignInMethodChange, withPending } = parts

  async function ask(req: Request, res: Response, pending: PendingRegistration, provider: Provider) {
    await pages.show(req, res, 'link', {
      action: urls.path('/register/link'),
      user: req.user as User,
      provider: { displayName: provider.displayName },
      account: accountLabel(pending),
      registration: pending.id,
      asked: pending.asked === true,
    })
  }

  async function answer(req: Request, res: Response, pending: PendingRegistration, provider: Provider) {
    const { asked, id, identity, portal, returnTo } = pending
    const { answer: said, registration = id } = (req.body ?? {}) as Record<string, unknown>
    // Of two tabs both show what waited when they were opened: a yes is for what its page named, which may wait no more.
    if (registration !== id) return res.redirect(303, urls.path('/register/link'))
    pendingRegistrations.clear(res)
    // Anything but a clear yes is a no.
    if (said === 'link') {
      const user = req.user as User
      const userId = String(user.id)
      const { gone } = await resolveIdentity(identity, portal)
      if (await link(identities, { provider, identity, userId }, gone)) {
        await events.record({
          kind: 'linked',
          portal,
          userId,
          provider: provider.slug,
          clientAddress: req.ip,
        })
        notifySignInMethodChange(req, { user, provider, what: 'linked' })
      }
      if (asked) return res.redirect(303, urls.path('/account/security', { said: 'linked' }))
    }
    res.redirect(303, returnTo ?? homePath)
  }

  const forItsUser = (act: typeof answer) =>
    withPending(async (req, res, pending, provider) => {
      if (!req.user) return res.redirect(303, urls.path(pending.asked ? '/account/security' : '/register'))
      await act(req, res, pending, provider)
    }, isProvenBy)

  const router = Router()
  router.get('/register/link', forItsUser(ask))
  router.post('/register/link', ...posted, forItsUser(answer))
  return router
}

function isProvenBy(user: Express.User, { provedUserId }: PendingRegistration): boolean {
  return provedUserId === String((user as User).id)
}

export interface RegistrationParts {
  urls: PortalUrls
  completeSignIn: CompleteSignIn
  /** left out where no codes can be sent */
  emailVerificationPages: EmailVerificationPages | undefined
  registrationForm: RegistrationFormOptions
  resolveIdentity: ResolveIdentity
  pages: Pages
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  restartSignIn: RestartSignIn
  users: UserDirectory
  withPending: WithPending
}

/** `GET|POST /register`: the step that is due, at last the short form for an e-mail that the portal does not know yet. */
export function createRegistrationRoutes(parts: RegistrationParts): Router {
  const {
    urls,
    completeSignIn,
    registrationForm: form,
    resolveIdentity,
    pages,
    posted,
    emailVerificationPages,
    restartSignIn,
    users,
    withPending,
  } = parts

  async function showForm(
    req: Request,
    res: Response,
    pending: PendingRegistration,
    provider: Provider,
    typed: Typed,
    errors: FormErrors,
  ): Promise<void> {
    const count = Object.keys(errors).length
    const locals = {
      action: urls.path('/register'),
      cancelHref: urls.path('/login', { returnTo: pending.returnTo, cancelled: 'registration' }),
      provider: { displayName: provider.displayName },
      email: { value: addressOf(pending) ?? '', provenByCode: pending.proven !== undefined },
      name: { value: typed.name, error: errors.name },
      fields: form.fields.map((field) => ({
        name: `field.${field.name}`,
        label: field.label,
        type: field.type ?? 'text',
        required: field.required ?? false,
        options: field.options,
        value: typed.fields[field.name],
        error: errors[`field.${field.name}`],
      })),
      terms:
        form.terms === undefined
          ? undefined
          : { href: form.terms, accepted: typed.terms, error: errors.terms },
      errorCount: count,
    }
    res.status(count > 0 ? 422 : 200)
    await pages.show(req, res, 'registration', locals)
  }

  async function showDueStep(
    req: Request,
    res: Response,
    pending: PendingRegistration,
    provider: Provider,
  ): Promise<void> {
    const { identity, sent } = pending
    if (addressOf(pending) !== undefined)
      return await showForm(req, res, pending, provider, readForm({ name: identity.name }, form), {})
    if (!emailVerificationPages)
      throw new PortalSsoError('address_unproven', 'nobody vouches for the e-mail address')
    if (sent && req.query.address !== 'other')
      return await emailVerificationPages.code(
        req,
        res,
        { pending, provider },
        { email: sent.email, again: req.query.sent === 'again' },
      )
    await emailVerificationPages.address(req, res, { pending, provider }, sent?.email ?? identity.email ?? '')
  }

  async function register(
    req: Request,
    res: Response,
    pending: PendingRegistration,
    provider: Provider,
  ): Promise<void> {
    const { identity, portal, proven, returnTo } = pending
    const { turn, gone } = await resolveIdentity(identity, portal, proven)
    switch (turn.turn) {
      case 'refuse':
        throw new PortalSsoError(turn.reason, 'the portal does not let this person in')
      case 'prove':
        return res.redirect(303, urls.path('/register'))
      case 'known':
      case 'link':
        return restartSignIn(res, pending)
    }
    const typed = readForm(req.body, form)
    const errors = checkForm(typed, form, pages.locale(req).t)
    if (Object.keys(errors).length > 0) return await showForm(req, res, pending, provider, typed, errors)

    const user = await createUser({ email: turn.email, name: typed.name, fields: typed.fields }, portal)
    if (!user) return restartSignIn(res, pending)
    await completeSignIn(req, res, { provider, identity, user, how: 'registered', gone, returnTo })
  }

  /** @returns `undefined` when another registration took the address a moment before */
  async function createUser(registration: Registration, portal: string): Promise<User | undefined> {
    try {
      return await users.create(registration, portal)
    } catch (error) {
      if (error instanceof EmailTakenError) return undefined
      throw error
    }
  }

  const router = Router()
  router.get('/register', withPending(showDueStep))
  router.post('/register', ...posted, withPending(register))
  return router
}
