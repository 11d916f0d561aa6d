import { type Request, type Response, Router } from 'express'
import { providerName } from '../providers/provider.ts'
import { EmailTakenError, PortalSsoError } from '../shared/errors.ts'
import { type RegistrationStep, registrationEmail } from '../sign-in/pending-registration.ts'
import type { Registration, UserDirectory } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { otherSignInsPage } from './email-verification-pages.ts'
import { checkForm, type FormErrors, type FormInput, readForm } from './registration-form.ts'
import type { RegistrationRouteModules } from './registrations.ts'

/** `GET|POST /register`: the next step; last the form, for a trusted address that the portal does not know. */
// Long: one small handler for each route.
export function registrationRoutes(core: Core, modules: RegistrationRouteModules): Router {
  const { urls } = core
  const { pages, posted, registration, signIn, users } = modules
  const { form } = registration

  async function showForm(
    req: Request,
    res: Response,
    { pending, provider }: RegistrationStep,
    { input, errors }: { input: FormInput; errors: FormErrors },
  ): Promise<void> {
    const errorCount = Object.keys(errors).length
    // For the back button: the page is not cached.
    if (errorCount > 0)
      signIn.pendingRegistrations.save(res, { ...pending, draft: registration.readDraft(req, pending) })
    const { localize } = pages.locale(req)
    const locals = {
      action: urls.path('/register'),
      registration: pending.id,
      cancelHref: urls.path('/login', { returnTo: pending.returnTo, cancelled: 'registration' }),
      provider: { displayName: providerName(provider, pages.locale(req)) },
      email: { value: registrationEmail(pending) ?? '', provenByCode: pending.provenEmail !== undefined },
      name: { value: input.name, error: errors.name },
      fields: form.fields.map((field) => ({
        name: `field.${field.name}`,
        label: localize(field.label),
        type: field.type ?? 'text',
        required: field.required ?? false,
        options: field.options?.map(({ value, label }) => ({ value, label: localize(label) })),
        value: input.fields[field.name],
        error: errors[`field.${field.name}`],
      })),
      terms:
        form.terms === undefined
          ? undefined
          : { href: localize(form.terms), accepted: input.terms, error: errors.terms },
      errorCount,
    }
    res.status(errorCount > 0 ? 422 : 200)
    await pages.show(req, res, 'registration', locals)
  }

  async function showNextStep(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { draft, identity, mustProveAccount, sent } = step.pending
    if (mustProveAccount) return await registration.pages.showProveAccount(req, res, step)
    if (registrationEmail(step.pending) !== undefined) {
      const input = readForm({ name: identity.name, ...draft?.form }, form)
      return await showForm(req, res, step, { input, errors: {} })
    }
    const verification = registration.emailVerification?.pages
    if (!verification) throw new PortalSsoError('email_unverified', 'no provider vouches for the address')
    if (sent && req.query.address !== 'other') {
      const again = req.query.sent === 'again'
      return await verification.show(req, res, step, { view: 'verify', email: sent.email, again })
    }
    const typed = draft?.email ?? sent?.email ?? identity.email
    await verification.show(req, res, step, { view: 'address', typed })
  }

  async function register(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { pending, provider } = step
    const { identity, portal, provenEmail, returnTo } = pending
    const { decision, staleUserId } = await signIn.resolver.resolve(identity, provider, { provenEmail })
    switch (decision.kind) {
      case 'refuse':
        throw new PortalSsoError(decision.reason, 'the portal does not admit this user')
      case 'prove-account':
        await signIn.completion.recordWaiting(req, provider, identity, String(decision.user.id))
        signIn.pendingRegistrations.save(res, { ...pending, mustProveAccount: true })
        return res.redirect(303, urls.path('/register'))
      case 'verify-email':
        return res.redirect(303, urls.path('/register'))
      case 'sign-in':
      case 'link':
        return await registration.restart(req, res, pending)
    }
    const input = readForm(req.body, form)
    const errors = checkForm(input, form, pages.locale(req))
    if (Object.keys(errors).length > 0) return await showForm(req, res, step, { input, errors })

    const { name, fields } = input
    const user = await createUser(users, { email: decision.email, name, fields }, portal)
    if (!user) return await registration.restart(req, res, pending)
    const proof = 'earlier' // by this registration
    const result = { provider, identity, user, proof, outcome: 'registered', staleUserId, returnTo } as const
    await signIn.completion.completeSignIn(req, res, result)
  }

  const router = Router()
  router.get('/register', registration.step(showNextStep))
  router.get(
    otherSignInsPage,
    registration.step((req, res, step) => registration.pages.showOtherSignIns(req, res, step)),
  )
  router.post('/register', ...posted, registration.step(register))
  return router
}

async function createUser(users: UserDirectory, newUser: Registration, portal: string) {
  try {
    return await users.create(newUser, portal)
  } catch (error) {
    if (error instanceof EmailTakenError) return undefined
    throw error
  }
}
