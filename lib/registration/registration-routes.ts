import { type Request, type RequestHandler, type Response, Router } from 'express'
import { EmailTaken, PortalSsoError } from '../errors.ts'
import type { Provider } from '../providers/provider.ts'
import type { Admit } from '../sign-in/admit.ts'
import type { LookUp } from '../sign-in/look-up.ts'
import type { Registration, User, UserDirectory } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Pages } from '../web/pages.ts'
import { addressOf, type PendingRegistration } from './pending-registration.ts'
import {
  checkForm,
  type FormErrors,
  type RegistrationFormOptions,
  readForm,
  type Typed,
} from './registration-form.ts'
import type { ShowProof } from './show-proof.ts'
import type { StartAgain } from './start-again.ts'
import type { WithPending } from './with-pending.ts'

export interface RegistrationParts {
  addresses: Addresses
  admit: Admit
  /** left out where no codes can be sent */
  showProof: ShowProof | undefined
  registrationForm: RegistrationFormOptions
  lookUp: LookUp
  pages: Pages
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  startAgain: StartAgain
  users: UserDirectory
  withPending: WithPending
}

/** `GET|POST /register`: the step that is due, at last the short form for an e-mail that the portal does not know yet. */
export function createRegistrationRoutes(parts: RegistrationParts): Router {
  const {
    addresses,
    admit,
    registrationForm: form,
    lookUp,
    pages,
    posted,
    showProof,
    startAgain,
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
      action: addresses.path('/register'),
      cancelHref: addresses.path('/login', { returnTo: pending.returnTo, cancelled: 'registration' }),
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
    await pages.show(req, res, 'registration', locals, count > 0 ? 422 : 200)
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
    if (!showProof) throw new PortalSsoError('address_unproven', 'nobody vouches for the e-mail address')
    if (sent && req.query.address !== 'other')
      return await showProof.code(
        req,
        res,
        { pending, provider },
        { email: sent.email, again: req.query.sent === 'again' },
      )
    await showProof.address(req, res, { pending, provider }, sent?.email ?? identity.email ?? '')
  }

  async function register(
    req: Request,
    res: Response,
    pending: PendingRegistration,
    provider: Provider,
  ): Promise<void> {
    const { identity, portal, proven, returnTo } = pending
    const { turn, gone } = await lookUp(identity, portal, proven)
    switch (turn.turn) {
      case 'refuse':
        throw new PortalSsoError(turn.reason, 'the portal does not let this person in')
      case 'prove':
        return res.redirect(303, addresses.path('/register'))
      case 'known':
      case 'link':
        return startAgain(res, pending)
    }
    const typed = readForm(req.body, form)
    const errors = checkForm(typed, form, pages.locale(req).t)
    if (Object.keys(errors).length > 0) return await showForm(req, res, pending, provider, typed, errors)

    const user = await createUser({ email: turn.email, name: typed.name, fields: typed.fields }, portal)
    if (!user) return startAgain(res, pending)
    await admit(req, res, { provider, identity, user, how: 'registered', gone, returnTo })
  }

  /** @returns `undefined` when another registration took the address a moment before */
  async function createUser(registration: Registration, portal: string): Promise<User | undefined> {
    try {
      return await users.create(registration, portal)
    } catch (error) {
      if (error instanceof EmailTaken) return undefined
      throw error
    }
  }

  const router = Router()
  router.get('/register', withPending(showDueStep))
  router.post('/register', ...posted, withPending(register))
  return router
}
