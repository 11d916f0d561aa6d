import { type Request, type RequestHandler, type Response, Router } from 'express'
import { EmailTaken, PortalSsoError } from '../errors.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Admit } from '../sign-in/admit.ts'
import type { LookUp } from '../sign-in/look-up.ts'
import type { Refuse } from '../sign-in/refuse.ts'
import type { Registration, User, UserDirectory } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import { handle } from '../web/handle.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'
import type { PendingRegistration, PendingRegistrations } from './pending-registration.ts'
import {
  checkForm,
  type FormErrors,
  type RegistrationFormOptions,
  readForm,
  type Typed,
} from './registration-form.ts'

export interface RegistrationParts {
  addresses: Addresses
  admit: Admit
  registrationForm: RegistrationFormOptions
  homePath: string
  lookUp: LookUp
  pages: Pages
  pendings: PendingRegistrations
  portalOf: PortalOf
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  refuse: Refuse
  table: ProvidersTable
  users: UserDirectory
}

/** `GET|POST /register`: the short form for an e-mail that the portal does not know yet. */
export function createRegistrationRoutes(parts: RegistrationParts): Router {
  const {
    addresses,
    admit,
    registrationForm: form,
    homePath,
    lookUp,
    pages,
    pendings,
    portalOf,
    posted,
    refuse,
    table,
    users,
  } = parts

  /** Runs for whoever has a registration pending; everybody else is told, kindly, that there is none. */
  function withPending(
    act: (req: Request, res: Response, pending: PendingRegistration, provider: Provider) => Promise<void>,
  ): RequestHandler {
    return handle(async (req, res) => {
      const portal = portalOf(req)
      const pending = await pendings.find(req)
      const { provider: slug, returnTo } = pending ?? {}
      try {
        if (req.user) {
          // Whose registration it is cannot be told any more.
          pendings.clear(res)
          return res.redirect(303, homePath)
        }
        if (!pending || pending.portal !== portal)
          throw new PortalSsoError('registration_gone', 'this browser has no pending registration')
        await act(req, res, pending, await stillAsItWas(pending))
      } catch (error) {
        await refuse(req, res, error, { portal, provider: slug, returnTo })
      }
    })
  }

  /** A provider that was disabled or changed meanwhile vouches for nobody any more. */
  async function stillAsItWas({
    portal,
    provider: slug,
    providerId,
    version,
  }: PendingRegistration): Promise<Provider> {
    const provider = await table.find(portal, slug)
    if (!provider?.enabled || provider.id !== providerId || provider.version !== version)
      throw new PortalSsoError('provider_changed', 'the provider was changed during the registration')
    return provider
  }

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
      email: { value: pending.identity.email ?? '' },
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

  async function register(
    req: Request,
    res: Response,
    pending: PendingRegistration,
    provider: Provider,
  ): Promise<void> {
    const { identity, portal, returnTo } = pending
    const { turn, gone } = await lookUp(identity, portal)
    switch (turn.turn) {
      case 'refuse':
        throw new PortalSsoError(turn.reason, 'the portal does not let this person in')
      case 'prove':
        throw new PortalSsoError('address_unproven', 'nobody vouches for the e-mail address')
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

  /**
   * There is a user by now: made in another tab, or by a faster registration. Through the provider once more, which costs the
   * person no click: so a pending registration, whoever got hold of it, never signs anybody in as a user who exists.
   */
  function startAgain(res: Response, { provider, returnTo }: PendingRegistration): void {
    pendings.clear(res)
    res.redirect(303, addresses.path(`/login/${provider}`, { returnTo }))
  }

  const router = Router()
  router.get(
    '/register',
    withPending(async (req, res, pending, provider) => {
      const typed = readForm({ name: pending.identity.name }, form)
      await showForm(req, res, pending, provider, typed, {})
    }),
  )
  router.post(
    '/register',
    ...posted,
    withPending(async (req, res, pending, provider) => {
      await register(req, res, pending, provider)
    }),
  )
  return router
}
