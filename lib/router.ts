import { type Request, Router } from 'express'
import { accountRoutes } from './account/account-routes.ts'
import { breakGlassRoutes } from './classic-login/break-glass-routes.ts'
import { adminConsentRoutes } from './consent/admin-consent-routes.ts'
import { guard } from './guard.ts'
import { backChannelRoute } from './logout/back-channel-route.ts'
import { frontChannelRoute } from './logout/front-channel-route.ts'
import { logoutRoutes } from './logout/logout-routes.ts'
import { clientKeysRoute } from './management/client-keys.ts'
import { logoRoute } from './management/provider-logos.ts'
import type { Modules } from './modules.ts'
import { limitLogos, limitPicker, limitSignIns, rateLimitRoutes } from './rate-limit-routes.ts'
import { accountLinkRoutes } from './registration/account-link-routes.ts'
import { emailVerificationRoutes } from './registration/email-verification-routes.ts'
import { registrationRoutes } from './registration/registration-routes.ts'
import { initiateRoutes } from './sign-in/initiate-route.ts'
import { emailRoute, pickerRoute } from './sign-in/picker-route.ts'
import { testSignInLinkRoutes } from './test-sign-in/test-sign-in-links.ts'
import {
  refuseCrossSitePosts,
  refuseForeignSubresources,
  refuseSignInSubresources,
  refuseSubresources,
} from './web/csrf.ts'
import { inSequence, withPrivateHeaders } from './web/handler.ts'
import type { HostMiddleware } from './web/host-middleware.ts'

const ours = ['/login', '/register', '/logout', '/account/security']
/** As Express matches `ours`, in every spelling that reaches a route. */
const ourPaths = new RegExp(`^(?:${ours.join('|')})(?:/|$)`, 'i')

/** Start and end of a sign-in, below `/login/:provider`. */
const signInPath = /^\/(?:callback\/?)?$/i
const otherPage = /^(?:initiate|break-glass)$/i

/** All routes, in the order in which a request passes them. */
export function portalRouter(modules: Modules, hostMiddleware: HostMiddleware): Router {
  const { core, errorHandler, form, pages, registration, sessions, signIn } = modules
  const { connectedProviders, refusals } = signIn
  const routes = Router()
  addLoginPage(routes, modules)
  // The form is parsed first, so that nothing runs between the look-up of the strategy and its use. Exempt from the CSRF check:
  // a provider's `form_post` comes from its own origin.
  const signIns = inSequence(
    ...[withPrivateHeaders, refuseSignInSubresources, limitSignIns(modules), sessions.identify],
    (req, res, next) => (req.method === 'POST' ? form(req, res, next) : next()),
    connectedProviders.route,
  )
  routes.use('/login/:provider', (req, res, next) =>
    signInPath.test(req.path) && !otherPage.test(String(req.params.provider))
      ? signIns(req, res, (error) => next(error ?? 'router'))
      : next(),
  )
  routes.get('/login/assets/providers/:hash', logoRoute(core, limitLogos(modules)))
  routes.use('/login/assets', pages.assets)
  routes.use(ours, withPrivateHeaders)
  routes.use(refuseSubresources(ours), rateLimitRoutes(modules))
  // Before the session: the provider itself, not a user's browser, calls some of these routes.
  routes.use(
    backChannelRoute(core, { ...modules, connectedProviders }),
    frontChannelRoute(core, { ...modules, connectedProviders }),
    clientKeysRoute(core, modules),
  )
  routes.use(ours, sessions.identify)
  routes.use(['/register', '/account/security'], (req, _res, next) => next(sessions.assertFresh(req)))
  routes.use(
    initiateRoutes(core, modules),
    adminConsentRoutes(core, { ...modules, refusals }),
    breakGlassRoutes(core, modules),
    testSignInLinkRoutes(core, modules),
  )
  // All other paths.
  routes.use('/login/:provider', form, connectedProviders.route)
  routes.use(registrationRoutes(core, modules), accountLinkRoutes(core, modules))
  const { emailVerification } = registration
  if (emailVerification) routes.use(emailVerificationRoutes(core, { ...modules, emailVerification }))
  routes.use(logoutRoutes(core, modules))
  routes.use(accountRoutes(core, { ...modules, guard: guard(core, modules) }))
  routes.use(errorHandler.handle)
  return hostMiddleware.watchRouter(routes, ourPaths)
}

/** Before all others, because every user opens it and each layer costs CPU. */
function addLoginPage(routes: Router, modules: Modules): void {
  const { core, classicLogin, form, sessions } = modules
  const withClassic = { ...modules, allowsClassic: (req: Request) => classicLogin.isAllowed(req) }
  routes.get(
    '/login',
    ...[withPrivateHeaders, refuseForeignSubresources, limitPicker(modules, 'picker'), sessions.identify],
    pickerRoute(core, withClassic),
  )
  const findByEmail = inSequence(
    ...[withPrivateHeaders, refuseForeignSubresources, limitPicker(modules, 'email')],
    ...[refuseCrossSitePosts(core), form],
    emailRoute(core, withClassic),
  )
  // Without the parameter, the host's own login form posts to this path.
  routes.post('/login', (req, res, next) => (req.query.by === 'email' ? findByEmail(req, res, next) : next()))
}
